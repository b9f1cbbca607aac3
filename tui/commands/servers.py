"""``server-list``."""

import click

from tui.commands.output import print_json, print_list
from tui.commands.session import look
from tui.formats.table import Column
from tui.formats.units import mebibytes
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
        server.status_reason,
    )
