"""A dialog in which one of few things is chosen; it says what each would mean."""

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from tui.acts import Act, Choice, ChoiceAct
from tui.desk import Desk
from tui.listing import Column, Listing
from tui.motion import Motion
from tui.paint import Span, Tone, wrap
from tui.places import Place
from tui.screens.dialog import Dialog
from tui.screens.frame import keys
from tui.widgets.lines import Lines
from tui.widgets.table import Table


class ChoiceDialog(Dialog[Act]):
    """Ends with the act of the row that was chosen, or with None."""

    place = Place.CHOICE
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.CHOICE)
    DEFAULT_CSS = """
    ChoiceDialog #choices { margin: 1 0 0 0; }
    ChoiceDialog #meaning { margin: 1 0 0 0; }
    """

    def __init__(self, desk: Desk, wanted: ChoiceAct) -> None:
        super().__init__(desk)
        self._title = Lines(id="title")
        self._wanted = wanted
        self._rows = {str(place): each for place, each in enumerate(wanted.choices)}
        self._table: Table[Choice] = Table(Listing(_columns(wanted)), id="choices", sortable=False)
        self._meaning = Lines(id="meaning")

    def body(self) -> Iterator[Widget]:
        """The title, the rows, and what the one under the cursor means."""
        yield self._title
        yield self._table
        yield self._meaning

    def on_mount(self) -> None:
        """Begin at what is set now."""
        super().on_mount()
        self._table.take(self._rows)
        present = [key for key, each in self._rows.items() if each.present]
        if present:
            self._table.put_cursor(present[0])

    def on_resize(self) -> None:
        """Lay out for the width; the room is that of the longest meaning, so that nothing jumps."""
        title = wrap(self._wanted.title, self.room, Tone.STRONG)
        self._title.styles.height = len(title)
        self._title.show(title)
        self._table.styles.height = len(self._rows) + 1
        self._meaning.styles.height = 1 + max(
            len(wrap(each.meaning, self.room)) for each in self._rows.values()
        )
        self._show_meaning()

    @on(Table.Moved)
    def row_moved(self) -> None:
        """Say what the row means."""
        self._show_meaning()

    @on(Table.Opened)
    def row_opened(self) -> None:
        """Choose by mouse what enter chooses."""
        self.action_choose()

    def action_move(self, motion: Motion) -> None:
        """Move the cursor."""
        self._table.move(motion)

    def action_choose(self) -> None:
        """End with the act of the row under the cursor, if we may still act."""
        row = self._table.cursor_row
        if row is not None and self.desk.writable:
            self.dismiss(None if row.present else row.act)

    def action_back(self) -> None:
        """End with nothing."""
        self.dismiss(None)

    def _show_meaning(self) -> None:
        row = self._table.cursor_row
        self._meaning.show(wrap(row.meaning, self.room) if row is not None else [])


def _columns(wanted: ChoiceAct) -> list[Column[Choice]]:
    places = {each.name: place for place, each in enumerate(wanted.choices)}
    return [
        Column(
            key="name",
            title="CHOICE",
            width=30,
            flex=1,
            cell=lambda each, _: Span(each.name, Tone.STRONG),
            order=lambda each: places[each.name],
        ),
        Column(
            key="present",
            title="",
            width=14,
            cell=lambda each, _: Span("as it is now" if each.present else "", Tone.DIM),
            order=lambda each: places[each.name],
        ),
    ]
