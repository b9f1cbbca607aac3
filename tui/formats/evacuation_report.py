"""The report of an evacuation: what each server's move took, against its forecast, and who steered.

The same words as text, for a terminal, and as Markdown, for a ticket.
"""

from statistics import median_low

from tui.formats.against_forecast import forecast_of, held, took_ms
from tui.formats.evacuation import (
    counts_text,
    link_text,
    move_option_words,
    not_gone,
    state_word,
    title_of,
    what_is_done,
)
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
from tui.formats.units import bytes_text, duration_text, moment_text, rate_text, zone_text
from tui.text import escape_text
from wire.evacuation import EvacuatedServer, Evacuation, MoveState, Way

_COLUMNS = (
    Column("Server", least=8),
    Column("Way"),
    Column("Source", least=6),
    Column("Target", least=6),
    Column("State"),
    Column("Time", right=True),
    Column("Forecast", right=True),
    Column("Pause", right=True),
    Column("Forecast", right=True),
    Column("Sent", right=True),
    Column("Forecast", right=True),
    Column("Tries", right=True),
)
_NARROW = (0, 3, 4, 5, 6, 7, 8, 9)
"""What a terminal of 80 cells has room for; the rest is in the totals, in JSON and in Markdown."""
_WIDE = 110
"""Cells from which on all columns are shown."""


def report_text(evacuation: Evacuation, width: int | None) -> list[str]:
    """Lay the whole report out as escaped lines; ``width`` in cells, None for no limit."""
    lines = [*folded(escape_text(_title(evacuation)), width), ""]
    lines += field_lines(_fields(evacuation), width)
    if evacuation.servers:
        lines += ["", *_server_lines(evacuation, width)]
    lines += item_lines("Servers", _reasons(evacuation), width)
    return [*lines, *item_lines("What happened", _notes(evacuation), width)]


def report_markdown(evacuation: Evacuation) -> str:
    """The same for a ticket, with the reason of each server in its row."""
    columns = (*_COLUMNS, Column("Why"))
    rows = [(*_row(evacuation, each), _reason(each)) for each in evacuation.servers]
    lines = [f"# {marked(_title(evacuation))}", "", *markdown_fields(_fields(evacuation))]
    lines += markdown_fields([("times", zone_text(evacuation.created_at_ms))])
    lines += markdown_table(columns, rows)
    lines += markdown_items("What happened", _notes(evacuation))
    return "\n".join(lines)


def _title(evacuation: Evacuation) -> str:
    title = title_of(evacuation.kind, evacuation.host_name)
    return f"{title}: {evacuation.state}, {counts_text(evacuation)}"


def _fields(evacuation: Evacuation) -> list[tuple[str, str]]:
    cap = evacuation.max_bandwidth_bytes_per_s
    words = move_option_words(evacuation.options)
    return [
        ("evacuation", evacuation.evacuation_id),
        ("host", f"{evacuation.host_name} ({evacuation.host_id})"),
        ("state", f"{evacuation.state}: {what_is_done(evacuation)}"),
        ("requested by", evacuation.requested_by),
        ("started", moment_text(evacuation.created_at_ms)),
        ("ended", moment_text(evacuation.ended_at_ms) if not evacuation.open else ""),
        ("time", _time_text(evacuation)),
        ("sent", _sent_text(evacuation)),
        ("pauses", _pauses_text(evacuation)),
        ("forecasts", _bands_text(evacuation)),
        ("link", link_text(evacuation.link)),
        ("sends now", rate_text(evacuation.sending_bytes_per_s) if evacuation.open else ""),
        ("cap", rate_text(cap) if cap is not None else ""),
        ("options", ", ".join(words)),
        ("keeps spare", "room for the servers of one more host" if evacuation.keep_spare else ""),
        ("empty by", moment_text(evacuation.empty_by_ms) if evacuation.empty_by_ms else ""),
        ("deadline", _deadline_text(evacuation)),
    ]


def _time_text(evacuation: Evacuation) -> str:
    planned = evacuation.planned_finish_s
    parts = [_finish_text(evacuation)]
    if planned:
        parts.append(f"planned {duration_text(planned * 1000)}")
    return ", ".join(parts)


def _finish_text(evacuation: Evacuation) -> str:
    if not evacuation.open:
        return duration_text(max(0, evacuation.ended_at_ms - evacuation.created_at_ms))
    if not evacuation.finish_at_ms:
        return "nobody can say when it is done"
    band = f"{moment_text(evacuation.finish_low_ms)} to {moment_text(evacuation.finish_high_ms)}"
    return f"done {moment_text(evacuation.finish_at_ms)} ({band})"


