"""Memory on the target: room for the guest, and preference for the emptier host."""

from backend.scheduler.move import HostState, Move

_MIB = 1 << 20
_STEPS = 16


class FreeMemory:
    """The target's free memory, less what moves under way will take, holds the guest."""

    name = "memory"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        free, needed = host.free_bytes, move.server.memory_bytes
        if free is None:
            return f"{host.facts.name} has not yet said how much of its memory is free"
        if needed <= free:
            return ""
        promised = (
            f" ({host.incoming_bytes // _MIB} MiB of it promised to servers on their way)"
            if host.incoming_bytes
            else ""
        )
        return (
            f"{move.server.name} needs {needed // _MIB} MiB of memory, "
            f"{host.facts.name} has {free // _MIB} MiB free{promised}"
        )


class MoreFreeMemory:
    """Prefers the host with the larger share of its memory free, in coarse steps.

    Equal hosts would otherwise change places with every reading of their meters.
    """

    def weight(self, move: Move, host: HostState) -> float:
        """Give the share that stays free once the guest is there, 0 to 1 in sixteenths."""
        free = (host.free_bytes or 0) - move.server.memory_bytes
        share = free / max(1, host.facts.memory_total_bytes)
        return max(0, round(share * _STEPS)) / _STEPS


class FewerIncomingMoves:
    """Prefers a host that takes in fewer servers now: moves share its link."""

    def weight(self, move: Move, host: HostState) -> float:
        """Take away one half for each server on its way."""
        del move
        return -0.5 * host.incoming_moves
