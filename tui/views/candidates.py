"""The targets of a migration: each host with every verdict, both values, and its risk."""

from collections.abc import Mapping, Sequence

import msgspec

from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, cut, pad, wrap
from tui.views.glyphs import Glyphs
from tui.views.hosts import cpu_name
from wire.candidates import Candidate, FilterVerdict

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
    def risks(self) -> bool:
        """Whether something is risked there because checks are skipped."""
        return self.candidate is not None and bool(self.candidate.risk)

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


def columns(glyphs: Glyphs, *, best: str = "") -> list[Column[Target]]:
    """The dialog's columns.

    Args:
        glyphs: the marks.
        best: what the first row is called; empty for the best host by its name.
    """
    return [
        Column(
            key="host",
            title="TARGET",
            width=14,
            flex=1,
            most=24,
            cell=lambda target, _: _name(target, best),
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
    """Fits, fits because a check is skipped, at a risk or safely, or not."""
    if not target.fits:
        return Span(f"{glyphs.bad} unfit", Tone.DIM)
    if target.risks:
        return Span(f"{glyphs.warn} skips", Tone.WARN)
    if target.skipped:
        return Span(f"{glyphs.fits} safe", Tone.GOOD)
    return Span(f"{glyphs.fits} fits", Tone.GOOD)


def _name(target: Target, best: str) -> Span:
    if target.chosen_by_scheduler and best:
        return Span(best, Tone.STRONG)
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
        tone = Tone.WARN if target.risks else Tone.DIM
        return Span(f"unchecked: {'; '.join(reasons)}", tone) if reasons else Span("")
    reasons = list(target.candidate.reasons)
    count = f"{len(reasons)} reasons: " if len(reasons) > 1 else ""
    return Span(f"{count}{reasons[0]}", Tone.DIM)


def verdict_lines(target: Target, width: int, glyphs: Glyphs) -> list[Line]:
    """Every filter's word on the target under the cursor: refusals, risk, then what passed."""
    if target.candidate is None:
        return wrap("No host passes every filter; the rows below say why.", width, Tone.WARN)
    lines: list[Line] = []
    verdicts = target.candidate.verdicts
    for each in verdicts:
        if not each.passed:
            lines += wrap(f"{glyphs.bad} {each.reason or each.filter}", width, Tone.WARN)
    if target.candidate.risk:
        lines += wrap(f"{glyphs.warn} risk: {target.candidate.risk}", width, Tone.STRONG)
    if target.candidate.safe:
        lines += wrap(f"{glyphs.fits} safe: {target.candidate.safe}", width, Tone.GOOD)
    mark, tone = (glyphs.warn, Tone.WARN) if target.risks else (glyphs.fits, Tone.PLAIN)
    for each in target.skipped:
        lines += wrap(f"{mark} skipped: {each.reason}", width, tone)
    skipped = {each.filter for each in target.skipped}
    passed = [each for each in verdicts if each.passed and each.filter not in skipped]
    if passed:
        lines.append(_columns("  PASSED", "WANTED", "FOUND", width, Tone.DIM))
    for each in passed:
        name = f"{glyphs.fits} {each.filter}"
        short = cpu_name if each.filter == "cpu_model" else str
        lines.append(_columns(name, short(each.wanted), short(each.found), width, Tone.GOOD))
    return lines


_NAME_WIDTH = 20


def _columns(name: str, wanted: str, found: str, width: int, tone: Tone) -> Line:
    """A filter that passed, and the values that it compared; equal ones stand there once."""
    room = width - _NAME_WIDTH
    half = room // 2
    if wanted == found:
        values = cut(f"= {wanted}", room) if wanted else ""
    else:
        values = f"{pad(wanted, half - 1)} {cut(found, half)}".rstrip()
    value_tone = Tone.DIM if tone is Tone.DIM else Tone.PLAIN
    return Span(pad(name, _NAME_WIDTH), tone), Span(values, value_tone)
