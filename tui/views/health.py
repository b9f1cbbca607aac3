"""The Health view: every host's health key as etcd has it now, and etcd itself above."""

from collections.abc import Sequence

import msgspec

from tui.formats.health import (
    ago_text,
    duties_text,
    duty_text,
    fence_text,
    gravest_first,
    health_word,
    left_text,
    policy_sentence,
    policy_text,
    unfenced_warning,
)
from tui.formats.incident import counts_text, what_is_done
from tui.formats.units import bytes_text, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, clip, labelled, line, wrap
from tui.views.glyphs import Glyphs, bar, health_span
from tui.views.spoken import in_keys
from wire.console import FailingDuty
from wire.life import Fence
from wire.rescue import EtcdMember, HealthReport, HostHealth, Incident, RescueGuard

_BAR_WIDTH = 10
_LEAST_CHANGE_WIDTH = 20
"""Cells in which the beginning of a change says something."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One host, and how far the report about it can be trusted."""

    health: HostHealth
    at_ms: int
    """When the report was made, by the backend's clock."""
    stale: bool = False
    """Nobody answers any more: what was true then need not be true now."""


def rows(report: HealthReport | None, *, stale: bool) -> dict[str, Row]:
    """The hosts of a report by their id."""
    if report is None:
        return {}
    return {
        each.host_id: Row(health=each, at_ms=report.at_ms, stale=stale) for each in report.hosts
    }


def key_span(row: Row, glyphs: Glyphs) -> Span:
    """Whether the key is there; nobody knows once nobody answers."""
    if row.stale:
        return Span(f"{glyphs.unknown} unknown", Tone.WARN)
    return health_span(row.health, glyphs)


def left_span(row: Row, width: int, glyphs: Glyphs) -> Span:
    """The time left as a bar that empties, and in seconds."""
    health = row.health
    if row.stale or health.left_s is None or not health.life.ttl_s:
        return Span("?" if row.stale else "-", Tone.WARN if row.stale else Tone.DIM)
    numbers = f"{health.left_s:>2}/{health.life.ttl_s} s"
    cells = min(_BAR_WIDTH, width - len(numbers) - 1)
    tone = Tone.WARN if health.late else Tone.PLAIN
    if cells < 3:
        return Span(numbers, tone)
    return Span(f"{bar(health.left_s / health.life.ttl_s, cells, glyphs)} {numbers}", tone)


def fence_span(row: Row, width: int, glyphs: Glyphs) -> Span:
    """What fences it; that nothing does is a warning once its servers are to be rescued."""
    life, wanted = row.health.life, row.health.policy.auto_migrate_on_host_down
    if life.fence is Fence.WATCHDOG:
        return Span(fence_text(life) if width >= len(fence_text(life)) else str(life.fence))
    if not wanted:
        return Span("none", Tone.DIM)
    text = f"{glyphs.warn} {fence_text(life)}"
    return Span(text if len(text) <= width else f"{glyphs.warn} none", Tone.WARN)


def last_span(row: Row, width: int) -> Span:
    """How long ago the last change was, and what it was where that can be read."""
    changes = row.health.transitions
    if not changes:
        return Span("-", Tone.DIM)
    ago = ago_text(row.at_ms - changes[-1].at_ms)
    text = f"{ago}: {changes[-1].text}"
    return Span(text if len(text) <= width or width >= _LEAST_CHANGE_WIDTH else ago)


def columns(glyphs: Glyphs) -> list[Column[Row]]:
    """The table's columns."""
    return [
        Column(
            key="name",
            title="NAME",
            width=9,
            flex=2,
            most=28,
            cell=lambda row, _: Span(row.health.host_name, Tone.STRONG),
            order=lambda row: natural(row.health.host_name),
        ),
        Column(
            key="health",
            title="KEY",
            width=9,
            flex=1,
            most=12,
            cell=lambda row, _: key_span(row, glyphs),
            order=lambda row: ("dead", "lost", "late", "present").index(health_word(row.health)),
        ),
        Column(
            key="left",
            title="TIME LEFT",
            width=15,
            flex=1,
            most=19,
            cell=lambda row, width: left_span(row, width, glyphs),
            order=lambda row: -1 if row.health.left_s is None else row.health.left_s,
            searched=False,
        ),
        Column(
            key="fence",
            title="FENCE",
            width=9,
            flex=2,
            most=28,
            cell=lambda row, width: fence_span(row, width, glyphs),
            order=lambda row: str(row.health.fence),
        ),
        Column(
            key="armed",
            title="MIGRATES ON",
            width=13,
            cell=lambda row, _: _policy_span(row),
            order=lambda row: policy_text(row.health.policy),
        ),
        Column(
            key="epoch",
            title="EPOCH",
            width=5,
            rank=1,
            cell=lambda row, _: Span(str(row.health.life.epoch)),
            order=lambda row: row.health.life.epoch,
            right=True,
            searched=False,
        ),
        Column(
            key="last",
            title="LAST CHANGE",
            width=14,
            flex=4,
            cell=last_span,
            order=lambda row: -row.health.transitions[-1].at_ms if row.health.transitions else 0,
        ),
    ]


