"""Verbs that keep servers from coming to a host, and let them come again."""

from typing import TYPE_CHECKING

import click

from tui.commands.output import narrate
from tui.commands.session import ask
from tui.commands.several import Refusals, change_each, check
from tui.formats.evacuation import left_behind
from wire.fleet import HostView

if TYPE_CHECKING:
    from tui.client import Client

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

    async def end(client: "Client") -> tuple[list[tuple[bool, HostView, bool]], Refusals]:
        before = {each.facts.host_id: each for each in await client.hosts()}
        known = await client.evacuations()

        async def end_of(name: str) -> tuple[bool, HostView, bool]:
            view = await client.set_maintenance(name, on=False)
            host_id = view.facts.host_id
            was = host_id in before and before[host_id].policy.maintenance
            return was, view, bool(left_behind(known, host_id))

        return await change_each(hosts, end_of)

    told, refusals = ask(end)
    for was, view, left in told:
        name = view.facts.name
        sentence = f"{name} takes servers again" if was else f"{name} was not in maintenance"
        narrate(
            f"{sentence}; what left it comes back by godwit host-return {name}"
            if left
            else sentence
        )
    check(refusals)
