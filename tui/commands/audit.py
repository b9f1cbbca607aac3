"""``audit-list``."""

import sys

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list, print_table, terminal_width
from tui.commands.session import look
from tui.formats.audit import objects_text, parameters_text
from tui.formats.table import Column
from tui.formats.units import moment_text
from wire.audit import AuditEntry

_COLUMNS = (
    Column("Time"),
    Column("User", least=6),
    Column("Verb"),
    Column("Object", least=8),
    Column("Parameters", wraps=True),
)
_AT_A_TERMINAL = 200
"""Entries: all that are kept are tens of thousands of lines there."""


@click.command("audit-list", short_help="List who did what, newest first.")
@click.option(
    "--search",
    metavar="TEXT",
    default="",
    help="Only those with it in user, verb, host, server or parameters.",
)
@json_option
def audit_list(*, search: str, as_json: bool) -> None:
    """List what people did to hosts, servers and the fleet, newest first.

    Verb is the one of this command line, also for what was done in the console. A terminal is shown
    the newest 200; a pipe and --json have all.
    """
    text = search.casefold()
    entries = [each for each in look(lambda client: client.audit()) if _matches(each, text)]
    if as_json:
        print_json(entries)
    elif terminal_width(sys.stdout) is None or len(entries) <= _AT_A_TERMINAL:
        print_list(_COLUMNS, [_row(each) for each in entries])
    else:
        print_table(_COLUMNS, [_row(each) for each in entries[:_AT_A_TERMINAL]])
        click.echo(
            f"Total: {len(entries)}, of which the newest {_AT_A_TERMINAL} are shown; a pipe "
            "(| less) and --json have all, --search narrows them"
        )


def _matches(entry: AuditEntry, text: str) -> bool:
    objects = [field for each in entry.objects for field in (each.object_id, each.name)]
    fields = (entry.user, entry.verb, *objects, parameters_text(entry))
    return any(text in field.casefold() for field in fields)


def _row(entry: AuditEntry) -> tuple[str, ...]:
    return (
        moment_text(entry.at_ms),
        entry.user,
        entry.verb,
        objects_text(entry),
        parameters_text(entry),
    )
