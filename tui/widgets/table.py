"""The table of every view: a window onto a listing, with a cursor that follows a row's id.

Only the lines in sight are ever laid out, and only the cells that differ are painted, so that
20,000 rows cost as little as twenty.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from textual import events
from textual.message import Message

from tui.listing import Column, Content, Listing, RowT, fit, gap, hand_over
from tui.motion import Motion, moved
from tui.paint import Line, Span, Tone, clip, length, line, pad, width_of
from tui.text import escape_text
from tui.widgets.lines import Lines

_WIDEST = 60
"""Cells beyond which even a wide table cuts."""


class Table(Lines, Generic[RowT]):
    """Draws a header line and the rows in sight."""

    @dataclass
    class Moved(Message):
        """The cursor is on another row, or on none."""

        row_id: str | None

    @dataclass
    class Opened(Message):
        """A row was opened by a mouse click on the cursor's row."""

        row_id: str

    def __init__(
        self,
        listing: Listing[RowT],
        *,
        id: str,  # noqa: A002 - Textual's name
        sortable: bool = True,
    ) -> None:
        super().__init__(id=id)
        self.listing = listing
        self.sortable = sortable
        self.wide = False
        self.shows_all = False
        """Where a row that comes in above the cursor's must not be out of sight: the cursor's row
        leaves its line for it while all rows fit."""
        self.empty: Sequence[Line] = ()
        """What stands there when there is no row."""
        self._cursor_id: str | None = None
        self._top = 0
        self._first_column = 0
        self._full_widths: dict[str, int] = {}
        self._contents: dict[str, Content] = {}
        """Of each column with flex: the widest that was in sight at this width of the table."""
        self._even: list[tuple[Column[RowT], int]] = []
        self._fitted: tuple[int, list[tuple[Column[RowT], int]]] = (0, [])
        """Width of the table, and of its columns."""

    @property
    def cursor_id(self) -> str | None:
        """Id of the row under the cursor."""
        return self._cursor_id

    @property
    def cursor_row(self) -> RowT | None:
        """The row under the cursor."""
        return None if self._cursor_id is None else self.listing.rows.get(self._cursor_id)

    @property
    def position(self) -> int:
        """Place of the cursor's row in the listing, from 0."""
        try:
            return self.listing.ids.index(self._cursor_id or "")
        except ValueError:
            return 0

    def take(self, rows: Mapping[str, RowT], changed: Collection[str] | None = None) -> None:
        """Take new data; the cursor stays on its row, and that row on its screen line."""
        before = self.position
        self.listing.update(rows, changed)
        self._follow(before)

    def sort_by(self, key: str) -> None:
        """Sort by a column; the cursor stays on its row."""
        self.listing.sort_by(key)
        self._reveal()

    def sort_by_next(self) -> None:
        """Sort by the column right of the present one."""
        keys = [column.key for column in self.listing.columns]
        self.sort_by(keys[(keys.index(self.listing.sorted_by) + 1) % len(keys)])

    def filter_by(self, text: str) -> None:
        """Show only what matches; the cursor stays on its row if that is still shown."""
        self.listing.filter_by(text)
        self._reveal()

    def resort(self) -> None:
        """Sort and filter anew."""
        self.listing.resort()
        self._reveal()

    def move(self, motion: Motion) -> None:
        """Move the cursor."""
        last = len(self.listing.ids) - 1
        if last >= 0:
            page = max(1, self.size.height - 2)
            self.put_cursor(self.listing.ids[moved(motion, self.position, last=last, page=page)])

    def put_cursor(self, row_id: str) -> None:
        """Put the cursor on a row."""
        self._set_cursor(row_id)
        self._reveal()

    def slide(self, step: int) -> None:
        """Move the columns of a wide table sideways."""
        if self.wide:
            last = len(self.listing.columns) - 2
            self._first_column = min(max(0, self._first_column + step), last)
            self.paint()

    def toggle_wide(self) -> None:
        """Show all columns at their full width, or those that fit."""
        self.wide = not self.wide
        self._first_column = 0
        self._full_widths.clear()
        self.paint()

    def paint(self) -> None:
        """Lay out the lines in sight and show them; while hidden none is in sight."""
        if self.size.height:
            self.show(self._window())

    def on_resize(self) -> None:
        """Keep the cursor in sight, and fill the room that there is now."""
        if not self.size.height:
            # hidden behind the details: whoever comes back finds every row where it was
            return
        room = max(1, self.size.height - 1)
        self._top = min(self._top, max(0, len(self.listing.ids) - room))
        self._reveal()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move by the wheel, where the mouse is on."""
        event.stop()
        self.move("down")

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move by the wheel, where the mouse is on."""
        event.stop()
        self.move("up")

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse points; a click on the cursor's row opens it."""
        index = self._top + event.y - 1
        if event.y < 1 or index >= len(self.listing.ids):
            return
        row_id = self.listing.ids[index]
        if row_id == self._cursor_id:
            self.post_message(self.Opened(row_id))
        else:
            self.put_cursor(row_id)

    def _follow(self, before: int) -> None:
        ids = self.listing.ids
        if self._cursor_id in ids:
            self._top += self.position - before
        else:
            self._set_cursor(ids[min(before, len(ids) - 1)] if ids else None)
        self._reveal()

    def _set_cursor(self, row_id: str | None) -> None:
        if row_id != self._cursor_id:
            self._cursor_id = row_id
            self.post_message(self.Moved(row_id))

    def _reveal(self) -> None:
        ids = self.listing.ids
        if self._cursor_id not in ids:
            self._set_cursor(ids[0] if ids else None)
        if not self.size.height:
            return
        room = max(1, self.size.height - 1)
        here = self.position
        last = 0 if self.shows_all and len(ids) <= room else max(0, len(ids) - 1)
        self._top = min(max(self._top, here - room + 1, 0), here, last)
        self.paint()

    def _window(self) -> list[Line]:
        width, height = self.size
        columns = self._columns(width)
        window = [self._header(columns, width)]
        if not self.listing.ids:
            return [*window, *self.empty]
        for row_id in self.listing.ids[self._top : self._top + height - 1]:
            row = self.listing.rows.get(row_id)
            if row is not None:
                window.append(self._row(row, columns, width, cursor=row_id == self._cursor_id))
        return window

    def _columns(self, width: int) -> list[tuple[Column[RowT], int]]:
        columns = self.listing.columns
        if not self.wide:
            return self._fit(width)
        # The first column names the row and stays in place.
        chosen = [columns[0], *columns[1 + self._first_column :]]
        return [(column, self._full_width(column)) for column in chosen]

    def _fit(self, width: int) -> list[tuple[Column[RowT], int]]:
        """The columns as they were, until content lacks room that did not before."""
        fitted_at, fitted = self._fitted
        if width != fitted_at:
            self._contents.clear()
            self._even = fitted = fit(self.listing.columns, width)
        lacks_more = False
        for (column, even), (_, size) in zip(self._even, fitted, strict=True):
            if column.flex and not column.draws:
                before = self._contents.get(column.key, Content())
                full = self._content_width(column, max(even, column.most or _WIDEST))
                shown = full if full <= even else self._content_width(column, even)
                content = Content(max(before.shown, shown), max(before.full, full))
                self._contents[column.key] = content
                lacks_more |= content.shown > max(before.shown, size)
                lacks_more |= content.full > max(before.full, size)
        if lacks_more:
            fitted = hand_over(self._even, self._contents)
        self._fitted = width, fitted
        return fitted

    def _full_width(self, column: Column[RowT]) -> int:
        """Width at which no cell in sight is cut; it only grows while the table is wide."""
        needed = max(column.width, self._content_width(column, _WIDEST))
        self._full_widths[column.key] = max(self._full_widths.get(column.key, 0), needed)
        return min(self._full_widths[column.key], _WIDEST)

    def _content_width(self, column: Column[RowT], width: int) -> int:
        """Cells of the widest content in sight of a column that has so much room; 0 for no row."""
        ids = self.listing.ids[self._top : self._top + self.size.height - 1]
        rows = [self.listing.rows[each] for each in ids if each in self.listing.rows]
        return max((width_of(escape_text(column.cell(row, width).text)) for row in rows), default=0)

    def _header(self, columns: Sequence[tuple[Column[RowT], int]], width: int) -> Line:
        titles = []
        for column, size in columns:
            title = column.title
            if self.sortable and column.key == self.listing.sorted_by:
                arrow = "↓" if self.listing.descending else "↑"
                title = f"{title[: size - 1]}{arrow}"
            titles.append(pad(title, size, right=column.right))
        return line(Span(pad((" " * gap(width)).join(titles), width), Tone.TITLE))

    def _row(
        self, row: RowT, columns: Sequence[tuple[Column[RowT], int]], width: int, *, cursor: bool
    ) -> Line:
        between = " " * gap(width)
        spans: list[Span] = []
        for number, (column, size) in enumerate(columns):
            cell = column.cell(row, size)
            text = pad(escape_text(cell.text), size, right=column.right)
            text = between + text if number else text
            tone = Tone.CURSOR if cursor else cell.tone
            if spans and spans[-1].tone is tone:
                spans[-1] = Span(spans[-1].text + text, tone)
            else:
                spans.append(Span(text, tone))
        if length(tuple(spans)) > width:
            # so that "…" stands where text is lost, and not where blanks are
            spans[-1] = Span(spans[-1].text.rstrip(), spans[-1].tone)
        if cursor:
            return line(Span(pad(spans[0].text, width), Tone.CURSOR))
        return clip(tuple(spans), width)
