"""Verbs that act on the migration of a server while it runs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from tui.commands import options
from tui.commands.output import narrate
from tui.commands.session import ask
from tui.exits import Exit, VerbError
from tui.formats.units import rate_text
from wire.errors import ErrorCode, GodwitError
from wire.fleet import ServerView
from wire.migration import Migration, MigrationParameters

if TYPE_CHECKING:
    from tui.client import Client

Act = Callable[["Client", str], Awaitable[Migration]]
"""Acts on the migration of an id."""


@click.command("server-cancel-live-migrate", short_help="Keep servers where they are.")
@click.argument("servers", metavar="ID...", nargs=-1, required=True)
def server_cancel_live_migrate(*, servers: tuple[str, ...]) -> None:
    """Stop moving these servers, live or cold; each stays on its host.

    ID is a server's name or id.
    """

    async def cancel_each(client: "Client") -> list[str]:
        views = [await client.server(server) for server in servers]
        return [refusal for view in views if (refusal := await _cancel(client, view))]

    refusals = ask(cancel_each)
    if refusals:
        raise VerbError(Exit.FAILED, "; ".join(refusals))


@click.command("server-set-live-migrate-params", short_help="Change a migration that runs.")
@options.bandwidth
@options.downtime("--downtime-limit-ms", "Pause to aim at from now on.")
@options.server_argument
def server_set_live_migrate_params(
    *, max_bandwidth_bytes_per_s: int | None, downtime_limit_ms: int | None, server: str
) -> None:
    """Change the cap or the downtime limit of a server's migration while it runs.

    ID is the server's name or id. At least one of the options is needed.
    """
    changed = MigrationParameters(
        max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s, downtime_limit_ms=downtime_limit_ms
    )
    if changed == MigrationParameters():
        raise click.UsageError("nothing to change: give --max-bandwidth-mb or --downtime-limit-ms")
    told = _act(server, lambda client, key: client.set_parameters(key, changed))
    words = []
    if max_bandwidth_bytes_per_s is not None:
        words.append(f"at most {rate_text(max_bandwidth_bytes_per_s)}")
    if downtime_limit_ms is not None:
        words.append(f"a downtime limit of {downtime_limit_ms} ms")
    narrate(f"the migration of {told.server_name} has {' and '.join(words)} from now on")


@click.command("server-switch-to-postcopy", short_help="End a migration that does not converge.")
@options.server_argument
def server_switch_to_postcopy(*, server: str) -> None:
    """Let a migrating server run on its target now, and fetch the rest of its memory there.

    It ends the migration after one more pass, and cannot be aborted: until it has ended, the loss
    of either host loses the guest. ID is the server's name or id.
    """
    told = _act(server, lambda client, key: client.switch_to_postcopy(key))
    narrate(
        f"{told.server_name} is told to run on {told.target_host_name} and to fetch its memory "
        f"there; see it with: godwit migration-show {told.migration_id}"
    )


@click.command("server-recover-postcopy", short_help="Go on after a post-copy's link broke.")
@options.server_argument
def server_recover_postcopy(*, server: str) -> None:
    """Connect both hosts again after the link of a post-copy migration broke.

    That is tried until it works, once asked for. ID is the server's name or id.
    """
    told = _act(server, lambda client, key: client.recover_postcopy(key))
    name, source, target = told.server_name, told.source_host_name, told.target_host_name
    done = (
        f"recovery of {name} noted, although {told.stalled_reason}"
        if told.stalled_reason
        else f"{target} fetches the rest of {name} from {source} as soon as both can"
    )
    narrate(f"{done}; see it with: godwit migration-show {told.migration_id}")


def _act(server: str, act: Act) -> Migration:
    """Act on the migration that a server is in.

    Raises:
        VerbError: it is in none.
    """

    async def find_and_act(client: "Client") -> Migration:
        view = await client.server(server)
        if not view.migration_id:
            raise VerbError(
                Exit.FAILED, f"{view.name} is {view.status}: it is in no migration to change"
            )
        return await act(client, view.migration_id)

    return ask(find_and_act)


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
        f"abort of {name} noted, although {migration.stalled_reason}"
        if migration.stalled_reason
        else f"asked {source} to keep {name}"
    )
    narrate(f"{done}; see the end with: godwit migration-show {migration.migration_id}")
    return ""
