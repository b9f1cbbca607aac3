"""Whether a host is empty in time, and which lever would make it."""

import math
from collections.abc import Callable, Sequence

import msgspec

from backend.evacuations.timing.ordering import Stage, stage_of
from backend.evacuations.timing.reckoning import Reckoner, Sheet, Sum
from backend.forecast.levers import LONGEST_PAUSE_MS, QUICKLY_FINISH
from backend.forecast.rates import UNSHOWN_TIMES
from backend.moments import lasting
from wire.evacuation import Evacuation, PlannedMove, Way
from wire.forecast import Ease
from wire.migration import DOWNTIME_BOUND_MS, MigrationOptions

_MIB = 1 << 20
_NAMED = 3
_MORE = 1.1
"""A pause at its floor would be met by luck: so much more is asked for."""
_HOLDS_MS = 10_000

_Change = Callable[[Sheet], Sheet]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, in one sentence and in one word."""

    sentence: str = ""
    meets: bool = True


class Lever(msgspec.Struct, frozen=True):
    """Something that an operator could do."""

    words: str
    """``without the cap of 10 MiB/s``."""
    pull: _Change


def verdict(reckoner: Reckoner, sheet: Sheet, total: Sum, *, left_s: float) -> Verdict:
    """Judge one host's deadline.

    Args:
        reckoner: what is known of links.
        sheet: its plan, ordered.
        total: its sum, beside all that is planned together.
        left_s: seconds until it has to be empty. No time of day is told: whoever reads it has a
            clock and a time zone of their own.
    """
    staying = [one for one in sheet.moves if one.way is Way.STAYS and not one.chosen_way]
    stuck = _stuck(sheet)
    waits = f", and {_named(stuck)} {_verb(stuck, 'waits', 'wait')} for a lever" if stuck else ""
    if staying:
        stay = f"{_named(staying)} {_verb(staying, 'stays', 'stay')}"
        return Verdict(sentence=f"not empty in time: {stay}{waits}", meets=False)
    if total.finish_s <= left_s and not stuck:
        sure = total.shown and total.high_s <= left_s
        word = "empty in time" if sure else "probably empty in time"
        latest = f"at the latest {lasting(total.high_s)}"
        if not total.shown:
            slower = f"if the link is {UNSHOWN_TIMES} times slower than its card says"
            latest = f"or {lasting(total.high_s)} {slower}"
        return Verdict(
            sentence=f"{word}: it takes {lasting(total.finish_s)}, {latest}, and "
            f"{lasting(left_s)} are left"
        )
    no = f"not empty in time: it takes {lasting(total.finish_s)} of {lasting(left_s)}{waits}"
    return Verdict(sentence=f"{no}; {_way_out(reckoner, sheet, total, left_s)}", meets=False)


class Verdicts:
    """The last verdict on each evacuation that runs: a new one tries every lever."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, int, Verdict]] = {}

    def of(self, evacuation: Evacuation, at_ms: int, judge: Callable[[], Verdict]) -> Verdict:
        """The last one, or a new one if that is old or was asked of other terms.

        Args:
            evacuation: that runs.
            at_ms: now.
            judge: makes a new one.
        """
        terms = (evacuation.empty_by_ms, evacuation.max_bandwidth_bytes_per_s, evacuation.state)
        known = self._last.get(evacuation.evacuation_id)
        if known is None or known[0] != terms or not 0 <= at_ms - known[1] < _HOLDS_MS:
            known = self._last[evacuation.evacuation_id] = terms, at_ms, judge()
        return known[2]

    def forget(self, evacuation_id: str) -> None:
        """Let go of one that has ended."""
        self._last.pop(evacuation_id, None)


def _way_out(reckoner: Reckoner, sheet: Sheet, total: Sum, left_s: float) -> str:
    """Name the first lever that makes it, else what all of them together come to.

    What others hold it up on the links of targets is taken to stay as it is: only its own plan is
    reckoned again.
    """
    levers = _levers(reckoner, sheet)
    if not levers:
        return "no lever is left"
    held_up_s = max(0.0, total.finish_s - _alone_s(reckoner, sheet))
    for lever in levers:
        finish_s = _finish_s(reckoner, lever.pull(sheet), held_up_s)
        if finish_s is not None and finish_s <= left_s:
            return f"{lever.words} it takes {lasting(finish_s)}"
    pulled, words = sheet, []
    for lever in levers:
        pulled = lever.pull(pulled)
        words.append(lever.words)
        if len(words) == 1:  # as above
            continue
        finish_s = _finish_s(reckoner, pulled, held_up_s)
        if finish_s is not None and finish_s <= left_s:
            return f"{', and '.join(words)} it takes {lasting(finish_s)}"
    if finish_s is None:
        return f"even {', and '.join(words)} some would not converge"
    return f"even {', and '.join(words)} it takes {lasting(finish_s)}"


