"""How one move of many converges, in one line: what remains, and dirtying against the link."""

from collections.abc import Sequence

from tui.paint import Span, Tone
from tui.plot import GraphStyle, filled, levels, resolution, span_ms
from tui.views.glyphs import Glyphs
from tui.views.history import history_of
from wire.migration import Migration, Sample

_RATIO_WIDTH = 7
"""Cells of the ratio, with the blank before it."""
_LEAST = 6
"""Cells below which a curve says nothing."""


def convergence(
    migration: Migration | None,
    samples: Sequence[Sample],
    width: int,
    style: GraphStyle,
    glyphs: Glyphs,
) -> Span:
    """Draw bytes that remain as an area, by a time axis that doubles when it is full.

    After it stands dirty rate over bandwidth as long as memory is copied: below 1 it converges.

    Args:
        migration: the move; None if it is not known.
        samples: its curve so far.
        width: cells.
        style: with which characters.
        glyphs: the marks.
    """
    if migration is None:
        return Span("")
    history = history_of(migration, samples)
    found = history.remaining
    if not found:
        return Span("")
    # of the time before the first figures nothing is known: the line begins with them
    points = [(moment - found[0][0], left) for moment, left in found]
    ratio = dirty_ratio(migration, samples)
    cells = width - _RATIO_WIDTH if width >= _RATIO_WIDTH + _LEAST else width
    across, up = resolution(style)
    top = max(1.0, history.total_bytes, *(value for _, value in points))
    curve = levels(points, span_ms(points[-1][0]), cells * across, top, up)
    drawn = "".join(filled(curve, 1, style)[0])
    if cells == width or ratio is None:
        return Span(drawn, Tone.DIM if migration.state.ended else Tone.CURVE)
    over = ratio >= 1
    mark = glyphs.warn if over else glyphs.fits
    shown = f"{min(ratio, 9.99):.2f}"
    return Span(f"{drawn} {mark} {shown}", Tone.WARN if over else Tone.CURVE)


def dirty_ratio(migration: Migration, samples: Sequence[Sample]) -> float | None:
    """Dirty rate over bandwidth now; None where nobody knows it, or it says nothing any more."""
    last = samples[-1] if samples else None
    if migration.state.ended or last is None or last.postcopy:
        return None
    if not last.dirty_bytes_per_s or not last.bandwidth_bytes_per_s:
        return None
    return last.dirty_bytes_per_s / last.bandwidth_bytes_per_s


def ratio_fields(ratio: float | None) -> list[tuple[str, Span]]:
    """What the figure beside the curve means; nothing while nobody knows it."""
    if ratio is None:
        return []
    less = "less" if ratio < 1 else "no less"
    told = f"{ratio:.2f} of what it sends meanwhile: each pass leaves {less} than the one before"
    return [("dirties", Span(told, Tone.PLAIN if ratio < 1 else Tone.WARN))]
