"""Verbs that clear up: settle or forget a server, remove what a failed migration kept."""

import sys

import click

from tui.commands.options import server_argument
from tui.commands.output import narrate
from tui.commands.session import ask
from tui.exits import Exit, VerbError


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


@click.command("server-forget", short_help="Forget a server that no host has.")
@click.option(
    "--yes",
    "typed",
    metavar="SERVER",
    help="The server's name once more; asked for on a terminal if it is left out.",
)
@server_argument
def server_forget(*, typed: str | None, server: str) -> None:
    """Delete what is kept of a server that no host has: its record, definition and policy.

    Every host that may have it has to say now that it does not, unless it is dead. Files of disks
    stay where they are. ID is the server's name or id.
    """
    name = ask(lambda client: client.server(server)).name
    if typed is None:
        typed = _typed_name(name)
    if typed != name:
        raise VerbError(
            Exit.BAD_INPUT,
            f"{typed!r} was typed, and the server to forget is called {name!r}: nothing was done",
        )
    ask(lambda client: client.forget(server))
    narrate(f"{name} is forgotten")


def _typed_name(name: str) -> str:
    """Ask for the name on the terminal.

    Raises:
        VerbError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise VerbError(
            Exit.BAD_INPUT, f"server-forget {name} needs --yes {name} where nobody can type it"
        )
    narrate(f"Nobody can define {name} again from what is kept then.")
    return str(
        click.prompt("Type the server's name to go on", prompt_suffix=": ", err=True)
    ).strip()


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
