"""The Servers view: columns, and in full one server's disks, targets and last migration."""

from tui.formats.disks import disk_text
from tui.formats.units import bytes_text, duration_text, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line, wrap
from tui.views.glyphs import Glyphs, migration_span, server_span
from wire.fleet import ServerStatus, ServerView
from wire.migration import Migration, MigrationState


def may_go_to(server: ServerView, glyphs: Glyphs) -> Span:
    """The hosts that it may go to now, live if it is on and cold if it is stopped."""
    if server.migration_id:
        return Span(f"{glyphs.busy} moving", Tone.BUSY)
    if server.target_host_names:
        names = sorted(server.target_host_names, key=natural)
        return Span(", ".join(names))
    if server.status is not ServerStatus.UNKNOWN:
        return Span(f"{glyphs.bad} nowhere", Tone.WARN)
    return Span("-", Tone.DIM)


def columns(glyphs: Glyphs) -> list[Column[ServerView]]:
    """The table's columns."""
    return [
        Column(
            key="name",
            title="NAME",
            width=14,
            flex=3,
            most=40,
            cell=lambda server, _: Span(server.name, Tone.STRONG),
            order=lambda server: natural(server.name),
        ),
        Column(
            key="status",
            title="STATUS",
            width=16,
            cell=lambda server, _: server_span(server.status, glyphs),
            order=lambda server: str(server.status),
        ),
        Column(
            key="host",
            title="HOST",
            width=9,
            flex=2,
            most=24,
            cell=lambda server, _: Span(server.host_name or "-"),
            order=lambda server: natural(server.host_name),
        ),
        Column(
            key="vcpu",
            title="VCPU",
            width=4,
            rank=3,
            cell=lambda server, _: Span(str(server.vcpu_count)),
            order=lambda server: server.vcpu_count,
            right=True,
            searched=False,
        ),
        Column(
            key="memory",
            title="MEMORY",
            width=8,
            rank=1,
            cell=lambda server, _: Span(bytes_text(server.memory_bytes)),
            order=lambda server: server.memory_bytes,
            right=True,
            searched=False,
        ),
        Column(
            key="storage",
            title="STORAGE",
            width=8,
            flex=1,
            most=10,
            rank=2,
            cell=lambda server, _: Span(server.storage),
            order=lambda server: server.storage,
        ),
        Column(
            key="targets",
            title="MAY GO TO",
            width=14,
            flex=4,
            cell=lambda server, _: may_go_to(server, glyphs),
            order=lambda server: -len(server.target_host_names),
            searched=False,
        ),
    ]


def details(
    server: ServerView, migrations: list[Migration], width: int, glyphs: Glyphs
) -> list[Line]:
    """Everything about one server, and its migrations, newest first."""
    where = f"  on {server.host_name}" if server.host_name else "  on no known host"
    lines: list[Line] = [
        line(Span(server.name, Tone.TITLE), "  ", server_span(server.status, glyphs), where)
    ]
    if server.status_reason:
        lines += wrap(server.status_reason, width, Tone.WARN)
    fields = [("may go to", _targets(server))]
    if migrations:
        fields.append(("last move", sentence(migrations[0], glyphs)))
    fields += [(disk.target, disk_text(disk)) for disk in server.disks]
    size = f"{server.vcpu_count} vCPU, {bytes_text(server.memory_bytes)} of memory"
    fields += [("size", size), ("rescue", f"{server.rescue_priority} priority")]
    fields.append(("id", server.server_id))
    fields += [("before that", sentence(each, glyphs)) for each in migrations[1:]]
    return lines + labelled([(label, Span(value)) for label, value in fields], width)


def sentence(migration: Migration, glyphs: Glyphs) -> str:
    """One migration in one sentence: route, state, when, and the pause."""
    state = migration_span(migration.state, glyphs).text
    target = migration.target_host_name or "a host yet to be chosen"
    route = f"{migration.source_host_name} {glyphs.arrow} {target}"
    when = moment_text(migration.created_at_ms)
    text = f"{state} {route}, {when}"
    statistics = migration.statistics
    if migration.state is MigrationState.SUCCEEDED and statistics.downtime_ms is not None:
        total = duration_text(statistics.total_ms)
        text += f", took {total}, pause {duration_text(statistics.downtime_ms)}"
    return text


def _targets(server: ServerView) -> str:
    if server.target_host_names:
        return ", ".join(sorted(server.target_host_names, key=natural))
    if server.migration_id:
        return "it moves now"
    if server.status is ServerStatus.UNKNOWN:
        return "nowhere while nobody knows how it is"
    kind = "cold" if server.status is ServerStatus.READY else "live"
    return f"nowhere {kind}: no host passes every filter"
