"""What stands above the table of a plan: totals, wishes with their keys, and what blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui.draft import Draft
from tui.evacuation_changes import NO_CAP, NO_DEADLINE, cap_bytes_per_s
from tui.formats.finishing import seconds_text, time_of_day, until_text
from tui.formats.moments import MomentError, deadline_ms
from tui.formats.numbers import NumberError
from tui.formats.units import mebibytes, rate_text
from tui.paint import Line, Span, Tone, cut, line, wrap
from tui.views.glyphs import Glyphs
from tui.views.planned_hosts import host_lines, remarks
from wire.evacuation import EvacuationKind, MoveOptions, Plan

_WORDS = {
    EvacuationKind.EVACUATE: ("Plan", "to empty"),
    EvacuationKind.RESCUE: ("Plan", "to rescue all of"),
    EvacuationKind.RETURN: ("Plan", "to bring back to"),
}
_STALE_S = 5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is typed for a plan."""

    title: str
    label: str
    text: str
    read: Callable[[str], tuple[Draft | None, str]]


def heading(names: Sequence[str], plans: Sequence[Plan], *, returning: bool) -> Line:
    """``Plan  to empty kvm-01``."""
    kind = EvacuationKind.RETURN if returning else EvacuationKind.EVACUATE
    title, purpose = _WORDS[plans[0].kind if plans else kind]
    return line(Span(f" {title} ", Tone.TAB), f"  {purpose} ", Span(", ".join(names), Tone.TITLE))


def age_text(plans: Sequence[Plan], now_ms: int) -> str:
    """``made 2 min 05 s ago``, once that is worth a word."""
    made_ms = min((each.made_at_ms for each in plans), default=now_ms)
    age_s = (now_ms - made_ms) // 1000
    return f"made {seconds_text(age_s)} ago" if age_s >= _STALE_S else "nothing has begun"


def lines(
    plans: Sequence[Plan], draft: Draft, width: int, now_ms: int, glyphs: Glyphs, *, brief: bool
) -> list[Line]:
    """Lay the pane out.

    Args:
        plans: as answered; none yet shows the wishes only.
        draft: what was asked.
        width: cells.
        now_ms: Unix time in ms.
        glyphs: the marks.
        brief: a line for each thing, since every line counts.
    """
    found = host_lines(plans, width, now_ms, glyphs, brief=brief)
    found.append(wishes(draft, now_ms, copies=not _rescues(plans)))
    told = remarks(plans, glyphs)
    if not brief:
        return [*found, *(part for text, tone in told for part in wrap(text, width, tone))]
    shown = told if len(told) <= 2 else told[:1]
    found += [line(Span(cut(text, width), tone)) for text, tone in shown]
    if len(told) > len(shown):
        more = f"{glyphs.warn} {len(told) - len(shown)} more to know; d shows them in full"
        found.append(line(Span(more, told[1][1])))
    return found


def remark_lines(plans: Sequence[Plan], width: int, glyphs: Glyphs) -> list[Line]:
    """Every refusal and warning in full, under the details."""
    told = remarks(plans, glyphs)
    if not told:
        return []
    head = line(Span("Of the whole plan:", Tone.DIM))
    return [(), head, *(part for text, tone in told for part in wrap(text, width, tone))]


def _rescues(plans: Sequence[Plan]) -> bool:
    return any(each.kind is EvacuationKind.RESCUE for each in plans)


def wishes(draft: Draft, now_ms: int, *, copies: bool = True) -> Line:
    """What holds for all servers, each behind its key.

    Args:
        draft: what is asked.
        now_ms: Unix time in ms.
        copies: whether something is sent: a rescue sends nothing.
    """
    asked = draft.request
    cap = asked.max_bandwidth_bytes_per_s
    spans: list[Span] = []
    if copies:
        spans = [
            Span("b", Tone.KEY),
            _wish(f" cap: {rate_text(cap) if cap else 'none'}", on=bool(cap)),
            Span("  a", Tone.KEY),
            _wish(f" options: {options_text(asked.options)}", on=asked.options != MoveOptions()),
        ]
    if not draft.returning:
        by = time_of_day(asked.empty_by_ms, now_ms) if asked.empty_by_ms else "none"
        spans += [
            Span("  e" if spans else "e", Tone.KEY),
            _wish(f" empty by: {by}", on=bool(asked.empty_by_ms)),
            Span("  n", Tone.KEY),
            _wish(f" [{'x' if asked.keep_spare else ' '}] keep spare", on=asked.keep_spare),
        ]
    return tuple(spans)


def _wish(text: str, *, on: bool) -> Span:
    return Span(text, Tone.STRONG if on else Tone.PLAIN)


def options_text(options: MoveOptions) -> str:
    """``TLS, quickly finish``: the options that were chosen for all; ``usual`` for none."""
    named = {
        "TLS": options.enable_tls,
        "quickly finish": options.quickly_finish,
        "skips CPU check": options.skip_cpu_check,
        "skips kernel check": options.skip_kernel_check,
        f"{options.downtime_limit_ms} ms": options.downtime_limit_ms,
        f"up to {options.downtime_bound_ms} ms": options.downtime_bound_ms,
    }
    return ", ".join(name for name, on in named.items() if on) or "usual"


def cap_entry(draft: Draft) -> Asked:
    """The cap, typed."""
    now = draft.request.max_bandwidth_bytes_per_s

    def read(text: str) -> tuple[Draft | None, str]:
        try:
            cap = cap_bytes_per_s(text)
        except NumberError as error:
            return None, str(error)
        meaning = f"all moves of a host send {rate_text(cap)} at most" if cap else "no cap"
        return draft.changed(max_bandwidth_bytes_per_s=cap), f"Enter: {meaning}."

    title = f"How much may all moves of a host send together? {NO_CAP}"
    return Asked(title=title, label="MiB/s", text=mebibytes(now) if now else "", read=read)


def deadline_entry(draft: Draft, now_ms: int) -> Asked:
    """The deadline, typed."""
    now = draft.request.empty_by_ms

    def read(text: str) -> tuple[Draft | None, str]:
        if not text.strip():
            return draft.changed(empty_by_ms=0), "Enter: no deadline."
        try:
            wanted = deadline_ms(text, "the deadline", now_ms)
        except MomentError as error:
            return None, str(error)
        at = time_of_day(wanted, now_ms)
        sentence = f"Enter: to be empty by {at}, {until_text(wanted, now_ms)}."
        return draft.changed(empty_by_ms=wanted), sentence

    return Asked(
        title=f"By when must it be empty? {NO_DEADLINE}",
        label="time",
        text=time_of_day(now, now_ms) if now else "",
        read=read,
    )
