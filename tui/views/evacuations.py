"""The Evacuations view: hosts that are or were emptied and filled again."""

from tui.formats.evacuation import gone_text
from tui.formats.units import duration_within, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, line, plain
from tui.views.evacuation_totals import counts, total_lines
from tui.views.figures import note_lines
from tui.views.glyphs import Glyphs, evacuation_span
from wire.evacuation import Evacuation, EvacuationState, MoveState


def columns(glyphs: Glyphs) -> list[Column[Evacuation]]:
    """The table's columns."""
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
            key="kind",
            title="KIND",
            width=8,
            cell=lambda each, _: Span(str(each.kind)),
            order=lambda each: str(each.kind),
        ),
        Column(
            key="state",
            title="STATE",
            width=12,
            cell=lambda each, _: evacuation_span(each.state, glyphs),
            order=lambda each: list(EvacuationState).index(each.state),
        ),
        Column(
            key="started",
            title="STARTED",
            width=11,
            flex=2,
            most=19,
            rank=1,
            cell=lambda each, width: Span(moment_text(each.created_at_ms, brief=width < 19)),
            order=lambda each: each.created_at_ms,
        ),
        Column(
            key="took",
            title="TOOK",
            width=9,
            flex=1,
            most=12,
            rank=3,
            cell=_took,
            order=lambda each: each.ended_at_ms - each.created_at_ms,
            right=True,
            searched=False,
        ),
        Column(
            key="by",
            title="BY",
            width=8,
            flex=1,
            most=20,
            rank=2,
            cell=lambda each, _: Span(each.requested_by or "-"),
            order=lambda each: each.requested_by,
        ),
        Column(
            key="servers",
            title="SERVERS",
            width=22,
            flex=6,
            cell=_servers,
            order=lambda each: len(each.servers),
        ),
    ]


def _took(evacuation: Evacuation, width: int) -> Span:
    if not evacuation.ended_at_ms:
        return Span("-", Tone.DIM)
    took_ms = evacuation.ended_at_ms - evacuation.created_at_ms
    return Span(duration_within(took_ms // 1000 * 1000, width))


def _servers(evacuation: Evacuation, width: int) -> Span:
    """What became of the servers; what is not done stands out."""
    failed = sum(each.state is MoveState.FAILED for each in evacuation.servers)
    text = plain(counts(evacuation))
    if len(text) > width:
        text = f"{failed} failed, {gone_text(evacuation)}" if failed else gone_text(evacuation)
    return Span(text, Tone.BAD if failed else Tone.PLAIN)


def details(evacuation: Evacuation, width: int, now_ms: int, glyphs: Glyphs) -> list[Line]:
    """One evacuation in brief."""
    title = line(
        Span(evacuation.host_name, Tone.TITLE),
        f"  {evacuation.kind}  ",
        evacuation_span(evacuation.state, glyphs),
    )
    lines = [title, *total_lines(evacuation, width, now_ms, glyphs)]
    if evacuation.notes:
        lines += [(), line(Span("What happened:", Tone.DIM)), *note_lines(evacuation.notes, width)]
    return lines
