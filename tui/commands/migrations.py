"""``migration-list``, ``migration-show`` and ``server-cancel-live-migrate``."""

from typing import TYPE_CHECKING

import click

from tui.commands.output import narrate, print_json, print_list, print_record
from tui.commands.progress import figures_text, pass_table, phase_text
from tui.commands.session import ask, look
from tui.exits import Exit, VerbError
from tui.formats.table import Column
from tui.formats.units import bytes_text, duration_text, moment_text
from wire.errors import ErrorCode, GodwitError
from wire.fleet import ServerView
from wire.migration import Migration, MigrationDetail, MigrationState

if TYPE_CHECKING:
    from tui.client import Client

_COLUMNS = (
    Column("ID", least=9),
    Column("Server", least=8),
    Column("Source", least=8),
    Column("Target", least=8),
    Column("State"),
    Column("Total", right=True),
    Column("Downtime", right=True),
    Column("Created"),
)


@click.command("migration-list", short_help="List migrations, newest first.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def migration_list(*, as_json: bool) -> None:
    """List migrations, newest first."""
    migrations = look(lambda client: client.migrations())
    if as_json:
        print_json(migrations)
    else:
        print_list(_COLUMNS, [_row(migration) for migration in migrations])


@click.command("migration-show", short_help="Show one migration and its passes.")
@click.option("--json", "as_json", is_flag=True, help="JSON, with the curve if it is still known.")
@click.argument("migration", metavar="ID")
def migration_show(*, as_json: bool, migration: str) -> None:
    """Show one migration with its passes and its outcome."""
    detail = look(lambda client: client.migration(migration))
    if as_json:
        print_json(detail)
    else:
        _print_migration(detail)


@click.command("server-cancel-live-migrate", short_help="Keep servers where they are.")
@click.argument("servers", metavar="ID...", nargs=-1, required=True)
def server_cancel_live_migrate(*, servers: tuple[str, ...]) -> None:
    """Stop moving these servers; each stays on its host. ID is a server's name or id."""

    async def cancel_each(client: "Client") -> list[str]:
        views = [await client.server(server) for server in servers]
        return [refusal for view in views if (refusal := await _cancel(client, view))]

    refusals = ask(cancel_each)
    if refusals:
        raise VerbError(Exit.FAILED, "; ".join(refusals))


async def _cancel(client: "Client", server: ServerView) -> str:
    """Cancel a server's migration; say why not if its state does not allow this."""
    if not server.migration_id:
        return f"{server.name} is {server.status}, so there is no migration to cancel"
    try:
        migration = await client.cancel(server.migration_id)
    except GodwitError as error:
        if error.code is not ErrorCode.CONFLICT:
            raise
        return error.message
    source, name = migration.source_host_name, migration.server_name
    done = (
        f"abort of {name} noted; {source} gets it when it answers again"
        if migration.stalled_reason
        else f"asked {source} to keep {name}"
    )
    narrate(f"{done}; see the end with: godwit migration-show {migration.migration_id}")
    return ""


def print_outcome(migration: Migration) -> None:
    """Write what an ended migration did: route, passes, bytes, total time, downtime."""
    print_record([("outcome", migration.outcome), *_figures(migration)])


def _print_migration(detail: MigrationDetail) -> None:
    migration = detail.migration
    told = [
        ("id", migration.migration_id),
        ("server", f"{migration.server_name} ({migration.server_id})"),
        ("state", phase_text(migration.state)),
        ("stalled", migration.stalled_reason),
        ("last known" if migration.stalled_reason else "now", _now_text(detail)),
        ("requested by", migration.requested_by),
        ("cancelled by", migration.cancel_requested_by),
        ("created", moment_text(migration.created_at_ms)),
        ("finished", moment_text(migration.finished_at_ms)),
        *_figures(migration),
        ("outcome", migration.outcome),
        ("error", migration.error),
        ("advice", migration.advice),
    ]
    print_record([(name, value) for name, value in told if value])
    for line in pass_table(migration.passes):
        click.echo(line)


def _now_text(detail: MigrationDetail) -> str:
    if detail.migration.state.ended or not detail.samples:
        return ""
    return figures_text(detail.samples[-1])


def _figures(migration: Migration) -> list[tuple[str, str]]:
    route = f"{migration.source_host_name} -> {migration.target_host_name or '?'}"
    if not (migration.state.ended and migration.statistics.total_ms):
        return [("route", route)]
    figures = [
        ("route", route),
        ("passes", str(_pass_count(migration))),
        ("bytes", _bytes_text(migration)),
        ("total time", duration_text(migration.statistics.total_ms)),
    ]
    if migration.state is MigrationState.SUCCEEDED:
        figures.append(("downtime", _downtime_text(migration)))
    return figures


def _pass_count(migration: Migration) -> int:
    return migration.statistics.pass_count or len(migration.passes)


def _bytes_text(migration: Migration) -> str:
    figures = migration.statistics
    memory = f"{bytes_text(figures.memory_transferred_bytes)} of memory"
    if figures.disk_transferred_bytes:
        return f"{memory}, {bytes_text(figures.disk_transferred_bytes)} of disks"
    return memory


def _downtime_text(migration: Migration) -> str:
    downtime_ms = migration.statistics.downtime_ms
    if downtime_ms is None:
        return "unknown: neither host could tell any more"
    return (
        f"{duration_text(downtime_ms)} (limit {duration_text(migration.options.downtime_limit_ms)})"
    )


def _row(migration: Migration) -> tuple[str, ...]:
    figures = migration.statistics
    total = migration.state.ended and figures.total_ms
    return (
        migration.migration_id,
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
        migration.state,
        duration_text(figures.total_ms) if total else "",
        "" if figures.downtime_ms is None else duration_text(figures.downtime_ms),
        moment_text(migration.created_at_ms, brief=True),
    )
