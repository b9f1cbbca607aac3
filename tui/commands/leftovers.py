"""Verbs that clear up after a failed migration: settle a server, remove what was kept."""

import click

from tui.commands.options import server_argument
from tui.commands.output import narrate
from tui.commands.session import ask


@click.command("server-settle", short_help="Decide which copy of a server stays.")
@click.option("--keep-host", metavar="HOST", required=True, help="The copy on this host stays.")
@server_argument
def server_settle(*, keep_host: str, server: str) -> None:
    """Leave exactly one copy of a server that a failed migration left double, halted or nowhere.

    The copy on the host to keep stays, and is let run again if the migration paused it; every other
    one is ended. If no host has the server, it is defined there and stays stopped. ID is the
    server's name or id.
    """
    if not keep_host:
        raise click.UsageError("--keep-host is empty; name the host whose copy stays")
    settled = ask(lambda client: client.settle(server, keep_host))
    narrate(f"{settled.name} is {settled.status} on {settled.host_name}")


@click.command("migration-remove-kept", short_help="Remove what a failed migration kept.")
@click.argument("migration", metavar="ID")
def migration_remove_kept(*, migration: str) -> None:
    """Remove what a failed migration left on its target because that was asked for.

    ID is the migration's. migration-show lists the files.
    """
    cleared = ask(lambda client: client.remove_kept(migration))
    left = len(cleared.kept)
    what = f"{left} of the kept files are left on" if left else "nothing is kept any more on"
    narrate(f"{what} {cleared.target_host_name}")
