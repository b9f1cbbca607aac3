"""Lines of toned text: what the console's widgets draw, and what its tests read."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Tone(StrEnum):
    """What a piece of text is for. A theme gives each a colour; none carries meaning alone."""

    PLAIN = "plain"
    STRONG = "strong"
    DIM = "dim"
    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    TITLE = "title"
    KEY = "key"
    BADGE = "badge"
    TAB = "tab"
    """The view that is shown."""
    CURSOR = "cursor"
    CURVE = "curve"
    RIVAL = "rival"
    """The second curve of a graph."""


class Span(NamedTuple):
    """Text of one tone, already escaped, without line breaks."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]

IN_ASCII = str.maketrans("…↑↓←→", "~^v<>")
"""What stands for our own signs where only ASCII may be drawn."""


def width_of(text: str) -> int:
    """Count the terminal cells that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int) -> str:
    """Shorten a text to a width in cells; what is lost shows as ``…``."""
    if width_of(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else "…"[:width]


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Bring a text to exactly this width in cells."""
    text = cut(text, width)
    blank = " " * (width - width_of(text))
    return blank + text if right else text + blank


def line(*parts: str | Span) -> Line:
    """Put a line together; bare strings are plain."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def plain(parts: Line) -> str:
    """Read a line without its tones."""
    return "".join(span.text for span in parts)


def length(parts: Line) -> int:
    """Count a line's cells."""
    return sum(width_of(span.text) for span in parts)


def clip(parts: Line, width: int) -> Line:
    """Shorten a line to a width in cells."""
    kept: list[Span] = []
    room = width
    for span in parts:
        size = width_of(span.text)
        if size > room:
            kept.append(Span(cut(span.text, room), span.tone))
            break
        kept.append(span)
        room -= size
    return tuple(kept)


def spread(left: Line, right: Line, width: int) -> Line:
    """Put one line at the left and one at the right edge; the left one gives way."""
    left = clip(left, max(0, width - length(right) - 1))
    gap = Span(" " * max(1, width - length(left) - length(right)))
    return (*left, gap, *right)


def wrap(text: str, width: int, tone: Tone = Tone.PLAIN) -> list[Line]:
    """Break a text at blanks into lines of at most this width; longer words are split."""
    lines: list[str] = []
    current = ""
    for word in _words(text, max(1, width)):
        longer = f"{current} {word}" if current else word
        if current and width_of(longer) > width:
            lines.append(current)
            current = word
        else:
            current = longer
    return [line(Span(each, tone)) for each in [*lines, current]]


def labelled(
    fields: Sequence[tuple[str, Span]], width: int, *, label_width: int = 12
) -> list[Line]:
    """Lay fields out as a dim label and a value that wraps under itself."""
    lines: list[Line] = []
    for label, value in fields:
        for number, part in enumerate(wrap(value.text, max(10, width - label_width), value.tone)):
            head = pad(label if not number else "", label_width)
            lines.append((Span(head, Tone.DIM), *part))
    return lines


def _words(text: str, width: int) -> Iterable[str]:
    for word in text.split():
        rest = word
        while width_of(rest) > width:
            # A wide character that is alone wider than the line goes out as it is.
            head = set_cell_size(rest, width).rstrip() or rest[0]
            yield head
            rest = rest[len(head) :]
        if rest:
            yield rest


def changed_columns(old: Line, new: Line, *, merge: int = 12) -> list[tuple[int, int]]:
    """Say which cells differ, as (first, one past last); gaps shorter than ``merge`` are joined.

    A jump of the terminal's cursor costs about as many bytes as ``merge`` cells of text.
    """
    before, after = _cells(old), _cells(new)
    size = max(len(before), len(after))
    blank = (" ", Tone.PLAIN)
    before += [blank] * (size - len(before))
    after += [blank] * (size - len(after))
    runs: list[tuple[int, int]] = []
    for x in range(size):
        if before[x] == after[x]:
            continue
        start = x - 1 if x and "" in (before[x][0], after[x][0]) else x
        if runs and start - runs[-1][1] < merge:
            runs[-1] = (runs[-1][0], x + 1)
        else:
            runs.append((start, x + 1))
    return runs


def _cells(parts: Line) -> list[tuple[str, Tone]]:
    """Spread a line over cells; the second cell of a wide character is empty."""
    cells: list[tuple[str, Tone]] = []
    for text, tone in parts:
        if text.isascii():
            cells.extend((character, tone) for character in text)
            continue
        for character in text:
            width = cell_len(character)
            if width == 0 and cells:
                cells[-1] = (cells[-1][0] + character, tone)
            else:
                cells.append((character, tone))
                cells.extend([("", tone)] * (width - 1))
    return cells
