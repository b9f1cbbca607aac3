"""What begins otherwise than the plan that was agreed to: the backend plans anew as it begins."""

from collections.abc import Sequence

from tui.formats.units import duration_text
from wire.evacuation import Evacuation, Plan, PlannedMove, Way

_MOST = 4
_NOTICED_S = 5
_NOTICED_SHARE = 0.2
"""A time that differs by less is as good as the same."""


def begun_otherwise(plans: Sequence[Plan], begun: Sequence[Evacuation]) -> list[str]:
    """Say in one sentence for each host what is not as its plan said; none where all is."""
    planned = {each.host_id: each for each in plans}
    told = [
        (each.host_name, _differences(planned[each.host_id], each))
        for each in begun
        if each.host_id in planned
    ]
    return [f"{name} is not as planned before: {', '.join(each)}" for name, each in told if each]


def _differences(plan: Plan, begun: Evacuation) -> list[str]:
    before = {each.server_id: each for each in plan.moves}
    now = {each.plan.server_id: each.plan for each in begun.servers}
    found = [_of_one(before.get(key), move) for key, move in now.items()]
    found += [f"{before[key].server_name} is not there any more" for key in before.keys() - now]
    found = [each for each in found if each]
    if found[_MOST:]:
        found = [*found[:_MOST], f"{len(found) - _MOST} more servers too"]
    was_s, is_s = plan.finish_in_s, begun.planned_finish_s
    # a time of 0 is one that nobody could tell
    if was_s and is_s and abs(is_s - was_s) > max(_NOTICED_S, _NOTICED_SHARE * was_s):
        found.append(f"it takes {duration_text(is_s * 1000)}, not {duration_text(was_s * 1000)}")
    return found


def _of_one(before: PlannedMove | None, now: PlannedMove) -> str:
    name, stays = now.server_name, now.way is Way.STAYS
    if before is None:
        where = "stays" if stays else f"goes to {now.target_host_name}"
        return f"{name} has turned up and {where}"
    if stays:
        return "" if before.way is Way.STAYS else f"{name} stays: {now.why}"
    if before.way is Way.STAYS:
        return f"{name} goes to {now.target_host_name}, and does not stay"
    if now.target_host_id == before.target_host_id:
        return "" if now.way is before.way else f"{name} goes {now.way}, not {before.way}"
    return f"{name} goes to {now.target_host_name}, not {before.target_host_name}"
