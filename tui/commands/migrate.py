"""``server-migrate``: a cold migration, or the rescue of a server whose host is down."""

import click

from tui.commands import options
from tui.commands.moves import move, rescue
from tui.exits import Exit
from wire.migration import MigrationOptions
from wire.rescue import RescueOptions


@click.command("server-migrate", cls=options.NumberMayLack, short_help="Move a stopped server.")
@click.option("--auto-start", is_flag=True, help="Start the server once it has arrived.")
@click.option(
    "--rescue-mode",
    is_flag=True,
    help="Of a server whose host is down: start it anew elsewhere; all its disks must be shared.",
)
@click.option(
    "--host-is-off",
    metavar="HOST",
    help="With --rescue-mode, if death is not proven: I have switched this host off myself.",
)
@options.prefer_host
@options.bandwidth
@options.waiting
@options.server_argument
def server_migrate(
    *,
    auto_start: bool,
    rescue_mode: bool,
    host_is_off: str | None,
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

    With --rescue-mode nothing is copied: the server is defined elsewhere, and with --auto-start
    started there from its disks. It is refused while its host may still run it: --host-is-off gives
    your word that it does not. If that is not true, two copies destroy the disks.
    """
    if rescue_mode:
        if max_bandwidth_bytes_per_s is not None:
            raise click.UsageError("--rescue-mode copies nothing that --max-bandwidth-mb could cap")
        asked = RescueOptions(
            prefer_host=prefer_host or "", auto_start=auto_start, host_is_off=host_is_off or ""
        )
        return rescue(server, asked, wait=wait, as_json=as_json)
    if host_is_off is not None:
        raise click.UsageError(f"--host-is-off {host_is_off} goes with --rescue-mode only")
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
