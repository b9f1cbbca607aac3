"""The dialog that asks which copy of a server in doubt stays."""

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.listing import Listing
from tui.motion import Motion
from tui.places import Place
from tui.screens.dialog import Dialog
from tui.screens.frame import keys
from tui.views import settling
from tui.widgets.lines import Lines
from tui.widgets.table import Table
from wire.fleet import HostView, ServerView


class SettleDialog(Dialog[HostView]):
    """Ends with the host whose copy is to stay, or with None; nothing is done here."""

    place = Place.SETTLE
    widest = 100
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.SETTLE)
    DEFAULT_CSS = """
    SettleDialog > #box { width: 100; height: 80%; max-height: 30; }
    SettleDialog #doubt { height: auto; max-height: 50%; }
    SettleDialog #hosts { height: 1fr; margin: 1 0 0 0; }
    """

    def __init__(self, desk: Desk, server: ServerView) -> None:
        super().__init__(desk)
        self.server = server
        self._doubt = Lines(id="doubt")
        moves = desk.store.migrations_of(server.server_id)
        self._last = moves[0] if moves else None
        columns = settling.columns(server, self._last, desk.glyphs)
        self._table: Table[HostView] = Table(Listing(columns), id="hosts", sortable=False)

    def body(self) -> Iterator[Widget]:
        """What is in doubt, and the hosts."""
        yield self._doubt
        yield self._table

    def on_mount(self) -> None:
        """Show the hosts, those of the last migration first."""
        super().on_mount()
        self._table.take(self.desk.store.hosts)

    def on_resize(self) -> None:
        """Lay out for the width."""
        lines = settling.doubt(self.server, self._last, self.room)
        self._doubt.styles.height = len(lines)
        self._doubt.show(lines)

    @on(Table.Opened)
    def host_opened(self) -> None:
        """Choose by mouse what enter chooses."""
        self.action_choose()

    def action_move(self, motion: Motion) -> None:
        """Move the cursor."""
        self._table.move(motion)

    def action_choose(self) -> None:
        """End with the host under the cursor."""
        if self._table.cursor_row is not None:
            self.dismiss(self._table.cursor_row)

    def action_back(self) -> None:
        """End with nothing."""
        self.dismiss(None)