def _policy_span(row: Row) -> Span:
    text = policy_text(row.health.policy)
    return Span(text, Tone.DIM if text == "off" else Tone.PLAIN)


def trouble_lines(
    report: HealthReport | None, trouble: str, width: int, glyphs: Glyphs
) -> list[Line]:
    """Why there is nothing fresher than the latest report; nothing if there is."""
    if not trouble:
        return []
    seen = f"; below stands what was at {moment_text(report.at_ms)}" if report else ""
    return wrap(f"{glyphs.bad} {trouble}{seen}", width, Tone.BAD)


def etcd_lines(members: Sequence[EtcdMember], glyphs: Glyphs, *, brief: bool) -> list[Line]:
    """How many members of etcd answer, and each; of all that are well, brief says one line."""
    lines = [_majority(members, glyphs)]
    longest = max((len(each.endpoint) for each in members), default=0)
    return lines + [_member(each, longest, glyphs) for each in members if each.error or not brief]


def guard_line(guard: RescueGuard, width: int, glyphs: Glyphs) -> Line:
    """Whether anything is rescued without being asked."""
    if guard.armed:
        return line(Span(f"{glyphs.good} rescues armed", Tone.GOOD))
    by = f" by {guard.by}" if guard.by else ""
    text = f" {moment_text(guard.at_ms, brief=True)}{by}: {guard.reason or 'no reason given'}"
    return clip((Span(" RESCUES DISARMED ", Tone.BADGE), Span(text, Tone.WARN)), width)


def duty_lines(
    duties: Sequence[FailingDuty], width: int, glyphs: Glyphs, *, room: int
) -> list[Line]:
    """What the backend does not get done, the gravest first; nothing if all goes well.

    One line for all of them where ``room``, in lines, has none for each.
    """
    if 1 < len(duties) > room:
        texts = [duties_text(duties)]
    else:
        texts = [duty_text(each, brief=True) for each in gravest_first(duties)]
    return [clip(line(Span(f"{glyphs.bad} {text}", Tone.BAD)), width) for text in texts]


def _majority(members: Sequence[EtcdMember], glyphs: Glyphs) -> Line:
    up = [each for each in members if not each.error]
    leaders = [each for each in up if each.leader]
    noun = "member answers" if len(members) == 1 else "members answer"
    text = f"etcd: {len(up)} of {len(members)} {noun}"
    if 2 * len(up) <= len(members):
        return line(Span(f"{glyphs.bad} {text}, no majority", Tone.BAD))
    if not leaders:
        return line(Span(f"{glyphs.warn} {text}, none of them leads", Tone.WARN))
    lead = leaders[0]
    about = f", v{lead.version}, {bytes_text(lead.database_bytes)}; {lead.endpoint} leads"
    if len(up) < len(members):
        return line(Span(f"{glyphs.warn} {text}", Tone.WARN), Span(about, Tone.DIM))
    return line(Span(f"{glyphs.good} {text}", Tone.GOOD), Span(about, Tone.DIM))


def _member(member: EtcdMember, longest: int, glyphs: Glyphs) -> Line:
    head = f"  {member.endpoint:<{longest}}  "
    if member.error:
        return line(Span(head), Span(f"{glyphs.bad} {member.error}", Tone.BAD))
    part = "leader  " if member.leader else "follows "
    size = bytes_text(member.database_bytes)
    return line(
        Span(head),
        Span(part, Tone.STRONG if member.leader else Tone.PLAIN),
        Span(f"v{member.version}  term {member.raft_term}  {size}", Tone.DIM),
    )


def details(row: Row, incident: Incident | None, width: int, glyphs: Glyphs) -> list[Line]:
    """Everything about one host's health: what it means, policy, fence, and what changed when."""
    health = row.health
    left = left_text(health)
    title = line(Span(health.host_name, Tone.TITLE), "  ", key_span(row, glyphs))
    lines = [(*title, Span(f"  {left} left")) if left and not row.stale else title]
    if incident is not None:
        lines += wrap(in_keys(what_is_done(incident)), width, Tone.WARN)
        lines += wrap(f"servers: {counts_text(incident)}; 5 shows the incident", width)
    elif health.late and not row.stale:
        late = f"{health.host_name} has missed refreshes of its lease: it may be lost soon"
        lines += wrap(late, width, Tone.WARN)
    if health.present and health.policy.auto_migrate_on_host_down:
        warning = unfenced_warning(health.host_name, health.life)
        lines += wrap(f"{glyphs.warn} {warning}", width, Tone.WARN) if warning else []
    life = health.life
    changes = [f"{moment_text(each.at_ms)}  {each.text}" for each in reversed(health.transitions)]
    fields = [
        ("auto-migrate", policy_sentence(health.policy)),
        ("fence", fence_text(life)),
        *zip(["changes", *[""] * len(changes)], changes or ["none seen"], strict=False),
        ("life", f"epoch {life.epoch}, boot {life.boot_id}"),
        ("id", health.host_id),
    ]
    return lines + labelled(
        [(label, Span(value)) for label, value in fields], width, label_width=13
    )
