"""The two curves of a migration over time: bytes remaining, and the rates.

Of memory the rates are dirty rate against bandwidth; of disks there is bandwidth only.
"""

from collections.abc import Sequence

import msgspec

from tui.formats.units import bytes_text, rate_text
from tui.paint import Line, Span, Tone, clip, line, pad
from tui.plot import (
    GraphStyle,
    filled,
    level,
    levels,
    over_dots,
    resolution,
    scale,
    span_ms,
    time_label,
    time_ticks,
    traced,
)
from tui.views.glyphs import Glyphs
from tui.views.history import History

GUTTER = 6
"""Cells left of a graph: a label of five and the axis."""
_FIXED_ROWS = 4
"""Two titles, the time axis and its labels."""

Cell = tuple[str, Tone]


class _TimeAxis(msgspec.Struct, frozen=True, kw_only=True):
    """What both graphs share."""

    span_ms: int
    columns: int
    marks: dict[int, int]
    """Cell column of each pass boundary, and the number of the pass that begins there."""
    style: GraphStyle
    glyphs: Glyphs


def curve_lines(
    history: History, width: int, height: int, style: GraphStyle, glyphs: Glyphs
) -> list[Line]:
    """Lay both graphs out over one time axis; a low room holds the first one only."""
    columns = max(8, width - GUTTER)
    span = span_ms(history.elapsed_ms)
    axis = _TimeAxis(
        span_ms=span,
        columns=columns,
        marks=_boundary_columns(history, span, columns),
        style=style,
        glyphs=glyphs,
    )
    with_rates = height >= 12
    rate_rows = max(3, height // 4) if with_rates else 0
    rows = max(1, height - (_FIXED_ROWS if with_rates else _FIXED_ROWS - 1) - rate_rows)
    drawn = [clip(_remaining_title(history, glyphs), width)]
    drawn += _remaining(history, axis, rows)
    if with_rates:
        drawn.append(clip(_rate_title(history, glyphs), width))
        drawn += _rates(history, axis, rate_rows)
    return [*drawn, _axis_line(axis), _time_labels(axis)]


def _remaining_title(history: History, glyphs: Glyphs) -> Line:
    left, total = history.left_bytes, history.total_bytes
    what = "remaining" if history.subject == "memory" else "disks remaining"
    amount = "" if left is None else f" {bytes_text(left)}"
    spans = [Span(f"{glyphs.full} {what}{amount}", Tone.CURVE)]
    if total:
        spans.append(Span(f" of {bytes_text(total)}"))
    if history.subject == "disks" and total and left is not None:
        spans.append(Span(f"   {100 * (total - left) // total} % copied", Tone.STRONG))
    if history.fits_bytes:
        limit = f"{history.downtime_limit_ms} ms"
        text = (
            f"   {glyphs.dotted}{glyphs.dotted} {bytes_text(history.fits_bytes)} fit into {limit}"
        )
        spans.append(Span(text, Tone.GOOD))
    return tuple(spans)


def _rate_title(history: History, glyphs: Glyphs) -> Line:
    dirty, bandwidth = history.dirty, history.bandwidth
    if history.subject == "disks":
        carried = rate_text(int(bandwidth[-1][1])) if bandwidth else "-"
        return (Span(f"{glyphs.rule} disk rate {carried}", Tone.RIVAL),)
    rate = rate_text(int(dirty[-1][1])) if dirty else "not known in pass 1"
    carried = rate_text(int(bandwidth[-1][1])) if bandwidth else "-"
    spans = [
        Span(f"{glyphs.empty} dirty rate {rate}", Tone.WARN),
        Span(f"   {glyphs.rule} bandwidth {carried}", Tone.RIVAL),
    ]
    if dirty and bandwidth:
        ratio = dirty[-1][1] / bandwidth[-1][1]
        settled = history.ended or (history.last is not None and history.last.postcopy)
        verdict = "" if settled else f": {_verdict(ratio)}"
        spans.append(Span(f"   ratio {ratio:.2f}{verdict}"))
    return tuple(spans)


def _verdict(ratio: float) -> str:
    """What dirty rate over bandwidth means for the next pass."""
    if ratio >= 1:
        return "does not converge"
    return "hardly converges" if ratio > 0.9 else "converges"


def _remaining(history: History, axis: _TimeAxis, rows: int) -> list[Line]:
    across, up = resolution(axis.style)
    dots = axis.columns * across
    points = history.remaining
    largest = max([float(history.total_bytes), *(value for _, value in points)])
    step, top = scale(largest, 3 if rows < 12 else 5)
    area = filled(levels(points, axis.span_ms, dots, top, rows * up), rows, axis.style)
    fits_row = -1
    if history.fits_bytes:
        fits_row = rows - 1 - (level(min(history.fits_bytes, top), top, rows * up) - 1) // up
    drawn = []
    for y, cells in enumerate(area):
        row: list[Cell] = [(each, Tone.CURVE) for each in cells]
        if y == fits_row:
            target = (axis.glyphs.dotted, Tone.GOOD)
            row = [target if cell[0] == " " else cell for cell in row]
        label = "fits" if y == fits_row else _tick(y, rows, step, top)
        drawn.append(_row(row, axis, label))
    return drawn


def _rates(history: History, axis: _TimeAxis, rows: int) -> list[Line]:
    across, up = resolution(axis.style)
    dirty, bandwidth = history.dirty, history.bandwidth
    largest = max([1.0, *(value for _, value in [*dirty, *bandwidth])])
    step, top = scale(largest * 1.05, 2)
    dots = axis.columns * across
    under_line = levels(dirty, axis.span_ms, dots, top, rows * up)
    area = filled(under_line, rows, axis.style, sparse=True)
    line_itself = levels(bandwidth, axis.span_ms, dots, top, rows * up)
    stroke = traced(line_itself, rows, axis.style)
    drawn = []
    for y, (under, over) in enumerate(zip(area, stroke, strict=True)):
        row: list[Cell] = [
            (over_dots(lower, upper), Tone.RIVAL) if upper != " " else (lower, Tone.WARN)
            for lower, upper in zip(under, over, strict=True)
        ]
        label = _tick(y, rows, step, top)
        drawn.append(_row(row, axis, label))
    return drawn


def _row(cells: Sequence[Cell], axis: _TimeAxis, label: str) -> Line:
    """Put label, edge and cells together; pass boundaries show where nothing is drawn."""
    glyphs = axis.glyphs
    edge = glyphs.rise if label else glyphs.side
    spans = [Span(f"{label:>{GUTTER - 1}}{edge}", Tone.DIM)]
    for column, (text, tone) in enumerate(cells):
        if text == " ":
            drawn = glyphs.boundary if column in axis.marks else " "
            cell = Span(drawn, Tone.DIM if column in axis.marks else spans[-1].tone)
        else:
            cell = Span(text, tone)
        if spans[-1].tone is cell.tone:
            spans[-1] = Span(spans[-1].text + cell.text, cell.tone)
        else:
            spans.append(cell)
    return tuple(spans)


def _tick(y: int, rows: int, step: int, top: int) -> str:
    """Label of the row in which a tick's line lies, seen from the row's upper edge."""
    for value in range(step, top + 1, step):
        if rows - round(value / top * rows) == y:
            return bytes_text(value).replace("iB", "").replace(" ", "")
    return ""


def _boundary_columns(history: History, span: int, columns: int) -> dict[int, int]:
    return {
        min(columns - 1, start * columns // span): number for number, start in history.boundaries
    }


def _axis_line(axis: _TimeAxis) -> Line:
    """The time axis; each pass has a tick and its number where it begins."""
    cells = [axis.glyphs.rule] * axis.columns
    taken = -1
    for column, number in sorted(axis.marks.items()):
        cells[column] = axis.glyphs.tick
        name = str(number)
        room = range(column + 1, column + 1 + len(name))
        if column > taken and room.stop <= axis.columns and axis.marks.keys().isdisjoint(room):
            cells[room.start : room.stop] = list(name)
            taken = room.stop
    return line(Span(f"{0:>{GUTTER - 1}}{axis.glyphs.corner}{''.join(cells)}", Tone.DIM))


def _time_labels(axis: _TimeAxis) -> Line:
    cells = [" "] * axis.columns
    for tick in time_ticks(axis.span_ms):
        label = time_label(tick)
        at = tick * axis.columns // axis.span_ms - len(label) // 2
        at = min(max(0, at), axis.columns - len(label))
        cells[at : at + len(label)] = list(label)
    return line(Span(pad("", GUTTER) + "".join(cells), Tone.DIM))
