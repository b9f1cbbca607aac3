"""``evacuation-list`` and ``evacuation-show``, and how a verb finds the one that is meant."""

from typing import TYPE_CHECKING

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list, print_report
from tui.commands.session import look
from tui.formats.evacuation import counts_text
from tui.formats.evacuation_report import report_markdown, report_text
from tui.formats.table import Column
from tui.formats.units import moment_text
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation

if TYPE_CHECKING:
    from tui.client import Client

_COLUMNS = (
    Column("ID", least=9),
    Column("Host", least=8),
    Column("Kind"),
    Column("State"),
    Column("Started"),
    Column("Done"),
    Column("By", least=6),
    Column("Servers", wraps=True),
)


@click.command("evacuation-list", short_help="List evacuations and returns, newest first.")
@json_option
def evacuation_list(*, as_json: bool) -> None:
    """List evacuations, rescues of dead hosts and returns, newest first.

    Done is when it ended, or with ~ when it will as reckoned now.
    """
    evacuations = look(lambda client: client.evacuations())
    if as_json:
        print_json(evacuations)
    else:
        print_list(_COLUMNS, [_row(each) for each in evacuations])


@click.command("evacuation-show", short_help="Show how far one is, or its report.")
@json_option
@click.option("--markdown", is_flag=True, help="Markdown instead of text.")
@click.argument("evacuation", metavar="ID|HOST")
def evacuation_show(*, as_json: bool, markdown: bool, evacuation: str) -> None:
    """Show what became of each server, against its forecast, and who steered it how.

    HOST, a name or an id, means what is open about that host, or else its latest.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown are two forms of the same: give one")
    found = look(lambda client: find_evacuation(client, evacuation))
    print_report(
        found,
        as_json=as_json,
        markdown=markdown,
        as_text=report_text,
        as_markdown=report_markdown,
    )


async def find_evacuation(client: "Client", name: str) -> Evacuation:
    """Give the evacuation of an id, or what is open about a host, or else the host's latest.

    Raises:
        GodwitError: NOT_FOUND if neither is called so, or nothing was begun about that host.
    """
    known = await client.evacuations()
    own = [each for each in known if name in {each.host_name, each.host_id}]
    of_id = [each for each in known if each.evacuation_id == name]
    for each in (*of_id, *(one for one in own if one.open), *own):
        return each
    try:
        return await client.evacuation(name)
    except GodwitError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
    hosts = await client.hosts()
    if any(name in {host.facts.name, host.facts.host_id} for host in hosts):
        raise GodwitError(ErrorCode.NOT_FOUND, f"{name} was never emptied, and is not now")
    raise GodwitError(ErrorCode.NOT_FOUND, f"no evacuation and no host is called {name!r}")


def _row(evacuation: Evacuation) -> tuple[str, ...]:
    return (
        evacuation.evacuation_id,
        evacuation.host_name,
        evacuation.kind,
        evacuation.state,
        moment_text(evacuation.created_at_ms, brief=True),
        _done_text(evacuation),
        evacuation.requested_by,
        counts_text(evacuation),
    )


def _done_text(evacuation: Evacuation) -> str:
    if not evacuation.open:
        return moment_text(evacuation.ended_at_ms, brief=True)
    finish_at_ms = evacuation.finish_at_ms
    return f"~{moment_text(finish_at_ms, brief=True)}" if finish_at_ms else ""
