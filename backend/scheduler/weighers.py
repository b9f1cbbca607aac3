"""What makes one of the hosts that pass a better target than another.

All weights go in coarse steps: equal hosts would otherwise change places with every reading of
their meters.
"""

from collections.abc import Collection

from backend.scheduler.move import HostState, Move

_STEPS = 16
_CPU_STEPS = 4
_MOST_SERVERS = 25


class MoreFreeMemory:
    """Prefers the host with the larger share of its memory free."""

    def weight(self, move: Move, host: HostState) -> float:
        """Give the share that stays free once the guest is there, 0 to 1 in sixteenths."""
        free = (host.free_bytes or 0) - move.server.memory_bytes
        share = free / max(1, host.facts.memory_total_bytes)
        return max(0, round(share * _STEPS)) / _STEPS


class MoreFreeCpu:
    """Prefers the host whose CPUs have less to do."""

    def weight(self, move: Move, host: HostState) -> float:
        """Give half of the idle share, 0 to 0.5 in eighths; 0 until the host reports."""
        del move
        if host.meters is None:
            return 0.0
        return round((1 - host.meters.cpu_percent / 100) * _CPU_STEPS) / _CPU_STEPS / 2


class Spreading:
    """Prefers the host with fewer servers: fewer are hit when it dies."""

    def weight(self, move: Move, host: HostState) -> float:
        """Take away a fiftieth for each server, half at the most."""
        del move
        return -0.02 * min(host.server_count, _MOST_SERVERS)


def risk_weight(host: HostState, skipped: Collection[str]) -> float:
    """Take away so much that a host that passes only because checks are lifted comes after others.

    One that lacks features that the guest was started with comes last of all.
    """
    if not skipped:
        return 0.0
    lacks = "cpu_features" in skipped or (host.cpu is not None and not host.cpu.compatible)
    return -100.0 if lacks else -10.0 * len(skipped)


class FewerIncomingMoves:
    """Prefers a host that takes in fewer servers now: moves share its link."""

    def weight(self, move: Move, host: HostState) -> float:
        """Take away one half for each server on its way."""
        del move
        return -0.5 * host.incoming_moves
