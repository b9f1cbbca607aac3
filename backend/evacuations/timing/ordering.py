"""In which order servers leave a host: stages, and the order within each."""

from collections.abc import Mapping
from enum import IntEnum

from backend.rescue.account import turn
from backend.scheduler.storage import pool_needs
from wire.evacuation import PlannedMove, Way
from wire.fleet import ServerPolicy, ServerRecord
from wire.forecast import Ease


class Stage(IntEnum):
    """What begins before what. The link is idle for none of them."""

    DEFINITION = 0
    """Stopped, and without disks to copy: over at once, and it takes nothing of the link."""
    EASY = 1
    """Shares the link with others."""
    HEAVY = 2
    """Runs alone."""
    DISKS = 3
    """Stopped, with disks to copy: nobody waits for it."""
    STUCK = 4
    """Waits for a lever."""
    STAYS = 5


def stage_of(move: PlannedMove, record: ServerRecord) -> Stage:
    """Say when a server's turn comes; one that is rescued is easy, for it takes nothing either."""
    if move.way is Way.STAYS:
        return Stage.STAYS
    if move.way is Way.RESCUE:
        return Stage.EASY
    if move.way is Way.COLD:
        return Stage.DISKS if pool_needs(record.disks, "cold") else Stage.DEFINITION
    ease = Ease.EASY if move.forecast is None else move.forecast.ease
    return {Ease.EASY: Stage.EASY, Ease.HEAVY: Stage.HEAVY, Ease.STUCK: Stage.STUCK}[ease]


def rank(
    move: PlannedMove, record: ServerRecord, policies: Mapping[str, ServerPolicy]
) -> tuple[bool, bool, int, tuple[int, int, int, str], str]:
    """Sort key of a plan's lines: those put first, then by stage, the calm and short ones first.

    The mean time at which servers are away is least so, and the last one is away no later. Those
    that write little are moved well over any link, and show what this one carries before the others
    begin. What holds a rescue up is its turn alone, so that the important ones come first there.
    """
    stage = stage_of(move, record)
    if move.way is Way.RESCUE:
        within = (0, *turn(record, policies))
    else:
        expected_ms = 0 if move.forecast is None else move.forecast.total_ms
        within = _restlessness(move), expected_ms, move.memory_bytes, move.server_name
    return stage >= Stage.STUCK, not move.first, stage, within, move.server_id


def _restlessness(move: PlannedMove) -> int:
    """How fast a guest writes its memory, in steps of twice as fast; 0 below a MiB/s."""
    dirtied = 0 if move.forecast is None else move.forecast.dirty_bytes_per_s
    return (dirtied >> 20).bit_length()
