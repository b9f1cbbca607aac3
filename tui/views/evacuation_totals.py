"""What an evacuation is as a whole: how many are where, the link, and when the host is empty."""

from collections import Counter
from statistics import median

from tui.formats.evacuation import gone_text, names_text, state_word
from tui.formats.finishing import band_text, seconds_text, time_of_day, until_text
from tui.formats.units import bytes_text, duration_text, moment_text, rate_text
from tui.paint import Line, Span, Tone, length, line, spread, wrap
from tui.views.glyphs import Glyphs, bar, evacuation_span
from tui.views.migrations import LastSample
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind, EvacuationState, MoveState

_KINDS = {
    EvacuationKind.EVACUATE: "Evacuation",
    EvacuationKind.RESCUE: "Rescue",
    EvacuationKind.RETURN: "Return",
}
_TONES = {
    MoveState.LEFT: Tone.GOOD,
    MoveState.MOVING: Tone.BUSY,
    MoveState.WAITING: Tone.PLAIN,
    MoveState.FAILED: Tone.BAD,
    MoveState.CANCELLED: Tone.WARN,
    MoveState.STAYED: Tone.WARN,
}
"""What became of servers, in the order in which it is told."""
_BAR = 20


def heading(evacuation: Evacuation, width: int, now_ms: int, glyphs: Glyphs) -> Line:
    """Kind, host, state, how many are gone, and for how long it has gone on."""
    end_ms = evacuation.ended_at_ms or now_ms
    passed_s = max(0, end_ms - evacuation.created_at_ms) // 1000
    left = line(
        Span(f" {_KINDS[evacuation.kind]} ", Tone.TAB),
        Span(f"  {evacuation.host_name}  ", Tone.TITLE),
        evacuation_span(evacuation.state, glyphs),
        f"  {gone_text(evacuation)} in {seconds_text(passed_s)}",
    )
    return spread(left, line(Span(f"by {evacuation.requested_by or '-'}", Tone.DIM)), width)


def open_count(evacuation: Evacuation) -> int:
    """How many servers wait or move."""
    return sum(each.state.open for each in evacuation.servers)


def counts(evacuation: Evacuation) -> Line:
    """``7 left, 2 moving, 2 waiting, 1 failed, 1 stayed``, each in its tone."""
    found = Counter(each.state for each in evacuation.servers)
    spans: list[Span] = []
    for state, tone in _TONES.items():
        if found[state]:
            spans.append(Span(", " if spans else ""))
            spans.append(Span(f"{found[state]} {state_word(evacuation.kind, state)}", tone))
    return tuple(spans) or line(Span("no servers", Tone.DIM))


def total_lines(
    evacuation: Evacuation,
    width: int,
    now_ms: int,
    glyphs: Glyphs,
    *,
    sending_bytes_per_s: int | None = None,
) -> list[Line]:
    """The whole in a few lines, the most wanted first.

    Args:
        evacuation: as the backend said it last.
        width: cells.
        now_ms: Unix time in ms.
        glyphs: the marks.
        sending_bytes_per_s: what samples that are newer than it say; None if there are none.
    """
    if not evacuation.open:
        return _ending(evacuation, width)
    lines = _side_by_side(counts(evacuation), _finish(evacuation, now_ms), width)
    if evacuation.kind is not EvacuationKind.RESCUE:
        told = evacuation.sending_bytes_per_s
        sending = told if sending_bytes_per_s is None else sending_bytes_per_s
        lines.append(_link(evacuation, sending, width, glyphs))
    lines += _held(evacuation, width, glyphs)
    if evacuation.deadline:
        met = evacuation.meets_deadline
        mark, tone = (glyphs.fits, Tone.GOOD) if met else (glyphs.bad, Tone.BAD)
        by = time_of_day(evacuation.empty_by_ms, now_ms)
        lines += wrap(f"{mark} by {by}: {evacuation.deadline}", width, tone)
    return lines


def _side_by_side(left: Line, right: str, width: int) -> list[Line]:
    """In one line if both fit: neither may be cut."""
    end = line(Span(right, Tone.STRONG))
    if length(left) + length(end) < width:
        return [spread(left, end, width)]
    return [left, *wrap(right, width, Tone.STRONG)]


