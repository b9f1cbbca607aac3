"""The truth beside the strict rule: does the target's CPU offer what the guest was started with."""

from backend.scheduler.move import HostState, Move


class CpuFeatures:
    """libvirt on the target compares the guest's CPU with what it can offer.

    A host that was not asked passes: lists for whole fleets are made of what is known. A guest
    without a CPU element has its emulator's default, which every host of this emulator offers.
    """

    name = "cpu_features"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        name, there = move.server.name, host.facts.name
        if host.cpu_silence:
            return (
                f"{there} did not say whether its CPU offers what {name} was started with: "
                f"{host.cpu_silence}"
            )
        if host.cpu is None or host.cpu.compatible:
            return ""
        if host.cpu.missing_features:
            lacking = ", ".join(host.cpu.missing_features)
            return f"{name} was started with CPU features that {there} lacks: {lacking}"
        why = host.cpu.error or "it names no feature"
        return f"libvirt on {there} cannot offer the CPU that {name} was started with: {why}"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted = move.server.cpu_model or ("default" if not move.server.cpu_xml else "custom")
        if host.cpu_silence:
            return wanted, "unknown"
        if host.cpu is None:
            return wanted, "not asked" if move.server.cpu_xml else wanted
        if host.cpu.compatible:
            return wanted, "all of it"
        lacking = ", ".join(host.cpu.missing_features)
        return wanted, f"not {lacking}" if lacking else "not this CPU"
