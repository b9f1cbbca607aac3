"""Rows of a table in an order that stays until a person changes it; columns that fit the room."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from tui.filter import Filter
from tui.paint import Span
from tui.text import escape_text

RowT = TypeVar("RowT")

_NUMBERS = re.compile(r"(\d+)")
_SLACK = 2
"""Cells beyond its content that a column of numbers keeps: one more digit moves no column."""


def gap(width: int) -> int:
    """Blanks between columns: two where there is room."""
    return 1 if width < 110 else 2


@dataclass(frozen=True, kw_only=True)
class Column(Generic[RowT]):
    """One column: how wide it is, what it shows, and how rows are sorted by it."""

    key: str
    title: str
    width: int
    """Cells that it needs at least."""
    cell: Callable[[RowT, int], Span]
    """Content for a row and a width; escaped and fitted by the table."""
    order: Callable[[RowT], Any]
    flex: int = 0
    """Grows where there is room, if above 0: one cell in turn with all that grow. Where a round
    is cut short, those come first that are narrow for their flex. What its content leaves free goes
    to those that need more: see `hand_over`."""
    most: int = 0
    """Width beyond which more room says nothing; 0 for no bound on a column with flex."""
    rank: int = 0
    """0 is always there; of the others, the highest is left out first when room is short."""
    right: bool = False
    draws: bool = False
    """Fills any room with a drawing: it keeps its even share, and is drawn once only."""
    searched: bool = True
    """Whether the filter looks at it."""


@lru_cache(maxsize=1 << 16)
def natural(text: str) -> tuple[str | int, ...]:
    """Sort key by which ``kvm-2`` comes before ``kvm-10``: text and numbers in turn."""
    parts: list[str | int] = list(_NUMBERS.split(text.casefold()))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return tuple(parts)


class Content(NamedTuple):
    """Cells that the widest content in sight of a column takes."""

    shown: int = 0
    """As it is written in the column's even share of the room, where it may have a short form."""
    full: int = 0
    """In its longest form."""


def fit(columns: Sequence[Column[RowT]], width: int) -> list[tuple[Column[RowT], int]]:
    """Choose the columns that fit in a table so wide, and give each its even share.

    Columns of the highest rank are left out first; spare cells go in turn to columns with flex.
    """
    chosen = list(columns)
    while len(chosen) > 1 and _needed(chosen, width) > width:
        dropped = max(chosen, key=lambda column: column.rank)
        if not dropped.rank:
            break
        chosen.remove(dropped)
    widths = {column.key: column.width for column in chosen}
    spare = width - _needed(chosen, width)
    growing = [column for column in chosen if column.flex]
    while spare > 0 and growing:
        for column in sorted(growing, key=lambda each: widths[each.key] / each.flex):
            if spare and (not column.most or widths[column.key] < column.most):
                widths[column.key] += 1
                spare -= 1
        growing = [each for each in growing if not each.most or widths[each.key] < each.most]
    return [(column, widths[column.key]) for column in chosen]


def hand_over(
    even: Sequence[tuple[Column[RowT], int]], contents: Mapping[str, Content]
) -> list[tuple[Column[RowT], int]]:
    """Let columns with flex give what they leave free to those that need more.

    First what is cut gets what it lacks, then what has a longer form. The rest stays where it is,
    unless a column without a bound was cut: it gets all of it, as its text may grow on.

    Args:
        even: the columns and their even shares.
        contents: of all columns with flex that do not draw, by key.
    """
    columns = [column for column, _ in even if column.flex and not column.draws]
    widths = {column.key: size for column, size in even}
    cut_text = {
        each.key: sum(widths.values())
        for each in columns
        if not each.most and contents[each.key].full > widths[each.key]
    }
    _grow(columns, widths, {key: each.shown for key, each in contents.items()}, contents)
    longer = {key: each.full for key, each in contents.items()}
    _grow(columns, widths, longer | cut_text, contents)
    return [(column, widths[column.key]) for column, _ in even]


