"""``host-return``: bring back to a host what left it."""

from typing import TYPE_CHECKING

import click

from tui.commands import options, plan_options
from tui.commands.beginning import begin, conclude
from tui.commands.plans import check_startable, confirm, show
from tui.commands.session import look
from tui.exits import Exit
from wire.evacuation import Evacuation, MoveOptions, PlanEdit, ReturnRequest

if TYPE_CHECKING:
    from tui.client import Client


@click.command("host-return", cls=options.NumberMayLack, short_help="Bring back what left a host.")
@plan_options.starting
@plan_options.every_move
@options.host_bandwidth
@plan_options.edits(targets=False)
@click.argument("host", metavar="HOST")
def host_return(
    *,
    host: str,
    wished: MoveOptions,
    max_bandwidth_bytes_per_s: int | None,
    edits: tuple[PlanEdit, ...],
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> Exit:
    """Bring back to a host the servers that its evacuation moved away.

    HOST is a name or an id; end its maintenance first, with host-exit-maintenance. The plan and
    the confirmation are those of host-evacuate.
    """
    plan_options.check_start(wished, edits, dry_run=dry_run, wait=wait)
    wanted = ReturnRequest(
        options=wished, max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s, edits=edits
    )
    plan = look(lambda client: client.return_plan(host, wanted))
    if dry_run:
        return show([plan], as_json=as_json, alone=True)
    check_startable([plan])
    confirm("host-return", [plan], yes=yes)

    async def bring_back(client: "Client") -> list[Evacuation]:
        return [await client.bring_back(host, wanted)]

    return conclude(begin(bring_back), [plan], wait=wait, as_json=as_json, alone=True)
