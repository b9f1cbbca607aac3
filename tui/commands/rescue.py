"""Verbs about rescues: armed or not, and which servers come first."""

import click

from tui.commands.output import narrate
from tui.commands.session import ask
from tui.commands.several import change_each, check
from wire.fleet import RescuePriority
from wire.rescue import ServerPolicyChange


@click.command("rescue-arm", short_help="Let servers of dead hosts start elsewhere by themselves.")
def rescue_arm() -> None:
    """Arm rescues again, after the storm guard or a person has disarmed them.

    Servers of hosts that are dead by then start elsewhere at once, if their host's policy says so.
    """
    ask(lambda client: client.arm())
    narrate("rescues are armed: servers of dead hosts start elsewhere by themselves")


@click.command("rescue-disarm", short_help="Let no server start elsewhere unasked.")
@click.option("--reason", metavar="TEXT", default="", help="Shown to everybody until armed again.")
def rescue_disarm(*, reason: str) -> None:
    """Stop rescues that nobody asks for, until rescue-arm; for work on etcd or on the network."""
    guard = ask(lambda client: client.disarm(reason))
    narrate(f"rescues are disarmed: {guard.reason or 'no reason given'}; rescue-arm arms them")


@click.command("server-set-rescue-priority", short_help="Say which servers are rescued first.")
@click.argument("priority", type=click.Choice([str(each) for each in RescuePriority]))
@click.argument("servers", metavar="ID...", nargs=-1, required=True)
def server_set_rescue_priority(*, priority: str, servers: tuple[str, ...]) -> None:
    """Say which of a dead host's servers are started first. ID is a server's name or id."""
    wanted = ServerPolicyChange(rescue_priority=RescuePriority(priority))
    views, refusals = ask(
        lambda client: change_each(servers, lambda name: client.set_server_policy(name, wanted))
    )
    for view in views:
        narrate(f"{view.name}: rescue priority is {view.rescue_priority}")
    check(refusals)
