"""``audit-list``."""

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list
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


@click.command("audit-list", short_help="List who did what, newest first.")
@click.option(
    "--search", metavar="TEXT", default="", help="Only users, verbs, hosts and servers with it."
)
@json_option
def audit_list(*, search: str, as_json: bool) -> None:
    """List what people did to hosts, servers and the fleet, newest first.

    Verb is the one of this command line, also for what was done in the console.
    """
    text = search.casefold()
    entries = [each for each in look(lambda client: client.audit()) if _matches(each, text)]
    if as_json:
        print_json(entries)
    else:
        print_list(_COLUMNS, [_row(each) for each in entries])


def _matches(entry: AuditEntry, text: str) -> bool:
    objects = [field for each in entry.objects for field in (each.object_id, each.name)]
    return any(text in field.casefold() for field in (entry.user, entry.verb, *objects))


def _row(entry: AuditEntry) -> tuple[str, ...]:
    return (
        moment_text(entry.at_ms),
        entry.user,
        entry.verb,
        objects_text(entry),
        parameters_text(entry),
    )