def _finish_s(reckoner: Reckoner, changed: Sheet, held_up_s: float) -> float | None:
    """When the changed plan would end; None if a server would still wait for a lever."""
    changed = reckoner.ordered(changed)
    return None if _stuck(changed) else _alone_s(reckoner, changed) + held_up_s


def _alone_s(reckoner: Reckoner, sheet: Sheet) -> float:
    """When an ordered plan would end if nothing else was planned."""
    return max((one.end_s for one in reckoner.timed([sheet])[0].values()), default=0.0)


def _levers(reckoner: Reckoner, sheet: Sheet) -> list[Lever]:
    """What could be done, the least harmful first."""
    found = []
    cap = sheet.cap_bytes_per_s
    if cap is not None:
        found.append(
            Lever(f"without the cap of {cap / _MIB:g} MiB/s", lambda one: _uncapped(reckoner, one))
        )
    hard = _hard(sheet)
    slow = [one for one in hard if not one.options.quickly_finish]
    if slow:
        found.append(
            Lever(
                f"with {QUICKLY_FINISH}, a pause of up to {DOWNTIME_BOUND_MS} ms, for "
                f"{_named(slow)}",
                lambda one: _changed(reckoner, one, _quickly),
            )
        )
    short = [(one, _longer_ms(one)) for one in hard if _longer_ms(one)]
    if short:
        told = ", ".join(f"{ms} ms for {one.server_name}" for one, ms in short[:_NAMED])
        more = f" and so for {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        found.append(
            Lever(
                f"with a longer pause ({told}{more})",
                lambda one: _changed(reckoner, one, _longer),
            )
        )
    if late := _with_disks(sheet):
        found.append(Lever(f"with {_named(late)} left for later", _without_disks))
    return found


def _hard(sheet: Sheet) -> list[PlannedMove]:
    return [
        one
        for one in sheet.moves
        if one.way is Way.LIVE and one.forecast is not None and one.forecast.ease is not Ease.EASY
    ]


def _stuck(sheet: Sheet) -> list[PlannedMove]:
    records = sheet.records
    return [one for one in sheet.moves if stage_of(one, records[one.server_id]) is Stage.STUCK]


def _with_disks(sheet: Sheet) -> list[PlannedMove]:
    records = sheet.records
    return [one for one in sheet.moves if stage_of(one, records[one.server_id]) is Stage.DISKS]


def _without_disks(sheet: Sheet) -> Sheet:
    late = {one.server_id for one in _with_disks(sheet)}
    moves = tuple(one for one in sheet.moves if one.server_id not in late)
    return msgspec.structs.replace(sheet, moves=moves)


def _uncapped(reckoner: Reckoner, sheet: Sheet) -> Sheet:
    free = msgspec.structs.replace(sheet, cap_bytes_per_s=None)
    return _changed(reckoner, free, lambda move: move.options, every=True)


def _changed(
    reckoner: Reckoner,
    sheet: Sheet,
    options_of: Callable[[PlannedMove], MigrationOptions],
    *,
    every: bool = False,
) -> Sheet:
    """The same with other options for the hard ones, or for every one, and their forecasts."""
    lines = {line.record.server_id: line for line in sheet.lines}
    hard = {one.server_id for one in _hard(sheet)}
    moves = []
    for move in sheet.moves:
        if move.forecast is not None and (every or move.server_id in hard):
            options = options_of(move)
            forecast = reckoner.forecast(
                lines[move.server_id], options, move.target_host_id, sheet.cap_bytes_per_s
            )
            moves.append(msgspec.structs.replace(move, options=options, forecast=forecast))
        else:
            moves.append(move)
    return msgspec.structs.replace(sheet, moves=tuple(moves))


def _quickly(move: PlannedMove) -> MigrationOptions:
    bound_ms = max(DOWNTIME_BOUND_MS, move.options.downtime_limit_ms)
    return msgspec.structs.replace(move.options, quickly_finish=True, downtime_bound_ms=bound_ms)


def _longer(move: PlannedMove) -> MigrationOptions:
    limit_ms = _longer_ms(move) or move.options.downtime_limit_ms
    bound_ms = max(limit_ms, move.options.downtime_bound_ms)
    return msgspec.structs.replace(
        move.options, downtime_limit_ms=limit_ms, downtime_bound_ms=bound_ms
    )


def _longer_ms(move: PlannedMove) -> int:
    """A pause above the floor of a hard move, if its own is shorter and it still is a live move."""
    floor_ms = move.forecast.floor_ms if move.forecast is not None else 0
    wanted_ms = math.ceil(floor_ms * _MORE)
    return wanted_ms if move.options.downtime_limit_ms < wanted_ms <= LONGEST_PAUSE_MS else 0


def _named(moves: Sequence[PlannedMove]) -> str:
    names = [one.server_name for one in moves[:_NAMED]]
    more = len(moves) - len(names)
    if more:
        return f"{', '.join(names)} and {more} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if names[1:] else names[0]


def _verb(moves: Sequence[PlannedMove], one: str, many: str) -> str:
    return many if moves[1:] else one
