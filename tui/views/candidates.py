"""The targets of a live migration: each host with every verdict, and what is about to happen."""

from collections.abc import Mapping, Sequence

import msgspec

from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, line, wrap
from tui.views.glyphs import Glyphs
from wire.fleet import Candidate, ServerView
from wire.migration import MigrationOptions

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
            width=8,
            cell=lambda target, _: verdict(target, glyphs),
            order=lambda target: target.place,
        ),
        Column(
            key="reason",
            title="WHY NOT",
            width=20,
            flex=6,
            cell=lambda target, _: _reason(target),
            order=lambda target: target.place,
        ),
    ]


def verdict(target: Target, glyphs: Glyphs) -> Span:
    """Fits, or not."""
    if target.fits:
        return Span(f"{glyphs.fits} fits", Tone.GOOD)
    return Span(f"{glyphs.bad} unfit", Tone.DIM)


def _name(target: Target) -> Span:
    if target.chosen_by_scheduler:
        name = target.candidate.host_name if target.candidate else "no host fits"
        return Span(f"best: {name}", Tone.STRONG if target.fits else Tone.DIM)
    name = target.candidate.host_name if target.candidate else ""
    return Span(name, Tone.PLAIN if target.fits else Tone.DIM)


def _reason(target: Target) -> Span:
    if target.candidate is None or target.fits:
        return Span("")
    reasons = target.candidate.reasons
    count = f"{len(reasons)} reasons: " if len(reasons) > 1 else ""
    return Span(f"{count}{reasons[0]}", Tone.DIM)


def verdict_lines(target: Target, width: int, glyphs: Glyphs) -> list[Line]:
    """Every filter's word on the target under the cursor, refusals first."""
    if target.candidate is None:
        return wrap("No host passes every filter; the rows below say why.", width, Tone.WARN)
    lines: list[Line] = []
    for each in target.candidate.verdicts:
        if not each.passed:
            text = f"{glyphs.bad} {each.reason or each.filter}"
            lines += wrap(text, width, Tone.WARN)
    passed = [each.filter for each in target.candidate.verdicts if each.passed]
    if passed:
        lines += wrap(f"{glyphs.fits} passed: {', '.join(passed)}", width, Tone.GOOD)
    return lines


def intention(server: ServerView) -> Line:
    """What the dialog is for, in one sentence."""
    return line(
        Span(server.name, Tone.TITLE),
        f" moves away from {server.host_name} while it runs. Where to?",
    )


def question(server: ServerView, target: Target, options: MigrationOptions) -> str:
    """What will happen, to what, and how to stop it."""
    place = target.candidate.host_name if target.candidate else "the best host"
    if target.chosen_by_scheduler:
        place = f"the best host, now {place}"
    return (
        f"{server.name} goes live from {server.host_name} to {place}. It runs on during the copy; "
        f"the pause aims at {options.downtime_limit_ms} ms and may exceed it. If it does not "
        "converge, the guest's CPUs are slowed down step by step (auto-converge, up to 99 %). "
        "Abort with X."
    )


def refusal(server: ServerView, target: Target) -> str:
    """Why an unfit target cannot be chosen."""
    if target.candidate is None:
        return f"No host fits {server.name}: there is nowhere to move it live."
    return f"{target.candidate.host_name} does not fit {server.name}: choose a host that fits."


def options_for(target: Target) -> MigrationOptions:
    """What to ask the backend for: a pin, or its own choice."""
    if target.chosen_by_scheduler or target.candidate is None:
        return MigrationOptions()
    return MigrationOptions(prefer_host=target.candidate.host_id)
