"""Parts of a report: the same words as text for a terminal, and as Markdown for a ticket."""

import textwrap
from collections.abc import Iterator, Sequence

from tui.formats.table import EMPTY, Column, record_lines
from tui.formats.units import moment_text
from tui.text import escape_text
from wire.migration import Note

Fields = Sequence[tuple[str, str]]
"""Label and value; those without a value are left out."""
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#~"})


def folded(text: str, width: int | None, indent: int = 0) -> list[str]:
    """Break a text at blanks; without a terminal nothing is ever broken."""
    if width is None:
        return [text]
    return textwrap.wrap(text, max(20, width - indent - 2)) or [""]


def field_lines(fields: Fields, width: int | None) -> Iterator[str]:
    """``label  value`` as escaped lines."""
    told = [(label, value) for label, value in fields if value]
    indent = max((len(label) for label, _ in told), default=0) + 2
    yield from record_lines(
        [(label, "\n".join(folded(value, width, indent))) for label, value in told]
    )


def note_text(note: Note) -> str:
    """``2026-11-23 05:17:02  paused (by alice)``."""
    return f"{moment_text(note.at_ms)}  {note.text}{f' (by {note.by})' if note.by else ''}"


def item_lines(title: str, items: Sequence[str], width: int | None) -> Iterator[str]:
    """A list of sentences below its title, as escaped lines; nothing if there are none."""
    if items:
        yield from ("", f"{title}:")
    for item in items:
        first, *others = folded(escape_text(item), width, 2)
        yield f"  {first}"
        yield from (f"    {each}" for each in others)


def marked(text: str) -> str:
    """Keep what came from outside from being markup."""
    return escape_text(text).translate(_MARKUP)


def markdown_fields(fields: Fields) -> Iterator[str]:
    """The same fields as a list."""
    yield from (f"- **{label}**: {marked(value)}" for label, value in fields if value)


def markdown_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table with its titles; nothing if it has no rows."""
    if rows:
        yield from ("", f"| {' | '.join(column.title for column in columns)} |")
        yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(marked(cell) or EMPTY for cell in row)} |"


def markdown_items(title: str, items: Sequence[str]) -> Iterator[str]:
    """A list of sentences below its heading; nothing if there are none."""
    if items:
        yield from ("", f"## {title}", "")
    yield from (f"- {marked(item)}" for item in items)