def _grow(
    columns: Sequence[Column[RowT]],
    widths: dict[str, int],
    goals: Mapping[str, int],
    contents: Mapping[str, Content],
) -> None:
    """Bring columns nearer to their goals by what the others leave free, while there is any."""

    def is_short(each: Column[RowT]) -> bool:
        return widths[each.key] < min(goals[each.key], each.most or goals[each.key])

    short = [each for each in columns if is_short(each)]
    free = {
        each.key: widths[each.key]
        - max(each.width, contents[each.key].shown + (_SLACK if each.right else 0))
        for each in columns
        if each not in short
    }
    while short and max(free.values(), default=0) > 0:
        taker = min(short, key=lambda each: widths[each.key] / each.flex)
        giver = max(free, key=lambda key: free[key])
        widths[taker.key] += 1
        widths[giver] -= 1
        free[giver] -= 1
        short = [each for each in short if is_short(each)]


def _needed(columns: Sequence[Column[RowT]], width: int) -> int:
    return sum(column.width for column in columns) + gap(width) * (len(columns) - 1)


class Listing(Generic[RowT]):
    """Ids in the order shown. Rows keep their place until sorted or filtered anew."""

    def __init__(
        self, columns: Sequence[Column[RowT]], *, sorted_by: str = "", descending: bool = False
    ) -> None:
        """Start empty, sorted by the first column unless another is named."""
        self.columns = tuple(columns)
        self.sorted_by = sorted_by or self.columns[0].key
        self.descending = descending
        self.filter = Filter()
        self.rows: Mapping[str, RowT] = {}
        self.ids: list[str] = []
        self._shown: set[str] = set()
        self._texts: dict[str, tuple[RowT, str]] = {}

    def update(self, rows: Mapping[str, RowT], changed: Collection[str] | None = None) -> None:
        """Take new data: gone rows leave, new ones that pass the filter enter at their place.

        Args:
            rows: all rows by id, whether shown or not.
            changed: the ids to look at; None for all.
        """
        self.rows = rows
        looked_at = set(rows) | self._shown if changed is None else set(changed)
        gone = {each for each in looked_at if each in self._shown and each not in rows}
        if gone:
            self.ids = [each for each in self.ids if each not in gone]
            self._shown -= gone
            for each in gone:
                self._texts.pop(each, None)
        new = [each for each in looked_at if each in rows and each not in self._shown]
        new = [each for each in new if self._passes(each)]
        self._shown.update(new)
        if self.ids:
            for each in new:
                self.ids.insert(self._place(each), each)
        else:
            self.ids = self._sorted(new)

    def resort(self) -> None:
        """Filter and sort all rows anew."""
        self.ids = self._sorted(filter(self._passes, self.rows))
        self._shown = set(self.ids)

    def sort_by(self, key: str) -> None:
        """Sort by a column; by the same column again: the other way round."""
        self.descending = not self.descending if key == self.sorted_by else False
        self.sorted_by = key
        self.resort()

    def filter_by(self, text: str) -> None:
        """Show only the rows that match."""
        self.filter = Filter(text)
        self.resort()

    def _sorted(self, ids: Iterable[str]) -> list[str]:
        """Sort by the chosen column; equal rows by the first one, upwards in either direction."""
        return sorted(sorted(ids, key=self._tie), key=self._order, reverse=self.descending)

    def _order(self, row_id: str) -> Any:
        column = next(each for each in self.columns if each.key == self.sorted_by)
        return column.order(self.rows[row_id])

    def _tie(self, row_id: str) -> tuple[Any, str]:
        return self.columns[0].order(self.rows[row_id]), row_id

    def _place(self, row_id: str) -> int:
        order, tie = self._order(row_id), self._tie(row_id)
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            other = self._order(self.ids[middle])
            if order == other:
                earlier = tie < self._tie(self.ids[middle])
            else:
                earlier = order > other if self.descending else order < other
            if earlier:
                high = middle
            else:
                low = middle + 1
        return low

    def _passes(self, row_id: str) -> bool:
        return not self.filter.text or self.filter.matches(self._text(row_id))

    def _text(self, row_id: str) -> str:
        row = self.rows[row_id]
        known = self._texts.get(row_id)
        if known is not None and known[0] is row:
            return known[1]
        texts = [column.cell(row, 60).text for column in self.columns if column.searched]
        text = escape_text("  ".join([*texts, row_id]))
        self._texts[row_id] = (row, text)
        return text
