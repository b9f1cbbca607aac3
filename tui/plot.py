"""Curves as characters: braille dots, block eighths or ASCII. Pure, without a terminal.

A level is a height in dots above the axis; a curve is one level for each dot column, None where
nothing is known. ``rows`` are returned from the top down.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

Point = tuple[int, float]
"""Time in ms and a value."""

_SPANS_S = (4, 8, 15, 30)
_LEFT_DOTS = (0x40, 0x04, 0x02, 0x01)
_RIGHT_DOTS = (0x80, 0x20, 0x10, 0x08)
_NO_DOTS = 0x2800
"""Braille without a dot; the dots are bits above it."""
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class GraphStyle(StrEnum):
    """With which characters curves, bars and marks are drawn."""

    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"


def resolution(style: GraphStyle) -> tuple[int, int]:
    """Dots that one cell holds, across and up."""
    return {GraphStyle.BRAILLE: (2, 4), GraphStyle.BLOCK: (1, 8), GraphStyle.ASCII: (1, 1)}[style]


def span_ms(elapsed_ms: int) -> int:
    """Length of the time axis: it doubles when it is full, so that nothing drawn ever shifts."""
    for span_s in _SPANS_S:
        if elapsed_ms <= span_s * 1000:
            return span_s * 1000
    span_s = 60
    while elapsed_ms > span_s * 1000:
        span_s *= 2
    return span_s * 1000


def time_ticks(span: int) -> list[int]:
    """Moments in ms that the time axis names."""
    step = {4000: 1000, 8000: 2000, 15_000: 5000, 30_000: 10_000}.get(span, span // 4)
    return list(range(0, span + 1, step))


def time_label(moment_ms: int) -> str:
    """``8s``, ``1:30``, ``2h``: a tick of the time axis."""
    seconds = moment_ms // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return (
        f"{seconds // 3600}h{seconds % 3600 // 60:02d}" if seconds % 3600 else f"{seconds // 3600}h"
    )


def scale(largest: float, ticks: int) -> tuple[int, int]:
    """Step and top of a value axis by the 1-2-5 rule.

    The unit is the binary one that fits, so that labels are round numbers of KiB, MiB or GiB; its
    half and quarter serve where whole ones are too coarse.

    Args:
        largest: greatest value in bytes (or bytes per second).
        ticks: about how many steps are wanted.

    Returns:
        Step and top in bytes; the top is a whole number of steps, and at least ``largest``.
    """
    unit = 1024
    while unit * 1000 < largest:
        unit *= 1024
    wanted = max(largest, 1.0) / max(1, ticks)
    steps = [unit // 4, unit // 2]
    steps += [unit * factor * magnitude for magnitude in (1, 10, 100) for factor in (1, 2, 5)]
    step = next((each for each in steps if each >= wanted), steps[-1])
    return step, step * max(1, -(-int(largest) // step))


def levels(
    points: Sequence[Point], span: int, columns: int, top: float, dots: int
) -> list[int | None]:
    """Turn points into one level for each dot column: the greatest where several fall together.

    Between two points the line is straight; a value above zero is at least one dot high.
    """
    values: list[float | None] = [None] * columns
    for (start, low), (end, high) in pairwise(points):
        first, last = _column(start, span, columns), _column(end, span, columns)
        for column in range(first, last + 1):
            share = (column - first) / (last - first) if last > first else 1.0
            value = low + (high - low) * share
            known = values[column]
            values[column] = value if known is None else max(known, value)
    if len(points) == 1:
        values[_column(points[0][0], span, columns)] = points[0][1]
    return [None if value is None else level(value, top, dots) for value in values]


def level(value: float, top: float, dots: int) -> int:
    """Height of a value in dots."""
    if value <= 0:
        return 0
    return min(dots, max(1, round(value / top * dots)))


def _column(moment: int, span: int, columns: int) -> int:
    return min(columns - 1, max(0, moment * columns // span))


def filled(
    curve: Sequence[int | None], rows: int, style: GraphStyle, *, sparse: bool = False
) -> list[list[str]]:
    """Draw the area under a curve; a blank is ``" "``. ``sparse`` leaves every other dot out."""
    across, up = resolution(style)
    drawn = []
    for row in range(rows - 1, -1, -1):
        cells = []
        for x in range(0, len(curve), across):
            heights = [(each or 0) - row * up for each in curve[x : x + across]]
            cells.append(_area(heights, style, sparse=sparse))
        drawn.append(cells)
    return drawn


def _area(heights: Sequence[int], style: GraphStyle, *, sparse: bool) -> str:
    if style is GraphStyle.ASCII:
        return (":" if sparse else "#") if heights[0] >= 1 else " "
    if style is GraphStyle.BLOCK:
        height = min(max(heights[0], 0), 8)
        return "░" if sparse and height == 8 else _EIGHTHS[height]
    bits = 0
    for side, (height, dots) in enumerate(zip(heights, (_LEFT_DOTS, _RIGHT_DOTS), strict=False)):
        for y in range(min(max(height, 0), 4)):
            if not sparse or (y + side) % 2 == 0 or y == height - 1:
                bits |= dots[y]
    return chr(_NO_DOTS + bits) if bits else " "


def traced(curve: Sequence[int | None], rows: int, style: GraphStyle) -> list[list[str]]:
    """Draw a curve as a line; a blank is ``" "``."""
    across, up = resolution(style)
    drawn = []
    for row in range(rows - 1, -1, -1):
        cells = []
        for x in range(0, len(curve), across):
            reach = [_reach(curve, index) for index in range(x, x + across)]
            cells.append(_stroke([(low - row * up, high - row * up) for low, high in reach], style))
        drawn.append(cells)
    return drawn


def over_dots(lower: str, upper: str) -> str:
    """Draw one cell over another: braille shows the dots of both, other styles the upper one."""
    if min(lower, upper) < chr(_NO_DOTS):
        return upper
    return chr(ord(lower) | ord(upper))


def _reach(curve: Sequence[int | None], index: int) -> tuple[int, int]:
    """Lowest and highest dot of a line in one column, joined to the column before; 0 for none."""
    here = curve[index]
    if here is None:
        return 0, 0
    before = curve[index - 1] if index else None
    other = here if before is None else before
    top = max(here, 1)
    if other > here:
        return top, max(top, other - 1)
    return min(top, max(other + 1, 1)) if other < here else top, top


def _stroke(reach: Sequence[tuple[int, int]], style: GraphStyle) -> str:
    if style is not GraphStyle.BRAILLE:
        low, high = reach[0]
        up = resolution(style)[1]
        return ("-" if style is GraphStyle.ASCII else "─") if low <= up and high >= 1 else " "
    bits = 0
    for (low, high), dots in zip(reach, (_LEFT_DOTS, _RIGHT_DOTS), strict=True):
        for y in range(max(low, 1), min(high, 4) + 1):
            bits |= dots[y - 1]
    return chr(_NO_DOTS + bits) if bits else " "
