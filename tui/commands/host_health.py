"""Verbs about hosts that may die: their policy, their health, and a person's word on one."""

import sys
from typing import TYPE_CHECKING

import click

from tui.commands.options import json_option
from tui.commands.output import narrate, print_json, print_table
from tui.commands.session import ask, look
from tui.commands.several import Refusals, change_each, check
from tui.exits import Exit, VerbError
from tui.formats.health import (
    ARMING,
    fence_text,
    health_word,
    left_text,
    policy_text,
    unfenced_warning,
)
from tui.formats.table import Column
from tui.formats.units import bytes_text, moment_text
from tui.text import escape_text
from wire.fleet import HostView
from wire.life import Fence
from wire.rescue import EtcdMember, HealthReport, HostHealth, HostPolicyChange

if TYPE_CHECKING:
    from tui.client import Client

_ARMING_S = 5.0
"""So long a host is given to arm its watchdog before anybody warns that it has not."""
_SWITCH = click.Choice(["enable", "disable"])

_HOSTS = (
    Column("Host", least=8),
    Column("Health"),
    Column("Left", right=True),
    Column("Epoch", right=True),
    Column("Fence", least=12),
    Column("Auto_migrate"),
    Column("Last_change", wraps=True),
)
_MEMBERS = (
    Column("Etcd", least=12),
    Column("Leader"),
    Column("Term", right=True),
    Column("Version"),
    Column("Size", right=True),
    Column("Error", wraps=True),
)


@click.command("host-auto-migrate-on-host-down", short_help="Rescue the servers of hosts that die.")
@click.option(
    "--auto-migrate-on-host-down", type=_SWITCH, help="Start its servers elsewhere when it dies."
)
@click.option(
    "--auto-migrate-on-host-shutdown",
    type=_SWITCH,
    help="Move its servers away when it is shut down; needs the one above.",
)
@click.argument("hosts", metavar="ID...", nargs=-1, required=True)
def host_auto_migrate_on_host_down(
    *,
    auto_migrate_on_host_down: str | None,
    auto_migrate_on_host_shutdown: str | None,
    hosts: tuple[str, ...],
) -> None:
    """Say whether servers leave these hosts by themselves when one dies or is shut down.

    ID is a host's name or id. An option that is left out leaves its setting as it is. Only servers
    whose disks are all on shared storage can leave, and a host that dies needs a watchdog.
    """
    changed = HostPolicyChange(
        auto_migrate_on_host_down=_switch(auto_migrate_on_host_down),
        auto_migrate_on_host_shutdown=_switch(auto_migrate_on_host_shutdown),
    )
    if changed == HostPolicyChange():
        raise click.UsageError(
            "nothing to change: give --auto-migrate-on-host-down or "
            "--auto-migrate-on-host-shutdown, each with enable or disable"
        )

    async def change(client: "Client") -> tuple[list[HostView], Refusals]:
        views, refusals = await change_each(
            hosts, lambda name: client.set_host_policy(name, changed)
        )
        return await _armed(client, views), refusals

    views, refusals = ask(change)
    for view in views:
        narrate(f"{view.facts.name}: auto-migrate is now {policy_text(view.policy)}")
        if view.policy.auto_migrate_on_host_down:
            _warn(view)
    check(refusals)


def _switch(word: str | None) -> bool | None:
    return None if word is None else word == "enable"


async def _armed(client: "Client", views: list[HostView]) -> list[HostView]:
    """Give hosts that were told to arm their watchdog the time to do it."""
    # Imported here so that ``--help`` does not wait for it.
    import asyncio  # noqa: PLC0415

    clock = asyncio.get_running_loop().time
    until = clock() + _ARMING_S
    while any(_arms(view) for view in views) and clock() < until:
        await asyncio.sleep(0.25)
        views = [await client.host(view.facts.host_id) if _arms(view) else view for view in views]
    return views


