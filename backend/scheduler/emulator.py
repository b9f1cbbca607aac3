"""Filters on QEMU: can the target run a guest that was started like this one."""

from backend.scheduler.move import HostState, Move


class VirtType:
    """The target offers the guest's kind of virtualization."""

    name = "virt_type"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted, offered = move.server.virt_type, host.facts.virt_types
        if wanted in offered:
            return ""
        return (
            f"{move.server.name} runs under {wanted}, "
            f"{host.facts.name} offers {', '.join(offered) or 'nothing'}"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        return move.server.virt_type, ", ".join(host.facts.virt_types) or "nothing"


class MachineType:
    """The target's QEMU knows the guest's machine type."""

    name = "machine_type"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted = move.server.machine
        if not wanted or wanted in host.facts.machine_types:
            return ""
        return (
            f"{move.server.name} was started as machine {wanted}, which QEMU "
            f"{host.facts.qemu_version} on {host.facts.name} does not know"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted = move.server.machine or "any"
        known = not move.server.machine or wanted in host.facts.machine_types
        return wanted, wanted if known else f"unknown to QEMU {host.facts.qemu_version}"
