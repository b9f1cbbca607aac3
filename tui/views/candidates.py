"""The targets of a migration: each host with every verdict, both values, and its risk."""

from collections.abc import Mapping, Sequence

import msgspec

from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, cut, line, pad, wrap
from tui.views.glyphs import Glyphs
from wire.fleet import Candidate, FilterVerdict

BEST = "best"
"""Id of the row that leaves the choice to the scheduler."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the dialog: a candidate, or the scheduler's choice among them."""

    candidate: Candidate | None
    """None for the scheduler's choice when no host fits."""
    place: int
    """Order in the list."""
    chosen_by_scheduler: bool = False

    @property
    def fits(self) -> bool:
        """Whether the server may go there."""
        return self.candidate is not None and self.candidate.fits

    @property
    def skipped(self) -> list[FilterVerdict]:
        """Filters that would refuse it if they were not skipped."""
        verdicts = self.candidate.verdicts if self.candidate else ()
        return [each for each in verdicts if each.skipped and each.reason]


def targets(candidates: Sequence[Candidate]) -> Mapping[str, Target]:
    """Order candidates: the scheduler's choice, those that fit with the best first, then others."""
    fitting = sorted(
        (each for each in candidates if each.fits),
        key=lambda each: (-each.weight, natural(each.host_name)),
    )
    others = sorted(
        (each for each in candidates if not each.fits),
        key=lambda each: (len(each.reasons), natural(each.host_name)),
    )
    best = fitting[0] if fitting else None
    rows = {BEST: Target(candidate=best, place=0, chosen_by_scheduler=True)}
    for place, each in enumerate([*fitting, *others], start=1):
        rows[each.host_id] = Target(candidate=each, place=place)
    return rows


def columns(glyphs: Glyphs) -> list[Column[Target]]:
    """The dialog's columns."""
    return [
        Column(
            key="host",
            title="TARGET",
            width=14,
            flex=1,
            most=24,
            cell=lambda target, _: _name(target),
            order=lambda target: target.place,
        ),
        Column(
            key="verdict",
            title="VERDICT",
            width=9,
            cell=lambda target, _: verdict(target, glyphs),
            order=lambda target: target.place,
        ),
        Column(
            key="reason",
            title="WHY",
            width=20,
            flex=6,
            cell=lambda target, _: _reason(target),
            order=lambda target: target.place,
        ),
    ]


def verdict(target: Target, glyphs: Glyphs) -> Span:
    """Fits, fits because a check is skipped, or not."""
    if not target.fits:
        return Span(f"{glyphs.bad} unfit", Tone.DIM)
    if target.skipped:
        return Span(f"{glyphs.warn} skips", Tone.WARN)
    return Span(f"{glyphs.fits} fits", Tone.GOOD)


def _name(target: Target) -> Span:
    if target.chosen_by_scheduler:
        name = target.candidate.host_name if target.candidate else "no host fits"
        return Span(f"best: {name}", Tone.STRONG if target.fits else Tone.DIM)
    name = target.candidate.host_name if target.candidate else ""
    return Span(name, Tone.PLAIN if target.fits else Tone.DIM)


def _reason(target: Target) -> Span:
    if target.candidate is None:
        return Span("")
    if target.fits:
        reasons = [each.reason for each in target.skipped]
        return Span(f"unchecked: {'; '.join(reasons)}", Tone.WARN) if reasons else Span("")
    reasons = list(target.candidate.reasons)
    count = f"{len(reasons)} reasons: " if len(reasons) > 1 else ""
    return Span(f"{count}{reasons[0]}", Tone.DIM)


def verdict_lines(target: Target, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """Every filter's word on the target under the cursor: a line for each, if there is room."""
    if target.candidate is None:
        return wrap("No host passes every filter; the rows below say why.", width, Tone.WARN)
    risk = target.candidate.risk
    lines = wrap(f"{glyphs.warn} risk: {risk}", width, Tone.STRONG) if risk else []
    verdicts = target.candidate.verdicts
    if len(lines) + len(verdicts) + 1 <= height:
        return [*lines, _title(width), *(_row(each, width, glyphs) for each in verdicts)]
    for each in verdicts:
        if not each.passed:
            text = f"{glyphs.bad} {each.reason or each.filter}"
            lines += wrap(text, width, Tone.WARN)
    for each in target.skipped:
        lines += wrap(f"{glyphs.warn} skipped: {each.reason}", width, Tone.WARN)
    skipped = {each.filter for each in target.skipped}
    passed = [_value(each) for each in verdicts if each.passed and each.filter not in skipped]
    if passed:
        lines += wrap(f"{glyphs.fits} passed: {', '.join(passed)}", width, Tone.GOOD)
    return lines


_NAME_WIDTH, _WORD_WIDTH = 16, 9


def _title(width: int) -> Line:
    each = (width - _NAME_WIDTH - _WORD_WIDTH) // 2
    titles = [pad("  FILTER", _NAME_WIDTH), pad("VERDICT", _WORD_WIDTH), pad("WANTED", each)]
    return line(Span(f"{''.join(titles)}FOUND", Tone.DIM))


def _row(verdict: FilterVerdict, width: int, glyphs: Glyphs) -> Line:
    """Filter, what is wanted and what was found; a sentence where it compares no values."""
    if verdict.skipped and verdict.reason:
        mark, word, tone = glyphs.warn, "skipped", Tone.WARN
    elif verdict.passed:
        mark, word, tone = glyphs.fits, "passed", Tone.GOOD
    else:
        mark, word, tone = glyphs.bad, "refused", Tone.WARN
    name = f"{pad(f'{mark} {verdict.filter}', _NAME_WIDTH - 1)} {pad(word, _WORD_WIDTH)}"
    room = width - _NAME_WIDTH - _WORD_WIDTH
    if not verdict.wanted and not verdict.found:
        return Span(name, tone), Span(cut(verdict.reason, room), tone)
    each = room // 2
    values = f"{pad(verdict.wanted, each - 1)} {cut(verdict.found, each)}"
    plain = verdict.passed and not verdict.skipped
    return Span(name, tone), Span(values, Tone.PLAIN if plain else tone)


def _value(verdict: FilterVerdict) -> str:
    """A filter that passed, with the values that it compared: ``microcode (0x42e)``."""
    if not verdict.wanted and not verdict.found:
        return verdict.filter
    if verdict.wanted == verdict.found or not verdict.found:
        return f"{verdict.filter} ({verdict.wanted})"
    return f"{verdict.filter} (wanted {verdict.wanted or '-'}, found {verdict.found})"
