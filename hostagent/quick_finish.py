"""``quickly_finish``: let the pause be as long as the pass at hand needs, up to a bound.

QEMU switches over when what remains takes less than the downtime limit at the bandwidth that it
measured. A guest that dirties memory faster than the link carries it never gets there, however many
passes are made; what remains at the beginning of a pass then hardly changes any more.
"""

import math
from collections.abc import Sequence

from wire.migration import Pass, Sample

FINISHED_PASSES = 3
"""The first pass is all of memory, the second what was dirtied in that long time, and only the
third tells what remains when passes are short."""
MARGIN = 0.25
"""On a link of 400 Mbit/s real pauses were 4 to 25 % longer than what remained at the measured
bandwidth: the last pass carries less (36 to 42 MiB/s after 44 to 46), and device state and the
start on the other side come on top. With this margin none was longer than the limit."""


def raised_limit_ms(
    passes: Sequence[Pass], sample: Sample, *, limit_ms: int, bound_ms: int
) -> int | None:
    """The downtime limit that lets the pass that has just begun be the last; None to wait.

    Args:
        passes: all so far; the last one has just begun.
        sample: the first one in it.
        limit_ms: what holds now.
        bound_ms: what it may never be above.
    """
    if len(passes) <= FINISHED_PASSES:
        return None
    begun, before = passes[-1], passes[-2]
    known = [rate for rate in (before.bandwidth_bytes_per_s, sample.bandwidth_bytes_per_s) if rate]
    if not known:
        return None
    # QEMU compares with what the link carried in the last 100 ms, which may be less than a pass's
    remaining_bytes = max(begun.remaining_at_start_bytes, sample.memory_remaining_bytes)
    needed_ms = math.ceil(1000 * remaining_bytes / min(known) * (1 + MARGIN))
    return needed_ms if limit_ms < needed_ms <= bound_ms else None
