"""The top line of every screen: who we are, to whom we speak, and whether what is shown is live."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from tui.formats.health import failing_text, host_word
from tui.paint import Line, Span, Tone, clip, cut, length, line, spread
from tui.store import Link, Store
from tui.text import escape_text
from tui.views.evacuation_totals import open_count
from tui.views.glyphs import Glyphs
from wire.evacuation import EvacuationState
from wire.fleet import HostStatus, HostView
from wire.rescue import RescueGuard


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the console itself adds to what the store knows."""

    address: str
    """``10.77.1.2:8700``."""
    read_only: bool = False
    paused: bool = False


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a narrow terminal leaves of the line."""

    counts: bool = False
    token: bool = False
    address: bool = True
    reason: Literal["whole", "cut", "none"] = "whole"
    """Why rescues are disarmed; with none, one of the duties that fail stands for all."""


_FORMS = (
    _Form(counts=True, token=True),
    _Form(counts=True),
    _Form(token=True),
    _Form(),
    _Form(reason="cut"),
    _Form(reason="cut", address=False),
    _Form(reason="none", address=False),
)
_LEAST_REASON = 12
"""Cells below which a piece of a reason says nothing."""


def top_line(store: Store, session: Session, width: int, glyphs: Glyphs) -> Line:
    """Lay the line out; what is wrong with hosts and rescues gives way last."""
    for form in _FORMS:
        right = _counts(store) if form.counts else ()
        left = _left(store, session, glyphs, form)
        room = width - length(left) - length(right) - (1 if right else 0)
        alarms = _alarms(store, glyphs, form, room)
        if length(alarms) <= room:
            shown = (*left, *alarms)
            return spread(shown, right, width) if right else shown
    return clip((*left, *alarms), width)


def _left(store: Store, session: Session, glyphs: Glyphs, form: _Form) -> Line:
    spans: list[Span] = [Span("godwit", Tone.TITLE)]
    spans.append(Span(f" {session.address} " if form.address else " "))
    if session.read_only:
        spans += [Span(" READ-ONLY ", Tone.BADGE), Span(" ")]
    if session.paused:
        spans += [Span(" PAUSED ", Tone.BADGE), Span(" ")]
    if store.status and form.token:
        spans.append(Span(f"{store.status.token_name} ({store.status.role}) ", Tone.DIM))
    spans += [Span(" "), _link(store, glyphs)]
    if store.link is Link.LOST and store.complete:
        spans.append(Span(", shown as it was", Tone.WARN))
    spans += [Span("  "), _etcd(store, glyphs)]
    if store.status and not store.status.leading:
        spans.append(Span(f"  {glyphs.warn} standby", Tone.WARN))
    return tuple(spans)


def _alarms(store: Store, glyphs: Glyphs, form: _Form, room: int) -> Line:
    """Hosts that are lost or late, and what is not done about them or anything else."""
    spans: list[Span] = []
    lost = [each for each in store.hosts.values() if _is_lost(each)]
    if lost:
        word = "dead" if all(each.dead for each in lost) else "lost"
        spans.append(Span(f"  {glyphs.bad} {_named(lost)} {word}", Tone.BAD))
    late = [each for each in store.hosts.values() if host_word(each) == "late"]
    if late:
        spans.append(Span(f"  {glyphs.warn} {_named(late)} late", Tone.WARN))
    spans += _emptied(store, glyphs)
    failing = store.status.failing_duties if store.status else ()
    if failing:
        text = escape_text(failing_text(failing, brief=form.reason == "none"))
        spans += [Span("  "), Span(f" {text.upper()} ", Tone.BADGE)]
    if not store.guard.armed:
        # two badges stand closer: they have an edge of their own
        spans.append(Span(" " if failing else "  "))
        spans += _disarmed(store.guard, form, room - length(tuple(spans)))
    return tuple(spans)


def _emptied(store: Store, glyphs: Glyphs) -> list[Span]:
    """Hosts that are being emptied or filled, and what is left to do."""
    found = store.open_evacuations()
    if not found:
        return []
    left = sum(open_count(each) for each in found)
    held = any(each.state is EvacuationState.PAUSED for each in found)
    mark, tone = (glyphs.warn, Tone.WARN) if held else (glyphs.busy, Tone.BUSY)
    name = escape_text(found[0].host_name) if len(found) == 1 else f"{len(found)} evacuations"
    return [Span(f"  {mark} {name}{' paused' if held else ''}, {left} to go", tone)]


def _disarmed(guard: RescueGuard, form: _Form, room: int) -> list[Span]:
    """That rescues are disarmed, and why as far as there is room."""
    badge = Span(" RESCUES DISARMED " if form.address else " DISARMED ", Tone.BADGE)
    reason = f" {escape_text(guard.reason)}" if guard.reason else ""
    if form.reason == "none" or not reason:
        return [badge]
    if form.reason == "cut":
        # a piece that says nothing is made too long for this form
        reason = cut(reason, max(_LEAST_REASON, room - length((badge,))))
    return [badge, Span(reason, Tone.WARN)]


def _is_lost(host: HostView) -> bool:
    """Not of a host in maintenance: whoever switched that off knows."""
    return host.status is HostStatus.OFFLINE and not host.policy.maintenance


def _named(hosts: Sequence[HostView]) -> str:
    return escape_text(hosts[0].facts.name) if len(hosts) == 1 else f"{len(hosts)} hosts"


def _link(store: Store, glyphs: Glyphs) -> Span:
    """Whether what is shown is live, or since when it is not."""
    if store.link is Link.LIVE:
        return Span(f"{glyphs.good} live", Tone.GOOD)
    if store.link is Link.CONNECTING:
        return Span(f"{glyphs.busy} connecting", Tone.BUSY)
    if not store.complete:
        return Span(f"{glyphs.bad} not connected", Tone.BAD)
    return Span(f"{glyphs.bad} lost {store.lost_for_s()} s ago", Tone.BAD)


def _etcd(store: Store, glyphs: Glyphs) -> Span:
    if store.status is None or store.link is not Link.LIVE:
        return Span(f"{glyphs.unknown} etcd", Tone.WARN)
    if store.status.etcd_ok:
        return Span(f"{glyphs.good} etcd", Tone.GOOD)
    return Span(f"{glyphs.bad} etcd silent", Tone.BAD)


def _counts(store: Store) -> Line:
    if not store.complete:
        return ()
    moving = len(store.under_way())
    counts = [_count(len(store.hosts), "host"), _count(len(store.servers), "server")]
    text = " ".join([*counts, *([f"{moving} moving"] if moving else [])])
    return line(Span(text, Tone.PLAIN))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
