"""The plan of an evacuation: a line for each server."""

from collections.abc import Iterable, Sequence

import msgspec

from tui.draft import deviating, with_options
from tui.formats.evacuation import move_option_words
from tui.formats.evacuation_plan import is_stuck
from tui.formats.options import option_words
from tui.formats.units import bytes_text, clock_text, duration_within
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line
from tui.views.forecast import forecast_fields
from tui.views.glyphs import Glyphs, ease_span
from wire.evacuation import MoveOptions, Plan, PlannedMove, Way
from wire.forecast import Basis, Ease, Forecast
from wire.migration import MigrationOptions

_USUAL = MoveOptions()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One server of a plan."""

    move: PlannedMove
    host_name: str
    """Whose plan it is in."""
    place: int
    """From 1, over all hosts, in the order in which they begin."""
    own: tuple[str, ...] = ()
    """Its options that are not those of all servers, in the words of the command line."""


def rows(plans: Sequence[Plan], options: MoveOptions = _USUAL) -> dict[str, Row]:
    """All servers by id, those that begin first in front, those that stay last.

    Args:
        plans: as the backend answered.
        options: what was asked of all servers.
    """
    moves = [
        (each.way is Way.STAYS, each.starts_in_s, plan, each)
        for plan in plans
        for each in plan.moves
    ]
    if len(plans) > 1:
        moves.sort(key=lambda each: each[:2])
    return {
        move.server_id: Row(
            move=move, host_name=plan.host_name, place=place, own=_own(move, options)
        )
        for place, (_, _, plan, move) in enumerate(moves, start=1)
    }


def _own(move: PlannedMove, options: MoveOptions) -> tuple[str, ...]:
    """Which options of a move were chosen for it alone."""
    if move.way is Way.STAYS:
        return ()
    alone = deviating(with_options(MigrationOptions(), options), move.options)
    words = tuple(move_option_words(alone))
    return words if words or alone == _USUAL else ("fewer options than the others",)


def columns(glyphs: Glyphs, *, several: bool) -> list[Column[Row]]:
    """The table's columns.

    Args:
        glyphs: the marks.
        several: whether the plans of more than one host are shown together.
    """
    found = [
        Column[Row](
            key="server",
            title="SERVER",
            width=12,
            flex=2,
            most=28,
            cell=lambda each, _: Span(each.move.server_name, Tone.STRONG),
            order=lambda each: natural(each.move.server_name),
        ),
        Column[Row](
            key="order",
            title="#",
            width=4,
            rank=3,
            cell=lambda each, _: _place(each),
            order=lambda each: each.place,
            right=True,
            searched=False,
        ),
        Column[Row](
            key="host",
            title="FROM",
            width=8,
            flex=1,
            most=20,
            cell=lambda each, _: Span(each.host_name),
            order=lambda each: natural(each.host_name),
        ),
        Column[Row](
            key="way",
            title="WAY",
            width=6,
            cell=lambda each, _: way_span(each.move),
            order=lambda each: list(Way).index(each.move.way),
        ),
        Column[Row](
            key="target",
            title="TARGET",
            width=8,
            flex=1,
            most=20,
            cell=lambda each, _: target_span(each.move),
            order=lambda each: natural(each.move.target_host_name),
        ),
        Column[Row](
            key="starts",
            title="STARTS",
            width=6,
            flex=1,
            most=9,
            rank=2,
            cell=lambda each, _: _starts(each.move),
            order=lambda each: each.move.starts_in_s,
            right=True,
            searched=False,
        ),
        Column[Row](
            key="takes",
            title="TAKES",
            width=6,
            flex=1,
            most=9,
            cell=lambda each, _: _takes(each.move),
            order=lambda each: each.move.ends_in_s - each.move.starts_in_s,
            right=True,
            searched=False,
        ),
        Column[Row](
            key="pause",
            title="PAUSE",
            width=7,
            flex=1,
            most=10,
            cell=lambda each, width: _pause(each.move, width),
            order=lambda each: each.move.forecast.downtime_ms if each.move.forecast else -1,
            right=True,
            searched=False,
        ),
        Column[Row](
            key="ease",
            title="EASE",
            width=9,
            cell=lambda each, _: _ease(each.move, glyphs),
            order=lambda each: (
                list(Ease).index(each.move.forecast.ease) if each.move.forecast else -1
            ),
        ),
        Column[Row](
            key="why",
            title="WHY",
            width=12,
            flex=24,
            cell=lambda each, _: _why(each),
            order=lambda each: _why(each).text,
        ),
    ]
    return found if several else [each for each in found if each.key != "host"]


def way_span(move: PlannedMove) -> Span:
    """How it leaves; ``*`` after what an operator chose."""
    chosen = "*" if move.chosen_way else ""
    return Span(f"{move.way}{chosen}", Tone.WARN if move.way is Way.STAYS else Tone.PLAIN)


def target_span(move: PlannedMove) -> Span:
    """Where it goes; ``*`` after what an operator chose."""
    if not move.target_host_name:
        return Span("-", Tone.DIM)
    return Span(f"{move.target_host_name}{'*' if move.pinned else ''}")


def _place(row: Row) -> Span:
    if row.move.way is Way.STAYS:
        return Span("-", Tone.DIM)
    return Span(f"{'↑' if row.move.first else ''}{row.place}")


def _starts(move: PlannedMove) -> Span:
    if move.way is Way.STAYS or is_stuck(move):
        return Span("-", Tone.DIM)
    return Span(clock_text(move.starts_in_s))


def _takes(move: PlannedMove) -> Span:
    if move.way is Way.STAYS or is_stuck(move):
        return Span("-", Tone.DIM)
    return Span(clock_text(move.ends_in_s - move.starts_in_s), _doubt(move.forecast))


def _pause(move: PlannedMove, width: int) -> Span:
    """The pause that is expected; a stopped server has none, a rescued one was never asked."""
    if move.forecast is None:
        return Span("-", Tone.DIM)
    return Span(duration_within(move.forecast.downtime_ms, width), _doubt(move.forecast))


def _doubt(forecast: Forecast | None) -> Tone:
    guessed = forecast is not None and forecast.basis is Basis.GUESSED
    return Tone.DIM if guessed else Tone.PLAIN


def _ease(move: PlannedMove, glyphs: Glyphs) -> Span:
    return ease_span(move.forecast, glyphs) if move.forecast else Span("-", Tone.DIM)


def _why(row: Row) -> Span:
    """What to know of it: its own options first, since nothing else in the table shows them."""
    move = row.move
    told = move.why or (move.forecast.lever if move.forecast else "")
    told = "; ".join(part for part in (" ".join(row.own), told) if part)
    warns = is_stuck(move) or move.way is Way.STAYS
    return Span(told, Tone.WARN if warns else Tone.PLAIN)


def details(row: Row, width: int, glyphs: Glyphs) -> list[Line]:
    """One server's plan in full."""
    move = row.move
    to = f" to {move.target_host_name}" if move.target_host_name else ""
    title = line(Span(move.server_name, Tone.TITLE), f"  {move.way}{to}", *_chosen(move))
    fields = []
    if move.why:
        fields.append(("why", Span(move.why, Tone.WARN if move.way is Way.STAYS else Tone.PLAIN)))
    if is_stuck(move):
        fields.append(("begins", Span("once you have chosen what lets it converge", Tone.WARN)))
    elif move.way is not Way.STAYS:
        begins = f"{clock_text(move.starts_in_s)} after the start of the plan"
        fields.append(("begins", Span(f"{begins}, ends at {clock_text(move.ends_in_s)}")))
    fields += forecast_fields(move.forecast, glyphs)
    if words := option_words(move.options):
        fields.append(("options", Span(" ".join(words), Tone.STRONG)))
    if move.memory_bytes:
        fields.append(("memory", Span(bytes_text(move.memory_bytes))))
    return [title, *labelled(fields, width)]


def _chosen(move: PlannedMove) -> Iterable[Span]:
    goes = move.way is not Way.STAYS
    if move.chosen_way or (goes and (move.pinned or move.first)):
        yield Span("  as you chose", Tone.DIM)
