"""One lost host: what became of each of its servers."""

from collections.abc import Callable, Mapping

from tui.formats.incident import STATES, happened
from tui.formats.units import after_within, duration_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line
from tui.views.figures import note_lines
from tui.views.glyphs import Glyphs, incident_span, rescue_span
from tui.views.spoken import in_keys
from wire.rescue import Incident, IncidentServer, RescueState


def heading(incident: Incident, now_ms: int, glyphs: Glyphs) -> Line:
    """Host, state, and for how long it has been away."""
    lost = incident.lost_at_ms
    away_ms = max(0, (now_ms if incident.open else incident.ended_at_ms) - lost)
    whole = away_ms // 1000 * 1000 if incident.open else away_ms
    word = "lost for" if incident.open else "was lost for"
    return line(
        Span(" Incident ", Tone.TAB),
        Span(f"  {incident.host_name}  ", Tone.TITLE),
        incident_span(incident.state, glyphs),
        Span(f"  {word} {duration_text(whole)}"),
    )


def columns(lost_at_ms: Callable[[], int], glyphs: Glyphs) -> list[Column[IncidentServer]]:
    """The table's columns; times are counted from the loss of the host."""
    places = {state: place for place, state in enumerate(STATES)}
    return [
        Column(
            key="server",
            title="SERVER",
            width=13,
            flex=3,
            most=40,
            cell=lambda each, _: Span(each.server_name, Tone.STRONG),
            order=lambda each: natural(each.server_name),
        ),
        Column(
            key="state",
            title="STATE",
            width=10,
            flex=1,
            most=14,
            cell=lambda each, _: rescue_span(each.state, glyphs),
            order=lambda each: (places[each.state], each.priority.rank),
        ),
        Column(
            key="target",
            title="TARGET",
            width=9,
            flex=2,
            most=28,
            cell=lambda each, _: Span(each.target_host_name or "-"),
            order=lambda each: natural(each.target_host_name),
        ),
        Column(
            key="after",
            title="AFTER",
            width=7,
            flex=1,
            most=12,
            cell=lambda each, width: Span(after_within(lost_at_ms(), each.running_at_ms, width)),
            order=lambda each: each.running_at_ms,
            right=True,
            searched=False,
        ),
        Column(
            key="priority",
            title="PRIORITY",
            width=8,
            rank=1,
            cell=lambda each, _: Span(str(each.priority)),
            order=lambda each: each.priority.rank,
        ),
        Column(
            key="tries",
            title="TRIES",
            width=5,
            rank=2,
            cell=lambda each, _: Span(str(each.tries or "-")),
            order=lambda each: each.tries,
            right=True,
            searched=False,
        ),
        Column(
            key="reason",
            title="WHY",
            width=28,
            flex=6,
            cell=lambda each, _: Span(each.reason or "-", _reason_tone(each)),
            order=lambda each: each.reason,
        ),
    ]


def _reason_tone(server: IncidentServer) -> Tone:
    return {RescueState.FAILED: Tone.BAD, RescueState.WAITING: Tone.WARN}.get(
        server.state, Tone.PLAIN
    )


def details(
    incident: Incident,
    server: IncidentServer,
    width: int,
    glyphs: Glyphs,
    asked_by: Mapping[str, str],
) -> list[Line]:
    """One server's case in full, then what happened to the host.

    Args:
        incident: the lost host.
        server: one of its servers.
        width: cells.
        glyphs: the marks.
        asked_by: who asked for a rescue, by its migration's id.
    """
    span = rescue_span(server.state, glyphs)
    where = f"  on {server.target_host_name}" if server.target_host_name else ""
    lines = [line(Span(server.server_name, Tone.TITLE), "  ", span, where)]
    why = Span(in_keys(server.reason), _reason_tone(server))
    fields = [("why", why)] if server.reason else []
    if server.tries:
        fields.append(("tries", Span(str(server.tries))))
    lines += labelled(fields, width)
    if incident.proof:
        lines += labelled([("proof", Span(incident.proof))], width)
    if notes := happened(incident, asked_by):
        lines += [(), line(Span("What happened:", Tone.DIM)), *note_lines(notes, width)]
    return lines
