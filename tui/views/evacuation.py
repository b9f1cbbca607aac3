"""The course of an evacuation, and its report once it has ended: a line for each server."""

from collections.abc import Callable, Sequence

from tui.formats.against_forecast import forecast_of, paused_longer, sent_more, took_ms
from tui.formats.options import option_words
from tui.formats.units import bytes_text, clock_text, duration_text, duration_within, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line
from tui.plot import GraphStyle
from tui.views.convergence import convergence, ratio_fields
from tui.views.figures import note_lines
from tui.views.forecast import forecast_fields
from tui.views.glyphs import Glyphs, move_span
from tui.views.planned import target_span, way_span
from tui.views.spoken import in_keys
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind, MoveState
from wire.migration import Migration, MigrationState, Sample

MoveOf = Callable[[str], tuple[Migration | None, Sequence[Sample]]]
"""Gives a move and its curve by the migration's id."""

_TONES = {MoveState.FAILED: Tone.BAD, MoveState.CANCELLED: Tone.WARN, MoveState.STAYED: Tone.WARN}


def columns(
    style: GraphStyle,
    glyphs: Glyphs,
    move_of: MoveOf,
    place_of: Callable[[str], int],
    kind_of: Callable[[], EvacuationKind],
) -> list[Column[EvacuatedServer]]:
    """The table's columns.

    Args:
        style: how curves are drawn.
        glyphs: the marks.
        move_of: gives what is known of a move.
        place_of: gives the place of a server in the order in which they begin.
        kind_of: says whether servers leave, are rescued or come back.
    """

    def curve(server: EvacuatedServer, width: int) -> Span:
        migration, samples = move_of(server.migration_id)
        return convergence(migration, samples, width, style, glyphs)

    def what(server: EvacuatedServer, _: int) -> Span:
        return progress(server, *move_of(server.migration_id))

    return [
        Column(
            key="server",
            title="SERVER",
            width=12,
            flex=2,
            most=28,
            cell=lambda each, _: Span(each.plan.server_name, Tone.STRONG),
            order=lambda each: natural(each.plan.server_name),
        ),
        Column(
            key="order",
            title="#",
            width=3,
            rank=7,
            cell=lambda each, _: Span(str(place_of(each.plan.server_id)), Tone.DIM),
            order=lambda each: place_of(each.plan.server_id),
            right=True,
            searched=False,
        ),
        Column(
            key="state",
            title="STATE",
            width=11,
            cell=lambda each, _: move_span(kind_of(), each.state, glyphs),
            order=lambda each: _RANKS[each.state],
        ),
        Column(
            key="way",
            title="WAY",
            width=6,
            rank=3,
            cell=lambda each, _: way_span(each.plan),
            order=lambda each: str(each.plan.way),
        ),
        Column(
            key="target",
            title="TARGET",
            width=8,
            flex=1,
            most=20,
            cell=lambda each, _: target_span(each.plan),
            order=lambda each: natural(each.plan.target_host_name),
        ),
        Column(
            key="curve",
            title="CONVERGES",
            width=14,
            flex=3,
            most=30,
            rank=1,
            draws=True,
            cell=curve,
            order=lambda each: _RANKS[each.state],
            searched=False,
        ),
        _figure("took", "TOOK", 4, lambda each: took_ms(each) or -1, _clock),
        _figure("expected", "FORECAST", 5, _expected_ms, _clock),
        _figure("pause", "PAUSE", 2, _pause_ms, duration_within),
        _figure("planned", "FORECAST", 6, _planned_pause_ms, duration_within),
        _figure(
            "sent",
            "SENT",
            6,
            lambda each: each.sent_bytes or -1,
            lambda size, _: bytes_text(size),
        ),
        Column(
            key="what",
            title="HOW FAR, AND WHY",
            width=26,
            flex=20,
            cell=what,
            order=lambda each: each.reason,
        ),
    ]


_RANKS = {
    state: rank
    for rank, state in enumerate(
        (
            MoveState.FAILED,
            MoveState.MOVING,
            MoveState.WAITING,
            MoveState.CANCELLED,
            MoveState.STAYED,
            MoveState.LEFT,
        )
    )
}
"""Servers as an operator looks for them when they are sorted by state."""


def _figure(
    key: str,
    title: str,
    rank: int,
    value: Callable[[EvacuatedServer], int],
    text: Callable[[int, int], str],
) -> Column[EvacuatedServer]:
    """A column of a number, which is sorted as such; below 0 is what nobody knows."""

    def span(server: EvacuatedServer, room: int) -> Span:
        known = value(server)
        return Span(text(known, room)) if known >= 0 else Span("-", Tone.DIM)

    return Column(
        key=key,
        title=title,
        width=8,
        rank=rank,
        cell=span,
        order=value,
        right=True,
        searched=False,
    )


def _clock(duration_ms: int, _: int) -> str:
    return clock_text(round(duration_ms / 1000))


def _expected_ms(server: EvacuatedServer) -> int:
    forecast = forecast_of(server)
    return forecast.total_ms if forecast else -1


def _pause_ms(server: EvacuatedServer) -> int:
    return -1 if server.downtime_ms is None else server.downtime_ms


def _planned_pause_ms(server: EvacuatedServer) -> int:
    forecast = forecast_of(server)
    return forecast.downtime_ms if forecast else -1


