"""The Incidents view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.about_hosts import AboutHosts
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import incidents
from wire.fleet import HostView
from wire.rescue import Incident


class IncidentsScreen(ListView[Incident], AboutHosts):
    """Hosts that were lost, the latest first."""

    place = Place.INCIDENTS
    noun = "incident"
    newest_first = True
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.INCIDENTS)

    def __init__(self, desk: Desk) -> None:
        listing = Listing(incidents.columns(desk.glyphs), sorted_by="lost", descending=True)
        super().__init__(desk, listing)
        self.table.shows_all = True

    def rows(self) -> Mapping[str, Incident]:
        """All incidents that are known."""
        return self.desk.store.incidents

    def changed(self, changes: Changes) -> Collection[str]:
        """Incidents that changed."""
        return changes.incidents

    def describe(self, row: Incident, width: int) -> list[Line]:
        """Say how far it is."""
        return incidents.details(row, width, self.desk.glyphs)

    @property
    def host(self) -> HostView | None:
        """The host that was lost."""
        row = self.table.cursor_row
        return self.desk.store.hosts.get(row.host_id) if row is not None else None

    async def action_open(self) -> None:
        """Show the incident under the cursor."""
        if self.table.cursor_id:
            await self.navigator.show_incident(self.table.cursor_id)

    async def action_report(self) -> None:
        """Show its report as text."""
        if self.table.cursor_id:
            await self.navigator.show_report(self.table.cursor_id)
