"""What a plan says of a whole host: how many leave, when it is empty, and what blocks."""

from collections.abc import Sequence

from tui.formats.evacuation import link_text
from tui.formats.evacuation_plan import finish_text, leaving, left_behind, waiting
from tui.formats.finishing import time_of_day
from tui.formats.units import bytes_text, duration_text
from tui.paint import Line, Span, Tone, cut, line, wrap
from tui.views.glyphs import Glyphs
from tui.views.spoken import in_keys
from wire.evacuation import EvacuationKind, Plan, PlannedMove, Way
from wire.forecast import Basis

_VERBS = {
    EvacuationKind.EVACUATE: "leave",
    EvacuationKind.RESCUE: "are rescued",
    EvacuationKind.RETURN: "come back",
}


def host_lines(
    plans: Sequence[Plan], width: int, now_ms: int, glyphs: Glyphs, *, brief: bool
) -> list[Line]:
    """What holds for each host: how many leave, when it is empty, over which link."""
    lines: list[Line] = []
    for plan in plans:
        name = f"{plan.host_name}: " if len(plans) > 1 else ""
        told = f"{name}{leaving_text(plan, brief=bool(name))}; {done_text(plan, now_ms)}"
        if plan.kind is not EvacuationKind.RESCUE:
            link = link_text(plan.link) or "a link that nobody has measured"
            told += f"; {bytes_text(plan.sent_bytes)} to send over {link}"
        lines += [line(Span(cut(told, width)))] if brief and name else wrap(told, width)
        if plan.deadline:
            mark, tone = (glyphs.fits, Tone.GOOD) if plan.meets_deadline else (glyphs.bad, Tone.BAD)
            lines += wrap(f"{mark} {name}{plan.deadline}", width, tone)
    return lines


def leaving_text(plan: Plan, *, brief: bool = False) -> str:
    """``10 of 12 servers leave (8 live, 2 cold), 2 stay``; briefly without the ways."""
    whole = len(plan.moves)
    ways = [
        f"{count} {way}"
        for way in (Way.LIVE, Way.COLD, Way.RESCUE)
        if (count := sum(each.way is way for each in leaving(plan)))
    ]
    going = len(leaving(plan))
    verb = _VERBS[plan.kind]
    if not whole:
        return "no server is there to be moved"
    of = f"all {whole} servers" if going == whole > 1 else f"{going} of {whole} servers"
    # of a rescue the verb says it
    told_ways = ways and not brief and plan.kind is not EvacuationKind.RESCUE
    told = [f"{of} {verb} ({', '.join(ways)})" if told_ways else f"{of} {verb}"]
    return ", ".join([*told, *left_behind(plan)])


def done_text(plan: Plan, now_ms: int) -> str:
    """``done in 6 min 20 s (5 min 10 s to 9 min 00 s), at 04:12 if begun now``."""
    if not plan.finish_in_s:
        return "nobody can say when it is done"
    if waiting(plan):
        return f"what moves is done in {finish_text(plan)}"
    at = time_of_day(now_ms + 1000 * plan.finish_in_s, now_ms)
    return f"done in {finish_text(plan)}, at {at} if begun now"


def remarks(plans: Sequence[Plan], glyphs: Glyphs) -> list[tuple[str, Tone]]:
    """Refusals, then warnings, each with its mark and the host that it is about."""
    found: list[tuple[str, Tone]] = []
    for plan in plans:
        found += [
            (f"{glyphs.bad} {_of_host(plan, plans, each)}", Tone.BAD) for each in plan.refusals
        ]
    for plan in plans:
        told = [_of_host(plan, plans, each) for each in plan.warnings]
        found += [(f"{glyphs.warn} {each}", Tone.WARN) for each in told]
    return found


def _of_host(plan: Plan, plans: Sequence[Plan], sentence: str) -> str:
    """A sentence with the host that it is about, where that is not plain."""
    plain = len(plans) == 1 or plan.host_name in sentence
    return in_keys(sentence if plain else f"{plan.host_name}: {sentence}")


def longest_pause(plans: Sequence[Plan]) -> str:
    """``1.2 s (db-1)``: the longest pause that is expected; empty if there is none."""
    pauses = [
        (each.forecast.downtime_ms, each.server_name)
        for plan in plans
        for each in plan.moves
        if each.forecast is not None
    ]
    if not pauses:
        return ""
    longest, name = max(pauses)
    return f"{duration_text(longest)} ({name})"


def staying(plans: Sequence[Plan]) -> list[PlannedMove]:
    """The servers that stay."""
    return [each for plan in plans for each in plan.moves if each.way is Way.STAYS]


def unmeasured(plans: Sequence[Plan]) -> int:
    """How many forecasts are guesses."""
    forecasts = [each.forecast for plan in plans for each in plan.moves]
    return sum(each is not None and each.basis is Basis.GUESSED for each in forecasts)
