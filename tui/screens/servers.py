"""The Servers view: of the whole fleet, or of one host."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.acts import abort
from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.rescue_acts import priority
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import plan, servers, settling
from wire.fleet import ServerView
from wire.migration import MigrationKind


class ServersScreen(ListView[ServerView]):
    """Servers, where they are and where they may go."""

    place = Place.SERVERS
    noun = "server"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.SERVERS)

    def __init__(self, desk: Desk, *, host_id: str = "") -> None:
        super().__init__(desk, Listing(servers.columns(desk.glyphs)))
        self._host_id = host_id

    def rows(self) -> Mapping[str, ServerView]:
        """All servers, or those of one host."""
        found = self.desk.store.servers
        if not self._host_id:
            return found
        return {key: each for key, each in found.items() if each.host_id == self._host_id}

    def changed(self, changes: Changes) -> Collection[str]:
        """Servers that changed."""
        return changes.servers

    def scope(self) -> str:
        """The host, if these are the servers of one."""
        host = self.desk.store.hosts.get(self._host_id)
        return f"on {host.facts.name if host else self._host_id}" if self._host_id else ""

    def describe(self, row: ServerView, width: int) -> list[Line]:
        """Say all that is known of a server."""
        migrations = self.desk.store.migrations_of(row.server_id)
        return servers.details(row, migrations, width, self.desk.glyphs)

    def idle_actions(self) -> Collection[str]:
        """Many a server has no migration to open or to abort, and few are in doubt."""
        server = self.table.cursor_row
        if server is None:
            return {"migrate", "open", "abort", "settle", "priority"}
        moves = self.desk.store.migrations_of(server.server_id)
        sensible = {
            "migrate": self._kind(server) is not None,
            "abort": bool(server.migration_id),
            "open": bool(server.migration_id or moves),
            "settle": settling.in_doubt(server, moves[0] if moves else None),
        }
        return {name for name, makes_sense in sensible.items() if not makes_sense}

    def labels(self) -> Mapping[str, str]:
        """Say which kind of migration the server's state allows."""
        server = self.table.cursor_row
        return plan.move_label(self._kind(server) if server else None)

    def _kind(self, server: ServerView) -> MigrationKind | None:
        return plan.kind_for(server, self.desk.store.hosts.get(server.host_id))

    async def action_open(self) -> None:
        """Show the server's migration: the one under way, else its last."""
        server = self.table.cursor_row
        if server is None:
            return
        known = self.desk.store.migrations_of(server.server_id)
        migration_id = server.migration_id or (known[0].migration_id if known else "")
        if migration_id:
            await self.navigator.show_migration(migration_id)
        else:
            self.tell(f"{server.name} has not been migrated yet")

    async def action_migrate(self) -> None:
        """Open the dialog before a migration."""
        if self.table.cursor_id:
            await self.navigator.show_targets(self.table.cursor_id)

    async def action_priority(self) -> None:
        """Choose how soon the server is rescued when its host dies."""
        if self.table.cursor_row is not None:
            await self.navigator.act(priority(self.table.cursor_row))

    async def action_settle(self) -> None:
        """Open the dialog that asks which copy stays."""
        if self.table.cursor_id:
            await self.navigator.show_settling(self.table.cursor_id)

    async def action_abort(self) -> None:
        """Ask whether to abort the server's migration."""
        server = self.table.cursor_row
        if server is None:
            return
        migration = self.desk.store.migrations.get(server.migration_id)
        nothing = f"{server.name} does not migrate now: nothing to abort"
        await self.navigator.act(abort(self.desk.store, migration) if migration else nothing)
