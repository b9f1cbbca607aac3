"""``server-live-migrate``."""

import click

from tui.commands import options
from tui.commands.moves import move
from tui.exits import Exit
from tui.formats.options import DEFAULT_DOWNTIME_MS
from wire.migration import DOWNTIME_BOUND_MS, MigrationOptions


@click.command(
    "server-live-migrate", cls=options.NumberMayLack, short_help="Move a running server."
)
@options.skipped_checks
@click.option("--enable-tls", is_flag=True, help="Encrypt memory and disks on their way.")
@click.option(
    "--quickly-finish",
    is_flag=True,
    help="After a few passes raise the downtime limit to what the pass at hand needs.",
)
@options.downtime(
    "--downtime-limit-ms", f"Pause to aim at; {DEFAULT_DOWNTIME_MS} if it is not given."
)
@options.downtime(
    "--downtime-bound-ms",
    f"Highest limit for --quickly-finish; {DOWNTIME_BOUND_MS} if it is not given.",
)
@options.bandwidth
@click.option(
    "--keep-dest-guest-on-failed",
    is_flag=True,
    help="Keep what a failed migration left on the target, for debugging.",
)
@options.prefer_host
@options.waiting
@options.server_argument
def server_live_migrate(
    *,
    skip_cpu_check: bool,
    skip_kernel_check: bool,
    enable_tls: bool,
    quickly_finish: bool,
    downtime_limit_ms: int | None,
    downtime_bound_ms: int | None,
    max_bandwidth_bytes_per_s: int | None,
    keep_dest_guest_on_failed: bool,
    prefer_host: str | None,
    wait: bool,
    as_json: bool,
    server: str,
) -> Exit:
    """Move a running or suspended server to another host without stopping it.

    ID is the server's name or id. Without --prefer-host the scheduler chooses. Without --wait the
    verb prints the migration's id and is done; with it, the exit status is 0 only if the server
    arrived. Local disks are copied and shared ones stay. --max-bandwidth-mb without a number means
    no cap.
    """
    limit_ms = downtime_limit_ms or DEFAULT_DOWNTIME_MS
    bound_ms = downtime_bound_ms or DOWNTIME_BOUND_MS
    if downtime_bound_ms is not None and not quickly_finish:
        raise click.UsageError(
            f"--downtime-bound-ms {bound_ms} bounds --quickly-finish, which is not given"
        )
    if quickly_finish and bound_ms < limit_ms:
        raise click.UsageError(
            f"--downtime-bound-ms is {bound_ms}, and should be at least the limit of {limit_ms} ms"
        )
    return move(
        server,
        "live",
        MigrationOptions(
            prefer_host=prefer_host or "",
            max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s,
            skip_cpu_check=skip_cpu_check,
            skip_kernel_check=skip_kernel_check,
            enable_tls=enable_tls,
            quickly_finish=quickly_finish,
            downtime_limit_ms=limit_ms,
            downtime_bound_ms=bound_ms,
            keep_dest_guest_on_failed=keep_dest_guest_on_failed,
        ),
        wait=wait,
        as_json=as_json,
    )