def _sent_text(evacuation: Evacuation) -> str:
    sent = bytes_text(sum(each.sent_bytes for each in evacuation.servers))
    known = [(each, told) for each in _gone(evacuation) if (told := forecast_of(each))]
    if not known:
        return sent
    expected = bytes_text(sum(told.sent_bytes for _, told in known))
    of_them = bytes_text(sum(each.sent_bytes for each, _ in known))
    if of_them == sent:
        return f"{sent}, forecast {expected}"
    return f"{sent}; {of_them} of it by {len(known)} that have a forecast, of {expected}"


def _pauses_text(evacuation: Evacuation) -> str:
    pauses = [
        (each.downtime_ms, each.plan.server_name)
        for each in _gone(evacuation)
        if each.downtime_ms is not None and each.plan.way is Way.LIVE
    ]
    if not pauses:
        return ""
    middle = duration_text(median_low([pause_ms for pause_ms, _ in pauses]))
    worst_ms, name = max(pauses)
    return f"median {middle}, longest {duration_text(worst_ms)} ({name})"


def _bands_text(evacuation: Evacuation) -> str:
    """How true the forecasts were, time, bytes and pause each."""
    ended = [each for each in _gone(evacuation) if took_ms(each) and forecast_of(each)]
    known = [(each, judged) for each in ended if (judged := held(each))]
    parts = []
    if known:
        within = sum(judged.in_band for _, judged in known)
        parts.append(f"{within} of {len(known)} moves ended within their band")
    live = [judged for each, judged in known if each.plan.way is Way.LIVE]
    if live:
        sent = [one.as_much_sent for one in live if one.as_much_sent is not None]
        paused = sum(judged.no_longer_paused for judged in live)
        parts += [f"{sum(sent)} of {len(sent)} sent as much"] if sent else []
        parts.append(f"{paused} of {len(live)} paused no longer")
    if unseen := len(ended) - len(known):
        of_it = "their links" if unseen > 1 else "its link"
        parts.append(f"of {unseen} nothing was really forecast: {of_it} had not been measured")
    return ", ".join(parts)


def _deadline_text(evacuation: Evacuation) -> str:
    if evacuation.open or not evacuation.empty_by_ms:
        return evacuation.deadline
    if not_gone(evacuation):
        return "not kept: it is not empty"
    late_ms = evacuation.ended_at_ms - evacuation.empty_by_ms
    return f"not kept: {duration_text(late_ms)} late" if late_ms > 0 else "kept"


def _gone(evacuation: Evacuation) -> list[EvacuatedServer]:
    return [each for each in evacuation.servers if each.state is MoveState.LEFT]


def _server_lines(evacuation: Evacuation, width: int | None) -> list[str]:
    rows = [_row(evacuation, each) for each in evacuation.servers]
    if width is None or width >= _WIDE:
        return list(table_lines(_COLUMNS, rows, width=width))
    columns = [_COLUMNS[index] for index in _NARROW]
    fewer = [[row[index] for index in _NARROW] for row in rows]
    return list(table_lines(columns, fewer, width=width))


def _row(evacuation: Evacuation, server: EvacuatedServer) -> tuple[str, ...]:
    plan, told, took = server.plan, forecast_of(server), took_ms(server)
    live = plan.way is Way.LIVE
    pause = "" if server.downtime_ms is None else duration_text(server.downtime_ms)
    return (
        plan.server_name,
        plan.way,
        plan.source_host_name,
        plan.target_host_name,
        state_word(evacuation.kind, server.state),
        duration_text(took) if took else "",
        duration_text(told.total_ms) if told else "",
        pause or ("?" if live and server.state is MoveState.LEFT else ""),
        duration_text(told.downtime_ms) if told and live else "",
        bytes_text(server.sent_bytes) if server.sent_bytes or took else "",
        bytes_text(told.sent_bytes) if told else "",
        str(server.tries) if server.tries else "",
    )


def _reason(server: EvacuatedServer) -> str:
    stays = server.state is MoveState.STAYED
    reason = server.reason or (server.plan.why or "as it was asked for" if stays else "")
    back = "it was brought back since" if server.returned else ""
    return "; ".join(part for part in (reason, back) if part)


def _reasons(evacuation: Evacuation) -> list[str]:
    return [
        f"{each.plan.server_name} {state_word(evacuation.kind, each.state)}: {_reason(each)}"
        for each in evacuation.servers
        if _reason(each)
    ]


def _notes(evacuation: Evacuation) -> list[str]:
    return [note_text(note) for note in evacuation.notes]
