"""``incident-list`` and ``incident-show``."""

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list, print_report
from tui.commands.session import look
from tui.formats.incident import counts_text, report_markdown, report_text
from tui.formats.table import Column
from tui.formats.units import duration_text, moment_text
from wire.rescue import Incident

_COLUMNS = (
    Column("ID", least=9),
    Column("Host", least=8),
    Column("State"),
    Column("Lost"),
    Column("Dead", right=True),
    Column("First", right=True),
    Column("Last", right=True),
    Column("Servers", wraps=True),
)


@click.command("incident-list", short_help="List hosts that were lost, newest first.")
@json_option
def incident_list(*, as_json: bool) -> None:
    """List hosts that were lost, newest first.

    Dead, First and Last say how long after the loss the host counted as dead, and the first and
    the last of its servers ran elsewhere.
    """
    incidents = look(lambda client: client.incidents())
    if as_json:
        print_json(incidents)
    else:
        print_list(_COLUMNS, [_row(incident) for incident in incidents])


@click.command("incident-show", short_help="Show the report of one lost host.")
@json_option
@click.option("--markdown", is_flag=True, help="Markdown instead of text.")
@click.argument("incident", metavar="ID")
def incident_show(*, as_json: bool, markdown: bool, incident: str) -> None:
    """Show what was detected when, what was rescued where, and what was skipped and why.

    ID is the incident's.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown are two forms of the same: give one")
    found = look(lambda client: client.incident(incident))
    print_report(
        found,
        as_json=as_json,
        markdown=markdown,
        as_text=report_text,
        as_markdown=report_markdown,
    )


def _row(incident: Incident) -> tuple[str, ...]:
    return (
        incident.incident_id,
        incident.host_name,
        incident.state,
        moment_text(incident.lost_at_ms),
        _after(incident, incident.dead_at_ms),
        _after(incident, incident.first_running_at_ms),
        _after(incident, incident.last_running_at_ms),
        counts_text(incident),
    )


def _after(incident: Incident, at_ms: int) -> str:
    return duration_text(max(0, at_ms - incident.lost_at_ms)) if at_ms else ""