def progress(
    server: EvacuatedServer, migration: Migration | None, samples: Sequence[Sample]
) -> Span:
    """Where a server is: the phase of its move, what it waits for, or why it is where it is."""
    if server.state is MoveState.LEFT and not server.reason:
        return _result(server)
    if server.state is not MoveState.MOVING:
        told = server.reason or (server.plan.why if server.state.open else "")
        return Span(in_keys(told), _TONES.get(server.state, Tone.PLAIN))
    if migration is None:
        return Span(server.reason or "has begun")
    if migration.stalled_reason:
        return Span(migration.stalled_reason, Tone.WARN)
    if migration.cancel_requested_by:
        return Span(f"cancel asked for by {migration.cancel_requested_by}", Tone.WARN)
    return Span(_phase(migration, samples[-1] if samples else None))


def _result(server: EvacuatedServer) -> Span:
    """The real time, pause and bytes against the forecast, what is worse in front."""
    took, forecast = took_ms(server), forecast_of(server)
    paused = "" if server.downtime_ms is None else f"paused {duration_text(server.downtime_ms)}"
    if not took:
        return Span(paused)
    if forecast is None:
        return Span(f"took {clock_text(round(took / 1000))}")
    if not forecast.link_seen:
        told = "its link had not been measured"
        return Span(f"{paused}; {told}" if paused else told)
    if took > forecast.high_ms:
        most = clock_text(round(forecast.high_ms / 1000))
        told = f"{clock_text(round(took / 1000))} of {most} at most"
        return Span(f"{told}, {paused}" if paused else told, Tone.WARN)
    told = "as forecast" if took >= forecast.low_ms else "sooner"
    if paused_longer(server, forecast):
        told, paused = "", f"{paused}, not {duration_text(forecast.downtime_ms)}"
    if sent_more(server, forecast):
        told = f"{bytes_text(server.sent_bytes)} sent, not {bytes_text(forecast.sent_bytes)}"
    return Span(", ".join(part for part in (paused, told) if part))


def _phase(migration: Migration, last: Sample | None) -> str:
    """Phase by phase, in bytes: a share of all would run backwards."""
    if migration.state is MigrationState.COPYING_MEMORY and last is not None:
        slowed = f", slowed {last.throttle_percent} %" if last.throttle_percent else ""
        left = bytes_text(last.memory_remaining_bytes)
        if last.postcopy:
            return f"post-copy, {left} to fetch"
        return f"pass {last.pass_number}, {left} left{slowed}"
    if migration.state is MigrationState.COPYING_DISKS and last is not None:
        left = bytes_text(last.disk_remaining_bytes)
        return f"disks, {left} of {bytes_text(last.disk_total_bytes)} left"
    return str(migration.state).replace("_", " ")


def details(
    evacuation: Evacuation,
    server: EvacuatedServer,
    width: int,
    glyphs: Glyphs,
    *,
    ratio: float | None = None,
) -> list[Line]:
    """One server's case in full, then what happened to the whole.

    ``width`` is in cells, ``ratio`` its dirty rate over its bandwidth now, None if nobody knows.
    """
    plan = server.plan
    route = f"{plan.source_host_name} {glyphs.arrow} {plan.target_host_name or '?'}"
    title = line(
        Span(plan.server_name, Tone.TITLE),
        f"  {plan.way}, {route}  ",
        move_span(evacuation.kind, server.state, glyphs),
    )
    fields: list[tuple[str, Span]] = []
    if server.reason:
        fields.append(("why", Span(in_keys(server.reason), _TONES.get(server.state, Tone.PLAIN))))
    if plan.why and plan.why != server.reason:
        fields.append(("plan", Span(in_keys(plan.why))))
    fields += _outcome(server)
    fields += ratio_fields(ratio)
    fields += forecast_fields(server.forecast or plan.forecast, glyphs)
    if words := option_words(plan.options):
        fields.append(("options", Span(" ".join(words), Tone.STRONG)))
    if server.migration_id:
        tries = f", try {server.tries}" if server.tries > 1 else ""
        fields.append(("migration", Span(f"{server.migration_id}{tries}")))
    if server.returned:
        fields.append(("returned", Span("it was brought back since")))
    lines = [title, *labelled(fields, width)]
    if evacuation.notes:
        lines += [(), line(Span("What happened:", Tone.DIM)), *note_lines(evacuation.notes, width)]
    return lines


def _outcome(server: EvacuatedServer) -> list[tuple[str, Span]]:
    """What came of it, to be held against the forecast below."""
    took = took_ms(server)
    if not took:
        began = moment_text(server.started_at_ms)
        return [("began", Span(began))] if server.started_at_ms else []
    parts = [duration_text(took)]
    if server.downtime_ms is not None:
        parts.append(f"paused for {duration_text(server.downtime_ms)}")
    if server.sent_bytes:
        parts.append(f"{bytes_text(server.sent_bytes)} sent")
    return [("came out", Span(", ".join(parts), Tone.STRONG))]


def last_notes(evacuation: Evacuation, width: int, most: int) -> list[Line]:
    """What happened last, a line for each."""
    return [each for note in evacuation.notes[-most:] for each in note_lines((note,), width)[:1]]
