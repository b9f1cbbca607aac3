"""The Hosts view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.actions import Place
from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.screens.about_hosts import AboutHosts
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import hosts
from wire.fleet import HostFacts, HostView


class HostsScreen(ListView[HostView], AboutHosts):
    """Every host, compared with the one under the cursor."""

    place = Place.HOSTS
    noun = "host"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.HOSTS)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Listing(hosts.columns(desk.glyphs, self._under_cursor)))

    def rows(self) -> Mapping[str, HostView]:
        """All hosts."""
        return self.desk.store.hosts

    def changed(self, changes: Changes) -> Collection[str]:
        """Hosts that changed."""
        return changes.hosts

    def describe(self, row: HostView, width: int) -> list[Line]:
        """Compare the host with the others, and say all that is known of it."""
        return hosts.details(row, self.rows().values(), width, self.desk.glyphs)

    async def action_open(self) -> None:
        """Show the servers of the host under the cursor."""
        if self.table.cursor_id:
            await self.navigator.show_servers(self.table.cursor_id)

    @property
    def host(self) -> HostView | None:
        """The host under the cursor."""
        return self.table.cursor_row

    def _under_cursor(self) -> HostFacts | None:
        row = self.table.cursor_row
        return row.facts if row is not None else None
