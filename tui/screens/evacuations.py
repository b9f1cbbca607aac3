"""The Evacuations view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import evacuations
from wire.evacuation import Evacuation


class EvacuationsScreen(ListView[Evacuation]):
    """Hosts that are or were emptied and filled again, the latest first."""

    place = Place.EVACUATIONS
    noun = "evacuation"
    newest_first = True
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.EVACUATIONS)

    def __init__(self, desk: Desk) -> None:
        listing = Listing(evacuations.columns(desk.glyphs), sorted_by="started", descending=True)
        super().__init__(desk, listing)
        self.table.shows_all = True

    def rows(self) -> Mapping[str, Evacuation]:
        """All evacuations that are known."""
        return self.desk.store.evacuations

    def changed(self, changes: Changes) -> Collection[str]:
        """Evacuations that changed."""
        return changes.evacuations

    def describe(self, row: Evacuation, width: int) -> list[Line]:
        """Say how far it is, or what came of it."""
        return evacuations.details(row, width, self.desk.now_ms, self.desk.glyphs)

    async def action_open(self) -> None:
        """Show the evacuation under the cursor."""
        if self.table.cursor_id:
            await self.navigator.show_evacuation(self.table.cursor_id)

    async def action_report(self) -> None:
        """Show the report as text."""
        if self.table.cursor_id:
            await self.navigator.show_report(self.table.cursor_id)