def _arms(view: HostView) -> bool:
    life = view.health
    return (
        view.policy.auto_migrate_on_host_down
        and life is not None
        and life.fence is Fence.NONE
        and life.fence_detail in ARMING
    )


def _warn(view: HostView) -> None:
    name = view.facts.name
    if view.health is None:
        narrate(f"{name} is {view.status}: whether it can be fenced shows when it is back")
    elif warning := unfenced_warning(name, view.health):
        narrate(warning)


@click.command("host-declare-off", short_help="Say that a host is switched off.")
@click.option(
    "--yes-i-switched-off",
    "typed",
    metavar="HOST",
    help="The host's name once more; asked for on a terminal if it is left out.",
)
@click.argument("host", metavar="HOST")
def host_declare_off(*, typed: str | None, host: str) -> None:
    """Give your word that a lost host is switched off: its servers may start elsewhere then.

    HOST is its name or id. If it is not off, a second copy of each server destroys its disk: cut
    the power first. The word is kept with your name, and is void once the host is back. Prints the
    incident's id.
    """
    view = ask(lambda client: client.host(host))
    if typed is None:
        typed = _typed_name(view.facts.name)
    if typed != view.facts.name:
        raise VerbError(
            Exit.BAD_INPUT,
            f"{typed!r} was typed, and the host to declare off is called {view.facts.name!r}: "
            "nothing was done",
        )
    incident = ask(lambda client: client.declare_off(host, typed))
    click.echo(incident.incident_id)
    narrate(
        f"{incident.host_name} is declared off by {incident.declared_off_by or 'you'}; "
        f"see what follows with: godwit incident-show {incident.incident_id}"
    )


def _typed_name(name: str) -> str:
    """Ask for the name on the terminal.

    Raises:
        VerbError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise VerbError(
            Exit.BAD_INPUT,
            f"host-declare-off {name} needs --yes-i-switched-off {name} where nobody can type it",
        )
    narrate(
        f"Servers of {name} may be started elsewhere then. If {name} still runs, a second copy of "
        "each destroys its disk: cut its power first."
    )
    return str(click.prompt("Type the host's name to go on", prompt_suffix=": ", err=True)).strip()


@click.command("host-health", short_help="Show health keys, fences and etcd.")
@json_option
def host_health(*, as_json: bool) -> None:
    """Show how etcd has every host at this moment: its key, the time left, its fence.

    Below stand the members of etcd, and whether rescues are armed.
    """
    report = look(lambda client: client.health())
    if as_json:
        print_json(report)
        return
    print_table(_HOSTS, [_host_row(one) for one in report.hosts])
    click.echo("")
    print_table(_MEMBERS, [_member_row(one) for one in report.members])
    click.echo("")
    click.echo(_guard_text(report))


def _guard_text(report: HealthReport) -> str:
    """Whether rescues are armed, in one escaped line."""
    guard = report.guard
    by = f", by {guard.by}" if guard.by else ""
    since = f" since {moment_text(guard.at_ms)}" if guard.at_ms else ""
    if guard.armed:
        return escape_text(f"Rescues are armed{since}{by}.")
    return escape_text(f"Rescues are disarmed{since}{by}: {guard.reason or 'no reason given'}.")


def _host_row(one: HostHealth) -> tuple[str, ...]:
    last = one.transitions[-1] if one.transitions else None
    return (
        one.host_name,
        health_word(one),
        left_text(one),
        str(one.life.epoch),
        fence_text(one.life),
        policy_text(one.policy),
        f"{moment_text(last.at_ms)} {last.text}" if last else "",
    )


def _member_row(member: EtcdMember) -> tuple[str, ...]:
    if member.error:
        return (member.endpoint, "", "", "", "", member.error)
    return (
        member.endpoint,
        "leader" if member.leader else "",
        str(member.raft_term),
        member.version,
        bytes_text(member.database_bytes),
        "",
    )
