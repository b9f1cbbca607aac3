"""``server-list`` and ``server-show``."""

import click

from tui.commands.options import json_option, server_argument
from tui.commands.output import print_json, print_list, print_record
from tui.commands.session import look
from tui.formats.disks import disk_text
from tui.formats.table import Column
from tui.formats.units import bytes_text, mebibytes
from wire.fleet import ServerView

_BRIEF = (
    Column("ID", least=9),
    Column("Name", least=12),
    Column("Status"),
    Column("Host", least=8),
    Column("vcpu_count", right=True),
    Column("vmem_size", right=True),
)
_MORE = (
    Column("Disk", right=True),
    Column("storage"),
    Column("targets"),
    Column("migration"),
    Column("generation", right=True),
    Column("rescue_priority"),
    Column("reason"),
)


@click.command("server-list", short_help="List servers.")
@click.option("--search", metavar="TEXT", default="", help="Only names and ids with it.")
@click.option("--details", is_flag=True, help="All columns, with the hosts it may move to.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def server_list(*, search: str, details: bool, as_json: bool) -> None:
    """List servers. Memory and disks are in MiB."""
    wanted = search.casefold()
    servers = [
        server
        for server in look(lambda client: client.servers())
        if wanted in server.name.casefold() or wanted in server.server_id
    ]
    servers.sort(key=lambda server: (server.name, server.server_id))
    if as_json:
        print_json(servers)
    elif details:
        print_list(_BRIEF + _MORE, [_brief(server) + _more(server) for server in servers])
    else:
        print_list(_BRIEF, [_brief(server) for server in servers])


@click.command("server-show", short_help="Show one server.")
@json_option
@server_argument
def server_show(*, as_json: bool, server: str) -> None:
    """Show one server: its state, its disks, and where it may move. ID is its name or id."""
    found = look(lambda client: client.server(server))
    if as_json:
        print_json(found)
        return
    told = [
        ("id", found.server_id),
        ("name", found.name),
        ("status", found.status),
        ("reason", found.status_reason),
        ("host", found.host_name),
        ("targets", ", ".join(found.target_host_names)),
        ("vcpu_count", str(found.vcpu_count)),
        ("memory", bytes_text(found.memory_bytes)),
        ("storage", found.storage),
        *((disk.target, disk_text(disk)) for disk in found.disks),
        ("migration", found.migration_id),
        ("generation", str(found.generation)),
        ("rescue priority", found.rescue_priority),
        ("wanted", "on" if found.wanted_on else "off"),
    ]
    print_record([(name, value) for name, value in told if value])


def _brief(server: ServerView) -> tuple[str, ...]:
    return (
        server.server_id,
        server.name,
        server.status,
        server.host_name,
        str(server.vcpu_count),
        mebibytes(server.memory_bytes),
    )


def _more(server: ServerView) -> tuple[str, ...]:
    return (
        mebibytes(sum(disk.capacity_bytes for disk in server.disks)),
        server.storage,
        ",".join(server.target_host_names),
        server.migration_id,
        str(server.generation),
        server.rescue_priority,
        server.status_reason,
    )
