"""Verbs that steer an evacuation while it runs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from tui.commands import options, plan_options
from tui.commands.evacuations import find_evacuation
from tui.commands.output import narrate
from tui.commands.session import ask
from tui.commands.several import change_each, check
from tui.formats.evacuation import counts_text, title_of
from tui.formats.units import moment_text, rate_text
from wire.evacuation import Evacuation, EvacuationChange, MoveState, PlanEdit

if TYPE_CHECKING:
    from tui.client import Client

Act = Callable[["Client", str], Awaitable[Evacuation]]
"""Acts on the evacuation of an id."""
_SEVERAL = click.argument("evacuations", metavar="ID|HOST...", nargs=-1, required=True)
_ONE = click.argument("evacuation", metavar="ID|HOST")
_SERVERS = click.argument("servers", metavar="[SERVER...]", nargs=-1)


@click.command("evacuation-pause", short_help="Let nothing new begin.")
@_SEVERAL
def evacuation_pause(*, evacuations: tuple[str, ...]) -> None:
    """Let no further server begin to move; what moves goes on to its end.

    HOST means what is open about that host, here as in the verbs below.
    """
    _steer(
        evacuations,
        lambda client, key: client.pause_evacuation(key),
        "is paused: what moves goes on to its end, and nothing new begins",
    )


@click.command("evacuation-resume", short_help="Let servers begin to move again.")
@_SEVERAL
def evacuation_resume(*, evacuations: tuple[str, ...]) -> None:
    """Let servers begin to move again after evacuation-pause."""
    _steer(evacuations, lambda client, key: client.resume_evacuation(key), "goes on")


@click.command("evacuation-replan", short_help="Plan anew what has not begun.")
@_SEVERAL
def evacuation_replan(*, evacuations: tuple[str, ...]) -> None:
    """Plan anew what has not begun, with what is known now; chosen targets and ways stay."""
    _steer(evacuations, lambda client, key: client.replan_evacuation(key), "is planned anew")


@click.command("evacuation-cancel", short_help="Keep servers that have not left.")
@_ONE
@_SERVERS
def evacuation_cancel(*, evacuation: str, servers: tuple[str, ...]) -> None:
    """Cancel the moves of these servers, or without one the whole evacuation.

    What has left stays where it is now; host-return brings it back. The host stays in maintenance.
    """
    what = f"keeps {', '.join(servers)}" if servers else "is being cancelled"
    _steer((evacuation,), lambda client, key: client.cancel_evacuation(key, servers), what)


@click.command("evacuation-retry", short_help="Move again what failed or was cancelled.")
@_ONE
@_SERVERS
def evacuation_retry(*, evacuation: str, servers: tuple[str, ...]) -> None:
    """Move servers again whose moves failed or were cancelled; without one all of them."""
    what = f"tries {', '.join(servers)} again" if servers else "tries again what did not work"
    told = _steer((evacuation,), lambda client, key: client.retry_evacuation(key, servers), what)
    _tell_plans(told, servers)


@click.command("evacuation-change", short_help="Change cap, deadline, or single servers.")
@options.host_bandwidth
@click.option("--no-bandwidth-limit", is_flag=True, help="Take the cap away.")
@plan_options.empty_by
@click.option("--no-deadline", is_flag=True, help="Take the deadline away.")
@plan_options.edits(targets=True)
@_ONE
def evacuation_change(
    *,
    max_bandwidth_bytes_per_s: int | None,
    no_bandwidth_limit: bool,
    empty_by_ms: int | None,
    no_deadline: bool,
    edits: tuple[PlanEdit, ...],
    evacuation: str,
) -> None:
    """Change the cap, the deadline, or what is planned for servers that have not left.

    At least one of the options is needed.
    """
    if no_bandwidth_limit and max_bandwidth_bytes_per_s is not None:
        raise click.UsageError(
            "--max-bandwidth-mb sets a cap and --no-bandwidth-limit takes it away: give one of them"
        )
    if no_deadline and empty_by_ms is not None:
        raise click.UsageError(
            "--empty-by sets a deadline and --no-deadline takes it away: give one of them"
        )
    changed = EvacuationChange(
        max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s,
        no_bandwidth_limit=no_bandwidth_limit,
        empty_by_ms=0 if no_deadline else empty_by_ms,
        edits=edits,
    )
    if changed == EvacuationChange():
        raise click.UsageError(
            "nothing to change: give a cap, a deadline, or what is wished for a server"
        )
    told = _steer(
        (evacuation,),
        lambda client, key: client.change_evacuation(key, changed),
        f"has {', '.join(_words(changed))} from now on",
    )
    _tell_plans(told, [edit.server for edit in edits])
    for each in told:
        if each.deadline:
            narrate(each.deadline)


def _tell_plans(told: list[Evacuation], names: Sequence[str]) -> None:
    """Say where those that were named go now, and of the others who has no target any more."""
    for server in (server for each in told for server in each.servers):
        plan = server.plan
        named = plan.server_name in names or plan.server_id in names
        if server.state is MoveState.STAYED and named:
            narrate(f"{plan.server_name} now stays: {server.reason or plan.why}")
        elif server.state is MoveState.WAITING and not plan.target_host_name:
            narrate(f"{plan.server_name} waits: {server.reason or 'a target is being chosen'}")
        elif server.state.open and named:
            why = f": {plan.why}" if plan.why else ""
            narrate(f"{plan.server_name} goes to {plan.target_host_name}{why}")


def _words(changed: EvacuationChange) -> list[str]:
    words = []
    if changed.max_bandwidth_bytes_per_s is not None:
        words.append(f"a cap of {rate_text(changed.max_bandwidth_bytes_per_s)}")
    if changed.no_bandwidth_limit:
        words.append("no cap")
    if changed.empty_by_ms is not None:
        by = moment_text(changed.empty_by_ms)
        words.append(f"to be done by {by}" if changed.empty_by_ms else "no deadline")
    if changed.edits:
        words.append(f"another plan for {', '.join(edit.server for edit in changed.edits)}")
    return words


def _steer(names: tuple[str, ...], act: Act, done: str) -> list[Evacuation]:
    """Act on each, and say what was done and how far it is."""

    async def find_and_act(client: "Client", name: str) -> Evacuation:
        found = await find_evacuation(client, name)
        return await act(client, found.evacuation_id)

    told, refusals = ask(lambda client: change_each(names, lambda name: find_and_act(client, name)))
    for each in told:
        narrate(f"{title_of(each.kind, each.host_name)} {done}; {counts_text(each)}")
    check(refusals)
    return told