def _finish(evacuation: Evacuation, now_ms: int) -> str:
    if not evacuation.finish_at_ms:
        return "nobody can say when it is done"
    at, low, high = evacuation.finish_at_ms, evacuation.finish_low_ms, evacuation.finish_high_ms
    return f"done {until_text(at, now_ms)}, at {band_text(at, low, high, now_ms)}"


def sending_bytes_per_s(evacuation: Evacuation, last_sample: LastSample) -> int | None:
    """What its moves under way send together by their newest samples; None if there are none."""
    moving = [each for each in evacuation.servers if each.state is MoveState.MOVING]
    found = [sample for each in moving if (sample := last_sample(each.migration_id))]
    rates = [each.bandwidth_bytes_per_s + each.disk_bandwidth_bytes_per_s for each in found]
    return sum(rates) if rates else None


def _link(evacuation: Evacuation, sending: int, width: int, glyphs: Glyphs) -> Line:
    """What its moves send together, against what the link carries."""
    link = evacuation.link
    cap = evacuation.max_bandwidth_bytes_per_s
    capped = Span(f"  cap {rate_text(cap)}" if cap else "", Tone.STRONG)
    if link is None or not link.bytes_per_s:
        return line(
            Span("link ", Tone.DIM), f"{rate_text(sending)}, nobody knows of how much", capped
        )
    room = max(8, min(_BAR * 2, width - 60))
    share = sending / link.bytes_per_s
    basis = "measured" if link.measured_at_ms else "as its card says"
    return line(
        Span("link ", Tone.DIM),
        Span(bar(share, room, glyphs), Tone.CURVE),
        f" {rate_text(sending)} of {rate_text(link.bytes_per_s)}",
        Span(f" {basis}, {round(100 * share)} % used", Tone.DIM),
        capped,
    )


def _held(evacuation: Evacuation, width: int, glyphs: Glyphs) -> list[Line]:
    sentence = {
        EvacuationState.PAUSED: "paused: nothing new begins until P lets it go on",
        EvacuationState.CANCELLING: "being cancelled: what moves is being stopped",
    }.get(evacuation.state)
    return wrap(f"{glyphs.warn} {sentence}", width, Tone.WARN) if sentence else []


def _ending(evacuation: Evacuation, width: int) -> list[Line]:
    """The report in a few lines: forecast against outcome, pauses, and what is still there."""
    took_s = max(0, evacuation.ended_at_ms - evacuation.created_at_ms) // 1000
    planned = evacuation.planned_finish_s
    against = f"; its plan said {seconds_text(planned)}" if planned else ""
    ended = f"ended after {seconds_text(took_s)}{against}"
    lines = _side_by_side(counts(evacuation), ended, width)
    lines += wrap(f"{pauses_text(evacuation)}{_sent(evacuation)}", width)
    rest = [each for each in evacuation.servers if each.state is not MoveState.LEFT]
    if rest:
        lines += wrap(f"{_not_moved(evacuation)}: {_names(rest)}", width, Tone.WARN)
    back = [each for each in evacuation.servers if each.returned]
    if back:
        lines += wrap(f"Back on {evacuation.host_name} since: {_names(back)}.", width)
    elif evacuation.kind is EvacuationKind.EVACUATE and not rest:
        lines += wrap(
            f"{evacuation.host_name} is empty, and in maintenance until M ends it.", width
        )
    return lines


def _names(servers: list[EvacuatedServer]) -> str:
    return names_text([each.plan.server_name for each in servers])


def _not_moved(evacuation: Evacuation) -> str:
    if evacuation.kind is EvacuationKind.RETURN:
        return "not back"
    return f"still on {evacuation.host_name}"


def pauses_text(evacuation: Evacuation) -> str:
    """``longest pause 1.2 s (db-1), median 41 ms``: the real ones."""
    pauses = [
        (each.downtime_ms, each.plan.server_name)
        for each in evacuation.servers
        if each.downtime_ms is not None
    ]
    if not pauses:
        return "no server paused"
    longest, name = max(pauses)
    middle = round(median(pause for pause, _ in pauses))
    return f"longest pause {duration_text(longest)} ({name}), median {duration_text(middle)}"


def _sent(evacuation: Evacuation) -> str:
    sent = sum(each.sent_bytes for each in evacuation.servers)
    since = moment_text(evacuation.created_at_ms, brief=True)
    return f"; {bytes_text(sent)} sent; began {since}"
