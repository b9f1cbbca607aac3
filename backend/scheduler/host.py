"""Filters on the host itself: does it answer, may it take servers, is it another one."""

from backend.scheduler.move import HostState, Move
from wire.fleet import HostStatus


class Online:
    """The host's health key is there and its agent answers."""

    name = "online"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        if host.status is HostStatus.ONLINE:
            return ""
        because = f": {host.status_reason}" if host.status_reason else ""
        return f"{host.facts.name} is {host.status}, not online{because}"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        return HostStatus.ONLINE, host.status


class InService:
    """The host is not in maintenance."""

    name = "maintenance"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        if not host.policy.maintenance:
            return ""
        return f"{host.facts.name} is in maintenance and takes no servers"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        return "in service", "maintenance" if host.policy.maintenance else "in service"


class StaysUp:
    """The host is not being shut down."""

    name = "shutdown"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        return f"{host.facts.name} shuts down" if host.shutting_down else ""

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del move
        return "stays up", "shuts down" if host.shutting_down else "stays up"


class NotTheSource:
    """A server does not move to where it is."""

    name = "not_source"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        if host.facts.host_id != move.source.host_id:
            return ""
        is_on = "runs" if move.kind == "live" else "is"
        return f"{host.facts.name} is where {move.server.name} {is_on}"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        return f"not {move.source.name}", host.facts.name


class Hypervisor:
    """Source and target run the same hypervisor."""

    name = "hypervisor"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        here, there = move.source.hypervisor, host.facts.hypervisor
        if here == there:
            return ""
        return f"hypervisor {here} on {move.source.name}, {there} on {host.facts.name}"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        return move.source.hypervisor, host.facts.hypervisor
