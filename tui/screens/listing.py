"""What the list views share: a table, its filter and order, and details beside or below."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, Generic

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.listing import Listing, RowT
from tui.motion import Motion
from tui.paint import Line, Span, Tone, length, line, spread, wrap
from tui.places import Place
from tui.screens.frame import Frame
from tui.store import Changes
from tui.widgets.page import Page
from tui.widgets.table import Table

_TABS = (
    ("1", "Hosts", Place.HOSTS),
    ("2", "Servers", Place.SERVERS),
    ("3", "Migrations", Place.MIGRATIONS),
    ("4", "Health", Place.HEALTH),
    ("5", "Incidents", Place.INCIDENTS),
    ("6", "Evacuations", Place.EVACUATIONS),
)
_UNNUMBERED = {Place.AUDIT: "Audit"}
"""Views that only a command leads to: their tab is there while they are shown."""


def tabs(here: Place, rights: Sequence[Line], width: int) -> Line:
    """The views by their keys; where room is short, only this one by its name.

    Args:
        here: the view that is shown.
        rights: what stands at the right edge, the longest form first.
        width: cells.
    """
    for form in (" {key} {title} ", "{key} {title} ", "{key} "):
        spans: list[Span] = []
        for key, title, place in _TABS:
            shown = place == here
            text = f" {key} {title} " if shown else form.format(key=key, title=title)
            spans.append(Span(text, Tone.TAB if shown else Tone.DIM))
        if here in _UNNUMBERED:
            spans.append(Span(f" {_UNNUMBERED[here]} ", Tone.TAB))
        for right in rights:
            if length(tuple(spans)) + length(right) < width:
                return spread(tuple(spans), right, width)
    return spread(tuple(spans), rights[-1], width)


class ListView(Frame, Generic[RowT]):
    """A table of the fleet."""

    noun: ClassVar[str]
    """What a row is: ``host``."""
    newest_first: ClassVar[bool] = False
    """Whoever comes to the view finds the cursor on the first row: there is the news."""
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-narrow"),
        (180, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    ListView > #details { height: 40%; min-height: 7; max-height: 16; border-top: solid $rule; }
    ListView.-wide { layout: grid; grid-size: 2; grid-columns: 1fr 76; grid-rows: 1 1 1fr; }
    ListView.-wide > #top, ListView.-wide > #heading { column-span: 2; }
    ListView.-wide > #details {
        height: 1fr; max-height: 100%; border-top: none; border-left: solid $rule; padding: 0 1;
    }
    ListView.-zoomed > #table { display: none; }
    ListView.-zoomed > #details { height: 1fr; max-height: 100%; border: none; }
    ListView.-wide.-zoomed > #details { column-span: 2; }
    """

    def __init__(self, desk: Desk, listing: Listing[RowT]) -> None:
        super().__init__(desk)
        self.table: Table[RowT] = Table(listing, id="table")
        self.details = Page(id="details")

    def body(self) -> Iterator[Widget]:
        """Table and details."""
        yield self.table
        yield self.details

    def rows(self) -> Mapping[str, RowT]:
        """Give all rows by id."""
        raise NotImplementedError

    def changed(self, changes: Changes) -> Collection[str]:
        """Give the ids of the rows that changed."""
        raise NotImplementedError

    def describe(self, row: RowT, width: int) -> list[Line]:
        """Give the details of a row."""
        raise NotImplementedError

    def take(self, changes: Changes) -> None:
        """Show what changed; the cursor's row stays where it is."""
        self.table.empty = self._empty()
        self.table.take(self.rows(), None if changes.everything else self.changed(changes))
        self._show_details()

    def heading(self, width: int) -> Line:
        """The views, which one this is, and how it is sorted and filtered."""
        return tabs(self.place, (self.place_in_list(), self.place_in_list(brief=True)), width)

    def arrive(self) -> None:
        """Put the rows in order for whoever comes; while they look, rows keep their place."""
        self.action_resort()
        if self.newest_first:
            self.action_move("first")

    def scope(self) -> str:
        """Name what the rows are limited to, apart from the filter."""
        return ""

    def find(self, row_id: str) -> None:
        """Put the cursor on a row, if need be without the filter that hides it."""
        if row_id not in self.table.listing.ids:
            self.filter_typed("")
        if row_id in self.table.listing.ids:
            self.table.put_cursor(row_id)

    def place_in_list(self, *, brief: bool = False) -> Line:
        """Say what limits the rows, how they are sorted, and where the cursor is.

        Briefly without the order, which the arrow in the table's titles shows as well.
        """
        listing = self.table.listing
        title = next(each.title for each in listing.columns if each.key == listing.sorted_by)
        arrow = "↓" if listing.descending else "↑"
        parts = [Span(f"{self.scope()}  ", Tone.STRONG)] if self.scope() else []
        if listing.filter.text:
            parts.append(Span(f"/{listing.filter.text}  ", Tone.WARN))
        shown, whole = len(listing.ids), len(self.rows())
        place = self.table.position + 1 if listing.ids else 0
        of = f"{place}/{shown}" if shown == whole else f"{place}/{shown} of {whole}"
        order = "" if brief else f"by {title.lower()} {arrow}  "
        return (*parts, Span(f"{order}{of}", Tone.DIM))

    def _empty(self) -> list[Line]:
        if not self.desk.store.complete:
            reason = self.desk.store.link_reason or "waiting for the backend"
            return [(), *wrap(reason, self.table.size.width, Tone.DIM)]
        if self.table.listing.filter.text:
            return [(), line(Span(f"no {self.noun} matches; esc clears the filter", Tone.DIM))]
        return [(), line(Span(self.empty_line(), Tone.DIM))]

    def empty_line(self) -> str:
        """Why there is no row, apart from the filter."""
        return f"no {self.noun} yet"

    def _show_details(self) -> None:
        row = self.table.cursor_row
        width = max(20, self.details.size.width)
        self.details.put(self.describe(row, width) if row is not None else [])

    @on(Table.Moved)
    def cursor_moved(self) -> None:
        """Describe the row under the cursor."""
        self.details.move("first")
        self._show_details()
        self.refresh_frame()

    @on(Table.Opened)
    async def row_opened(self) -> None:
        """Open by mouse what enter opens."""
        await self.run_action("open")

    def filter_typed(self, text: str) -> None:
        """Show only what the filter lets through."""
        self.table.filter_by(text)
        self.table.empty = self._empty()
        self.table.paint()
        self._show_details()
        self.refresh_frame()

    def action_filter(self) -> None:
        """Type a filter."""
        self.prompt.open("filter", self.table.listing.filter.text)

    async def action_back(self) -> None:
        """Clear what was set last: zoom, filter, then the view itself."""
        if self.has_class("-zoomed"):
            self.action_details()
        elif self.table.listing.filter.text:
            self.filter_typed("")
        else:
            await self.navigator.go_back()

    def action_move(self, motion: Motion) -> None:
        """Move the cursor, or the details when they have the screen."""
        if self.has_class("-zoomed"):
            self.details.move(motion)
        else:
            self.table.move(motion)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.table.sort_by_next()
        self.refresh_frame()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.table.sort_by(self.table.listing.sorted_by)
        self.refresh_frame()

    def action_resort(self) -> None:
        """Sort and filter anew."""
        self.table.resort()
        self.refresh_frame()

    def action_wide(self) -> None:
        """Show every column, or those that fit."""
        self.table.toggle_wide()

    def action_slide(self, step: int) -> None:
        """Move the columns."""
        self.table.slide(step)

    def action_details(self) -> None:
        """Give the details the screen, or take it back; either way they begin with their title."""
        self.toggle_class("-zoomed")
        self.details.move("first")

    def action_copy_id(self) -> None:
        """Copy the id of the row under the cursor."""
        if self.table.cursor_id:
            self.app.copy_to_clipboard(self.table.cursor_id)
            self.tell(f"copied {self.table.cursor_id}")
