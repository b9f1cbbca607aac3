"""The Migrations view: columns."""

from collections.abc import Callable

from tui.formats.units import duration_within, moment_text
from tui.listing import Column, natural
from tui.paint import Span, Tone
from tui.views.glyphs import Glyphs, migration_span
from wire.migration import Migration, Sample

LastSample = Callable[[str], Sample | None]
"""Gives the newest sample of a migration by its id."""


def route(migration: Migration, glyphs: Glyphs) -> str:
    """``kvm-01 → kvm-02``."""
    target = migration.target_host_name or "?"
    return f"{migration.source_host_name} {glyphs.arrow} {target}"


def duration_ms(migration: Migration, last: Sample | None) -> int | None:
    """How long it took, or has taken so far by the source's clock; None before it began."""
    if migration.state.ended:
        began = migration.started_at_ms or migration.created_at_ms
        whole = migration.finished_at_ms - began if migration.finished_at_ms else 0
        return migration.statistics.total_ms or max(0, whole)
    return last.elapsed_ms if last else None


def pass_count(migration: Migration, last: Sample | None) -> int:
    """How many passes were begun."""
    if migration.state.ended:
        return migration.statistics.pass_count or len(migration.passes)
    return last.pass_number if last else len(migration.passes)


def columns(glyphs: Glyphs, last_sample: LastSample) -> list[Column[Migration]]:
    """The table's columns."""
    return [
        Column(
            key="server",
            title="SERVER",
            width=12,
            flex=3,
            most=40,
            cell=lambda each, _: Span(each.server_name, Tone.STRONG),
            order=lambda each: natural(each.server_name),
        ),
        Column(
            key="state",
            title="STATE",
            width=16,
            cell=lambda each, _: migration_span(each.state, glyphs),
            order=lambda each: each.state.rank,
        ),
        Column(
            key="route",
            title="ROUTE",
            width=15,
            flex=3,
            most=40,
            cell=lambda each, _: Span(route(each, glyphs)),
            order=lambda each: natural(each.source_host_name),
        ),
        Column(
            key="started",
            title="STARTED",
            width=8,
            flex=4,
            most=19,
            rank=2,
            cell=lambda each, width: Span(_moment(each, width)),
            order=lambda each: each.created_at_ms,
        ),
        Column(
            key="duration",
            title="TOOK",
            width=8,
            flex=1,
            most=12,
            rank=1,
            cell=lambda each, width: Span(_duration(each, last_sample(each.migration_id), width)),
            order=lambda each: duration_ms(each, None) or 0,
            right=True,
            searched=False,
        ),
        Column(
            key="passes",
            title="PASS",
            width=4,
            rank=3,
            cell=lambda each, _: Span(str(pass_count(each, last_sample(each.migration_id)) or "-")),
            order=lambda each: pass_count(each, None),
            right=True,
            searched=False,
        ),
        Column(
            key="downtime",
            title="DOWNTIME",
            width=8,
            flex=1,
            most=12,
            cell=lambda each, width: Span(downtime(each, width)),
            order=lambda each: each.statistics.downtime_ms or 0,
            right=True,
            searched=False,
        ),
        Column(
            key="by",
            title="BY",
            width=10,
            flex=1,
            most=20,
            rank=4,
            cell=lambda each, _: Span(each.requested_by or "-"),
            order=lambda each: each.requested_by,
        ),
    ]


def downtime(migration: Migration, width: int) -> str:
    """The real pause of a finished migration, in at most so many cells."""
    if not migration.state.ended or migration.statistics.downtime_ms is None:
        return "-"
    return duration_within(migration.statistics.downtime_ms, width)


def _moment(migration: Migration, width: int) -> str:
    """Local time of its start; the date only where it fits."""
    text = moment_text(migration.started_at_ms or migration.created_at_ms)
    if len(text) <= width:
        return text
    date, _, time = text.partition(" ")
    return f"{date[5:]} {time}" if len(date[5:]) + 1 + len(time) <= width else time


def _duration(migration: Migration, last: Sample | None, width: int) -> str:
    took = duration_ms(migration, last)
    if took is None:
        return "-"
    return duration_within(took if migration.state.ended else took // 1000 * 1000, width)
