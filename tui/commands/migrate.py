"""``server-migrate``: a cold migration."""

import click

from tui.commands import options
from tui.commands.moves import move
from tui.exits import Exit
from wire.migration import MigrationOptions


@click.command("server-migrate", cls=options.NumberMayLack, short_help="Move a stopped server.")
@click.option("--auto-start", is_flag=True, help="Start the server once it has arrived.")
@options.prefer_host
@options.bandwidth
@options.waiting
@options.server_argument
def server_migrate(
    *,
    auto_start: bool,
    prefer_host: str | None,
    max_bandwidth_bytes_per_s: int | None,
    wait: bool,
    as_json: bool,
    server: str,
) -> Exit:
    """Move a stopped server to another host.

    ID is the server's name or id. Without --prefer-host the scheduler chooses. Without --wait the
    verb prints the migration's id and is done; with it, the exit status is 0 only if the server
    arrived. Local disks are copied, and a copy that breaks off is resumed; shared ones stay.
    """
    return move(
        server,
        "cold",
        MigrationOptions(
            prefer_host=prefer_host or "",
            max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s,
            auto_start=auto_start,
        ),
        wait=wait,
        as_json=as_json,
    )
