"""The moves of an evacuation, as the journal of migrations tells them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from backend.fleet.known import Fleet
from wire.evacuation import Evacuation
from wire.migration import Migration

Moves = Mapping[str, Sequence[Migration]]
"""server_id → its moves in one evacuation, oldest first."""


def moves_of(fleet: Fleet, evacuation: Evacuation) -> Moves:
    """List what was begun for an evacuation, under way and ended."""
    found: dict[str, list[Migration]] = defaultdict(list)
    for migration_id in fleet.evacuation_moves.get(evacuation.evacuation_id, ()):
        one = fleet.migrations[migration_id]
        found[one.server_id].append(one)
    for moves in found.values():
        # clocks of two leaders may differ: the one under way is the latest all the same
        moves.sort(key=lambda one: (not one.state.ended, one.created_at_ms))
    return found


def under_way(fleet: Fleet, evacuation: Evacuation) -> list[Migration]:
    """List those that have not ended: at most one of each server."""
    latest = [moves[-1] for moves in moves_of(fleet, evacuation).values()]
    return [one for one in latest if not one.state.ended]
