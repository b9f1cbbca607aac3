"""What would bring over a guest that does not converge, in one sentence with the numbers."""

import math
from collections.abc import Sequence

from backend.forecast.curve import Curve
from backend.forecast.passes import QUICK_MARGIN, floor_s
from backend.forecast.throttling import MOST_PERCENT
from wire.migration import Pass

_MIB = 1 << 20
_MARGIN = 1.1
QUICKLY_FINISH = "quickly finish (f in its options, --quickly-finish)"
"""As the console's options and the command line name it."""
LONGEST_PAUSE_MS = 10_000
"""Beyond that nobody would call it a live move."""


def lever(
    curve: Curve,
    uncapped_bytes_per_s: float,
    bytes_per_s: float,
    limit_s: float,
    *,
    link_seen: bool,
    fixed_pause_ms: int,
    held_back_percent: int | None,
) -> str:
    """Name the cheapest lever first: the whole link, a longer pause, then what gives up being live.

    Args:
        curve: how the guest dirties its memory.
        uncapped_bytes_per_s: what it would get without its own cap.
        bytes_per_s: what it gets.
        limit_s: the pause that does not suffice.
        link_seen: moves have shown what the link carries.
        fixed_pause_ms: what a pause takes beyond sending what remains.
        held_back_percent: how far QEMU would hold the guest back until it converges; None if it
            does not even then.
    """
    unless = (
        f"even held back by {MOST_PERCENT} %"
        if held_back_percent is None
        else f"before QEMU holds it back by {held_back_percent} %"
    )
    told = (
        f"it dirties {_mib(curve.rate_bytes_per_s)} and gets {_mib(bytes_per_s)}, so that it does "
        f"not come down to {limit_s * 1000:.0f} ms {unless}"
    )
    if uncapped_bytes_per_s > bytes_per_s and floor_s(curve, uncapped_bytes_per_s) <= limit_s:
        uncapped = f"{told}: without its cap it gets {_mib(uncapped_bytes_per_s)}"
        if link_seen:
            return f"{uncapped}, which is enough"
        return f"{uncapped} by the word of its card, which nothing has shown yet, and is enough"
    floor_ms = floor_s(curve, bytes_per_s) * 1000 + fixed_pause_ms
    return f"{told}{_longer(floor_ms)}"


def lever_shown(why: str, passes: Sequence[Pass], *, fixed_pause_ms: int) -> str:
    """Name the levers for one that did not converge on its way, whatever its curve says.

    Args:
        why: in one clause.
        passes: with whose last one it was given up.
        fixed_pause_ms: what a pause takes beyond sending what remains.
    """
    rate = max(1, *(one.bandwidth_bytes_per_s for one in passes))
    return f"{why}{_longer(1000 * passes[-1].remaining_at_start_bytes / rate + fixed_pause_ms)}"


def _longer(floor_ms: float) -> str:
    """Say what brings it over where only a pause of so long does, as the end of a sentence."""
    needed_ms = math.ceil(floor_ms * _MARGIN)
    if needed_ms > LONGEST_PAUSE_MS:
        return (
            f", and would stand still for {needed_ms / 1000:.0f} s: switch it to post-copy "
            "by hand, or stop it and move it cold"
        )
    bound_ms = math.ceil(needed_ms * (1 + QUICK_MARGIN))
    return (
        f": a downtime limit of {needed_ms} ms lets it finish, or {QUICKLY_FINISH} with a "
        f"bound of {bound_ms} ms; else switch it to post-copy by hand, or stop it and move it cold"
    )


def _mib(bytes_per_s: float) -> str:
    return f"{bytes_per_s / _MIB:.1f} MiB/s"
