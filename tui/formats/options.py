"""The options of a migration in the words of the command line, in which each can be used again."""

from tui.formats.units import mebibytes
from wire.migration import DOWNTIME_BOUND_MS, MigrationOptions

DEFAULT_DOWNTIME_MS = MigrationOptions().downtime_limit_ms


def option_words(options: MigrationOptions) -> list[str]:
    """List each option that deviates from its default: ``--max-bandwidth-mb 100``."""
    cap = options.max_bandwidth_bytes_per_s
    limit, bound = options.downtime_limit_ms, options.downtime_bound_ms
    words = {
        f"--prefer-host {options.prefer_host}": bool(options.prefer_host),
        "--auto-start": options.auto_start,
        "--skip-cpu-check": options.skip_cpu_check,
        "--skip-kernel-check": options.skip_kernel_check,
        "--enable-tls": options.enable_tls,
        "--quickly-finish": options.quickly_finish,
        f"--downtime-limit-ms {limit}": limit != DEFAULT_DOWNTIME_MS,
        f"--downtime-bound-ms {bound}": bound != DOWNTIME_BOUND_MS,
        f"--max-bandwidth-mb {mebibytes(cap or 0)}": cap is not None,
        "--keep-dest-guest-on-failed": options.keep_dest_guest_on_failed,
    }
    return [word for word, given in words.items() if given]
