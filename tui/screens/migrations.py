"""The Migrations view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.acts import abort
from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import migrations
from tui.views.ending import summary
from wire.migration import Migration


class MigrationsScreen(ListView[Migration]):
    """Migrations under way and ended ones, newest first."""

    place = Place.MIGRATIONS
    noun = "migration"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.MIGRATIONS)

    def __init__(self, desk: Desk) -> None:
        columns = migrations.columns(desk.glyphs, desk.store.last_sample)
        super().__init__(desk, Listing(columns, sorted_by="started", descending=True))

    def rows(self) -> Mapping[str, Migration]:
        """All migrations that are known."""
        return self.desk.store.migrations

    def changed(self, changes: Changes) -> Collection[str]:
        """Migrations that changed."""
        return changes.migrations

    def describe(self, row: Migration, width: int) -> list[Line]:
        """Say how it ended, or how far it is."""
        last = self.desk.store.last_sample(row.migration_id)
        return summary(row, last, width, self.desk.glyphs)

    async def action_open(self) -> None:
        """Show the migration under the cursor."""
        if self.table.cursor_id:
            await self.navigator.show_migration(self.table.cursor_id)

    async def action_abort(self) -> None:
        """Ask whether to abort the migration under the cursor."""
        row = self.table.cursor_row
        if row is not None:
            await self.navigator.act(abort(self.desk.store, row))

    def idle_actions(self) -> Collection[str]:
        """Nothing is left to abort once a migration has ended."""
        row = self.table.cursor_row
        return {"abort"} if row is None or isinstance(abort(self.desk.store, row), str) else ()
