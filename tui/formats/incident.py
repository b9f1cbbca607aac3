"""The report of a lost host: what was seen when, what was started elsewhere, what was not and why.

The same words as text, for the command line and the console, and as Markdown, for a ticket.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from tui.formats.health import after_text, fence_text
from tui.formats.report import (
    field_lines,
    folded,
    item_lines,
    markdown_fields,
    markdown_items,
    markdown_table,
    marked,
    note_text,
)
from tui.formats.table import Column, table_lines
from tui.formats.units import duration_text, moment_text, zone_text
from tui.text import escape_text
from wire.migration import Note
from wire.rescue import Incident, IncidentServer, IncidentState, RescueState

_SERVERS = (
    Column("Server", least=8),
    Column("State"),
    Column("Target", least=8),
    Column("After", right=True),
    Column("Tries", right=True),
    Column("Priority"),
    Column("Reason", wraps=True),
)
STATES = (
    RescueState.FAILED,
    RescueState.STARTING,
    RescueState.WAITING,
    RescueState.RESCUED,
    RescueState.SKIPPED,
    RescueState.RETURNED,
)
"""What became of servers, as an operator reads it: what is not done first."""


def what_is_done(incident: Incident) -> str:
    """The state of an incident in one sentence."""
    host = incident.host_name
    if incident.state is IncidentState.ENDED:
        return incident.held_reason or f"{host} is back"
    if incident.state is IncidentState.PROVING:
        reason = incident.held_reason or "it may still run its servers"
        return f"{host} is lost and not yet proven dead: {reason}"
    if incident.state is IncidentState.HELD:
        return f"nothing is started elsewhere by itself: {incident.held_reason or 'held'}"
    if incident.state is IncidentState.RESCUING:
        return f"servers of {host} are being started elsewhere"
    return f"all that could be done is done; {host} is still away"


def counts_text(incident: Incident) -> str:
    """``3 rescued, 1 waiting, 2 skipped``."""
    counts = Counter(each.state for each in incident.servers)
    order = (RescueState.RESCUED, *(each for each in RescueState if each != RescueState.RESCUED))
    return ", ".join(f"{counts[each]} {each}" for each in order if counts[each]) or "no servers"


def timeline(incident: Incident) -> list[tuple[str, int, str]]:
    """What happened when: a label, Unix time in ms (0 if it has not), and what to know of it."""
    running = [each for each in incident.servers if each.running_at_ms]
    named = {
        each.running_at_ms: f"{each.server_name} on {each.target_host_name}" for each in running
    }
    events = [
        ("lost", incident.lost_at_ms, "its health key was gone"),
        ("dead", incident.dead_at_ms, incident.proof),
        (
            "first running",
            incident.first_running_at_ms,
            named.get(incident.first_running_at_ms, ""),
        ),
        ("last running", incident.last_running_at_ms, named.get(incident.last_running_at_ms, "")),
    ]
    if incident.ended_at_ms:
        removed = incident.held_reason
        events.append(
            ("ended" if removed else "back", incident.ended_at_ms, removed or "the host is back")
        )
    return events


def brief_proof(incident: Incident) -> str:
    """Why a host counts as dead, in a few words; the proof says it in full."""
    if incident.declared_off_by:
        return f"{incident.declared_off_by} declared it off"
    return "by its watchdog, its lease being over" if incident.proof else ""


def happened(incident: Incident, asked_by: Mapping[str, str]) -> tuple[Note, ...]:
    """What happened, each start of a server too, oldest first.

    Args:
        incident: the lost host.
        asked_by: who asked for a rescue by hand, by its migration's id; empty texts for nobody.
    """
    starts = [
        Note(
            at_ms=each.running_at_ms,
            text=f"{each.server_name} runs on {each.target_host_name}",
            by=asked_by.get(each.migration_id, ""),
        )
        for each in incident.servers
        if each.running_at_ms
    ]
    return tuple(sorted([*incident.notes, *starts], key=lambda note: note.at_ms))


def in_order(servers: Sequence[IncidentServer]) -> list[IncidentServer]:
    """Servers as an operator reads them, the urgent ones first among their like."""
    return sorted(
        servers, key=lambda each: (STATES.index(each.state), each.priority.rank, each.server_name)
    )


def report_text(incident: Incident, width: int | None) -> list[str]:
    """Lay the whole report out as escaped lines; ``width`` in cells, None for no limit."""
    lines = [*folded(escape_text(_title(incident)), width), ""]
    lines += field_lines(_fields(incident), width)
    if incident.servers:
        lines += ["", *table_lines(_SERVERS, _rows(incident), width=width)]
    return [*lines, *item_lines("What happened", _notes(incident), width)]


def report_markdown(incident: Incident) -> str:
    """The same for a ticket."""
    lines = [f"# {marked(_title(incident))}", "", *markdown_fields(_fields(incident))]
    lines += markdown_fields([("times", zone_text(incident.lost_at_ms))])
    lines += markdown_table(_SERVERS, _rows(incident))
    lines += markdown_items("What happened", _notes(incident))
    return "\n".join(lines)


def _notes(incident: Incident) -> list[str]:
    return [note_text(note) for note in happened(incident, {})]


def _title(incident: Incident) -> str:
    return f"Incident of {incident.host_name}: {incident.state}, {counts_text(incident)}"


def _fields(incident: Incident) -> list[tuple[str, str]]:
    lost = incident.lost_at_ms
    return [
        ("incident", incident.incident_id),
        ("host", f"{incident.host_name} ({incident.host_id})"),
        ("state", f"{incident.state}: {what_is_done(incident)}"),
        *((label, _moment(lost, at_ms, told)) for label, at_ms, told in timeline(incident)),
        ("declared off by", incident.declared_off_by),
        ("shut down", "it had said that it was being shut down" if incident.shut_down else ""),
        ("last life", _life(incident)),
        ("servers", counts_text(incident)),
    ]


def _moment(lost_at_ms: int, at_ms: int, told: str) -> str:
    if not at_ms:
        return "not yet"
    parts = [moment_text(at_ms)]
    if at_ms != lost_at_ms:
        parts.append(after_text(lost_at_ms, at_ms))
    return "  ".join([*parts, *([told] if told else [])])


def _life(incident: Incident) -> str:
    life = incident.life
    return f"epoch {life.epoch}, fence {fence_text(life)}, lease of {life.ttl_s} s"


def _rows(incident: Incident) -> list[tuple[str, ...]]:
    return [_row(incident, each) for each in in_order(incident.servers)]


def _row(incident: Incident, server: IncidentServer) -> tuple[str, ...]:
    ran = server.running_at_ms
    return (
        server.server_name,
        server.state,
        server.target_host_name,
        duration_text(max(0, ran - incident.lost_at_ms)) if ran else "",
        str(server.tries) if server.tries else "",
        server.priority,
        server.reason,
    )
