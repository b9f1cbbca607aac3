"""``host-evacuate``: plan how hosts are emptied, and empty them."""

import click
import msgspec

from tui.commands import options, plan_options
from tui.commands.beginning import begin, conclude
from tui.commands.plans import check_startable, confirm, show
from tui.commands.session import look
from tui.exits import Exit
from wire.evacuation import MoveOptions, PlanEdit, PlanRequest


@click.command("host-evacuate", cls=options.NumberMayLack, short_help="Move every server away.")
@plan_options.starting
@plan_options.every_move
@options.host_bandwidth
@click.option(
    "--keep-spare",
    is_flag=True,
    help="Leave room on the targets for the servers of any one more host that may die.",
)
@plan_options.empty_by
@plan_options.edits(targets=True)
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
def host_evacuate(
    *,
    hosts: tuple[str, ...],
    wished: MoveOptions,
    max_bandwidth_bytes_per_s: int | None,
    keep_spare: bool,
    empty_by_ms: int | None,
    edits: tuple[PlanEdit, ...],
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> Exit:
    """Move every server away from these hosts, and let none come to them any more.

    HOST is a name or an id; several are planned together. First comes the plan, then each host's
    name is asked for; --dry-run ends with the plan. Running servers move live, stopped ones cold,
    those of a dead host are rescued; what cannot leave stays, with the reason. The hosts stay in
    maintenance until host-exit-maintenance. With --wait the exit status is 0 only if every server
    has left that nobody wished to stay.
    """
    plan_options.check_start(wished, edits, dry_run=dry_run, wait=wait)
    wanted = PlanRequest(
        hosts=hosts,
        options=wished,
        max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s,
        keep_spare=keep_spare,
        empty_by_ms=empty_by_ms or 0,
        edits=edits,
    )
    plans = look(lambda client: client.plan(wanted))
    if dry_run:
        return show(plans, as_json=as_json, empty_by_ms=wanted.empty_by_ms)
    check_startable(plans)
    names = confirm("host-evacuate", plans, yes=yes, empty_by_ms=wanted.empty_by_ms)
    confirmed = msgspec.structs.replace(wanted, confirmed=names)
    begun = begin(lambda client: client.evacuate(confirmed))
    return conclude(begun, plans, wait=wait, as_json=as_json)
