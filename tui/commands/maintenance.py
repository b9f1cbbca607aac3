"""Verbs that keep servers from coming to a host, and let them come again."""

import click

from tui.commands.output import narrate
from tui.commands.session import ask
from tui.commands.several import change_each, check

_HOSTS = click.argument("hosts", metavar="HOST...", nargs=-1, required=True)


@click.command("host-maintenance", short_help="Let no server come to a host.")
@_HOSTS
def host_maintenance(*, hosts: tuple[str, ...]) -> None:
    """Let no server come to these hosts any more; what runs there runs on.

    It holds until host-exit-maintenance. HOST is a name or an id.
    """
    views, refusals = ask(
        lambda client: change_each(hosts, lambda name: client.set_maintenance(name, on=True))
    )
    for view in views:
        name = view.facts.name
        narrate(
            f"{name} is in maintenance: no server comes to it until "
            f"godwit host-exit-maintenance {name}"
        )
    check(refusals)


@click.command("host-exit-maintenance", short_help="Let servers come to a host again.")
@_HOSTS
def host_exit_maintenance(*, hosts: tuple[str, ...]) -> None:
    """Let servers come to these hosts again. HOST is a name or an id."""
    views, refusals = ask(
        lambda client: change_each(hosts, lambda name: client.set_maintenance(name, on=False))
    )
    for view in views:
        name = view.facts.name
        narrate(f"{name} takes servers again; what left it comes back by godwit host-return {name}")
    check(refusals)
