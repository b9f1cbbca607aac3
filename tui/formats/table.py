"""Plain tables: aligned columns, two spaces apart, that people read and awk splits.

Where a table is wider than the terminal, its last column may wrap, and columns that may shrink lose
their ends; where even that does not suffice, each row becomes a block of ``column  value`` lines.
Without a terminal nothing is ever cut.
"""

from collections.abc import Iterator, Sequence

import msgspec
from rich.cells import cell_len, set_cell_size

from tui.text import escape_lines, escape_text

GAP = "  "
EMPTY = "-"
"""What stands for no value, so that the number of columns stays."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    title: str
    right: bool = False
    """Numbers stand to the right."""
    least: int = 0
    """Width in cells to which it may shrink on a narrow terminal; 0 if never."""
    wraps: bool = False
    """The last column may go on below itself where the terminal is too narrow for it."""


_LEAST_WRAPPED = 24
"""Cells below which sentences are not wrapped into a column."""


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None
) -> Iterator[str]:
    """Lay a table out; every cell is escaped.

    Args:
        columns: titles and how they may be fitted.
        rows: one text for each column; an empty one is shown as ``-``.
        width: cells of the terminal; None for no limit.
    """
    cells = [[escape_text(text) or EMPTY for text in row] for row in rows]
    natural = [
        max(cell_len(column.title), *(cell_len(row[index]) for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    widths = _fit(columns, natural, width)
    if widths is None:
        yield from _blocks(columns, cells)
        return
    yield _line(columns, [column.title for column in columns], widths)
    for row in cells:
        for part in _wrapped(row, widths) if columns[-1].wraps else [row]:
            yield _line(columns, part, widths)


def record_lines(fields: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lay one thing out as escaped ``name  value`` lines; a value may have several lines."""
    longest = max((cell_len(name) for name, _ in fields), default=0)
    for name, value in fields:
        first, *others = escape_lines(value) or [EMPTY]
        yield f"{set_cell_size(escape_text(name), longest)}{GAP}{first}"
        for line in others:
            yield f"{' ' * longest}{GAP}{line}"


def _fit(
    columns: Sequence[Column], natural: Sequence[int], width: int | None
) -> Sequence[int] | None:
    """Shrink the widest columns first until all fit; None if that does not suffice."""
    widths = list(natural)
    if width is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    if columns[-1].wraps and excess > 0:
        narrowed = max(widths[-1] - excess, min(widths[-1], _LEAST_WRAPPED))
        excess -= widths[-1] - narrowed
        widths[-1] = narrowed
    while excess > 0:
        slack = [
            (widths[index], index)
            for index, column in enumerate(columns)
            if column.least and widths[index] > max(column.least, cell_len(column.title))
        ]
        if not slack:
            return None
        widths[max(slack)[1]] -= 1
        excess -= 1
    return widths


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> Iterator[Sequence[str]]:
    """Break the last cell at blanks; below its first line the other cells are empty."""
    *others, last = cells
    current = ""
    for word in last.split(" "):
        longer = f"{current} {word}" if current else word
        if current and cell_len(longer) > widths[-1]:
            yield [*others, current]
            others = [""] * len(others)
            current = word
        else:
            current = longer
    yield [*others, current]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, text, width in zip(columns, cells, widths, strict=True):
        spare = width - cell_len(text)
        if spare < 0:
            parts.append(set_cell_size(text, width - 1) + "…")
        elif column.right:
            parts.append(" " * spare + text)
        else:
            parts.append(text + " " * spare)
    return GAP.join(parts).rstrip()


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield from record_lines(
            [(column.title, text) for column, text in zip(columns, row, strict=True)]
        )
