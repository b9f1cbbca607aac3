"""``migration-list`` and ``migration-show``."""

from typing import TYPE_CHECKING

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list
from tui.commands.record import print_migration
from tui.commands.session import look
from tui.formats.table import Column
from tui.formats.units import duration_text, moment_text
from wire.migration import Migration

if TYPE_CHECKING:
    from tui.client import Client

_COLUMNS = (
    Column("ID", least=9),
    Column("Server", least=8),
    Column("Kind"),
    Column("Source", least=8),
    Column("Target", least=8),
    Column("State"),
    Column("Total", right=True),
    Column("Downtime", right=True),
    Column("Created"),
)


@click.command("migration-list", short_help="List migrations, newest first.")
@click.option("--server", metavar="SERVER", help="Only those of this server, by name or id.")
@json_option
def migration_list(*, server: str | None, as_json: bool) -> None:
    """List migrations, newest first."""

    async def found(client: "Client") -> list[Migration]:
        migrations = await client.migrations()
        if server is None:
            return migrations
        own = [each for each in migrations if server in {each.server_name, each.server_id}]
        if not own:
            # refused if no server is called so
            await client.server(server)
        return own

    migrations = look(found)
    if as_json:
        print_json(migrations)
    else:
        print_list(_COLUMNS, [_row(migration) for migration in migrations])


@click.command("migration-show", short_help="Show one migration in full.")
@click.option("--json", "as_json", is_flag=True, help="JSON, with the curve if it is still known.")
@click.argument("migration", metavar="ID")
def migration_show(*, as_json: bool, migration: str) -> None:
    """Show one migration: its options, passes, notes, real downtime, outcome and error."""
    detail = look(lambda client: client.migration(migration))
    if as_json:
        print_json(detail)
    else:
        print_migration(detail)


def _row(migration: Migration) -> tuple[str, ...]:
    figures = migration.statistics
    total = migration.state.ended and figures.total_ms
    return (
        migration.migration_id,
        migration.server_name,
        migration.kind,
        migration.source_host_name,
        migration.target_host_name,
        migration.state,
        duration_text(figures.total_ms) if total else "",
        "" if figures.downtime_ms is None else duration_text(figures.downtime_ms),
        moment_text(migration.created_at_ms, brief=True),
    )
