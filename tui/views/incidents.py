"""The Incidents view: hosts that were lost, and how far each case is."""

from collections.abc import Callable

from tui.formats.incident import brief_proof, counts_text, timeline, what_is_done
from tui.formats.units import after_within, duration_text, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, cut, line, pad, wrap
from tui.views.glyphs import Glyphs, incident_span
from tui.views.spoken import in_keys
from wire.rescue import Incident, IncidentState, RescueState

_COLUMNS = (15, 10)
"""Cells of a moment's label and of its time of day."""
_LEAST_AFTER = 10
"""Cells of the time since the loss, more where it is long."""


def columns(glyphs: Glyphs) -> list[Column[Incident]]:
    """The table's columns; times are counted from the loss."""
    return [
        Column(
            key="host",
            title="HOST",
            width=9,
            flex=2,
            most=28,
            cell=lambda each, _: Span(each.host_name, Tone.STRONG),
            order=lambda each: natural(each.host_name),
        ),
        Column(
            key="state",
            title="STATE",
            width=10,
            flex=1,
            most=14,
            cell=lambda each, _: incident_span(each.state, glyphs),
            order=lambda each: list(IncidentState).index(each.state),
        ),
        Column(
            key="lost",
            title="LOST",
            width=11,
            flex=3,
            most=19,
            cell=lambda each, width: Span(moment_text(each.lost_at_ms, brief=width < 19)),
            order=lambda each: each.lost_at_ms,
        ),
        _since_loss("dead", "DEAD", rank=2, at_ms=lambda each: each.dead_at_ms),
        _since_loss("first", "FIRST", rank=1, at_ms=lambda each: each.first_running_at_ms),
        _since_loss("last", "LAST", rank=3, at_ms=lambda each: each.last_running_at_ms),
        Column(
            key="servers",
            title="SERVERS",
            width=23,
            flex=6,
            cell=lambda each, width: _servers(each, width, glyphs),
            order=lambda each: len(each.servers),
        ),
    ]


def _since_loss(
    key: str, title: str, *, rank: int, at_ms: Callable[[Incident], int]
) -> Column[Incident]:
    """A column of how long after the loss something was."""
    return Column(
        key=key,
        title=title,
        width=7,
        flex=1,
        most=12,
        rank=rank,
        cell=lambda each, width: Span(after_within(each.lost_at_ms, at_ms(each), width)),
        order=lambda each: at_ms(each) - each.lost_at_ms,
        right=True,
        searched=False,
    )


def _servers(incident: Incident, width: int, glyphs: Glyphs) -> Span:
    """What became of the servers; what is not done stands out."""
    failed = any(each.state is RescueState.FAILED for each in incident.servers)
    text = counts_text(incident)
    if failed:
        text = f"{glyphs.bad} {text}"
    if len(text) > width:
        done = sum(each.state is RescueState.RESCUED for each in incident.servers)
        text = f"{glyphs.bad if failed else ''} {done} of {len(incident.servers)} rescued".strip()
    return Span(text, Tone.BAD if failed else Tone.PLAIN)


def state_tone(incident: Incident) -> Tone:
    """How much the state of an incident asks for a person."""
    return {
        IncidentState.PROVING: Tone.WARN,
        IncidentState.HELD: Tone.BAD,
        IncidentState.RESCUING: Tone.BUSY,
    }.get(incident.state, Tone.PLAIN)


def timeline_lines(incident: Incident, width: int, *, brief: bool = False) -> list[Line]:
    """What is being done, and when what happened, in seconds since the loss.

    Args:
        incident: the lost host.
        width: cells.
        brief: cut what does not fit into its line.
    """
    lines = wrap(in_keys(what_is_done(incident)), width, state_tone(incident))
    if incident.declared_off_by:
        lines += wrap(f"{incident.declared_off_by} declared it to be off.", width)
    if incident.shut_down:
        lines += wrap("It had said that it was being shut down in order.", width)
    events = timeline(incident)
    lost_at_ms = incident.lost_at_ms
    afters = [
        f"+{duration_text(max(0, at_ms - lost_at_ms))}" if at_ms and at_ms != lost_at_ms else ""
        for _, at_ms, _ in events
    ]
    sizes = (*_COLUMNS, max(_LEAST_AFTER, 2 + max(map(len, afters))))
    room = max(10, width - sum(sizes))
    for (label, at_ms, told), after in zip(events, afters, strict=True):
        date, _, clock = moment_text(at_ms).partition(" ")
        first = at_ms == lost_at_ms
        cells = (label, clock if at_ms else "not yet", after)
        head = "".join(pad(text, size) for text, size in zip(cells, sizes, strict=True))
        short = brief_proof(incident) if brief and label == "dead" else told
        text = f"{date}, {told}" if first else short
        parts = [line(Span(cut(text, room)))] if brief else wrap(text, room)
        for number, part in enumerate(parts):
            tone = Tone.PLAIN if at_ms else Tone.DIM
            lines.append((Span(head if not number else " " * len(head), tone), *part))
    return lines


def details(incident: Incident, width: int, glyphs: Glyphs) -> list[Line]:
    """An incident in brief."""
    title = line(Span(incident.host_name, Tone.TITLE), "  ", incident_span(incident.state, glyphs))
    return [
        title,
        *timeline_lines(incident, width),
        *wrap(f"servers: {counts_text(incident)}", width),
    ]
