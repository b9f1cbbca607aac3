"""The passes of a migration, found in its samples."""

from collections.abc import Mapping

import msgspec

from wire.migration import Pass, Sample

_STEADY_MS = 100
"""QEMU's own bandwidth is that of the last 100 ms; over less, bytes by time say nothing."""


class PassLog(msgspec.Struct, frozen=True, kw_only=True):
    """The passes so far; the last one is under way until the log is closed.

    A pass begins with each sync of QEMU's dirty bitmap, so the last one is the stop-and-copy, in
    which the guest stands still.
    """

    passes: tuple[Pass, ...] = ()
    began_bytes: int = 0
    """What had been transferred when the last pass began."""
    seen_ms: int = 0
    """When the last sample was taken, and what had been transferred then."""
    seen_bytes: int = 0


def observed(
    log: PassLog, sample: Sample, *, began_ms: Mapping[int, int], after_gap: bool = False
) -> PassLog:
    """The log with one more sample.

    Args:
        log: the passes so far.
        sample: taken after every sample before it.
        began_ms: when passes began, by their number, as far as events told. libvirt answers late
            while a guest stands still; then they began before the sample.
        after_gap: nobody looked for a while: passes may be missing between the last one known and
            this sample's, and the last one known did not last until now.
    """
    last_number = log.passes[-1].number if log.passes else 0
    now_ms, now_bytes = sample.elapsed_ms, sample.memory_processed_bytes
    if after_gap and sample.pass_number > last_number:
        log = _begun(log, sample, sample.pass_number, at_ms=now_ms, at_bytes=now_bytes)
    else:
        for number in range(last_number + 1, sample.pass_number + 1):
            earliest_ms = max(log.seen_ms, log.passes[-1].started_ms) if log.passes else 0
            at_ms = min(max(began_ms.get(number, now_ms), earliest_ms), now_ms)
            at_bytes = _transferred_by(log, sample, at_ms) if log.passes else 0
            log = _extended(log, at_ms, at_bytes)
            log = _begun(log, sample, number, at_ms=at_ms, at_bytes=at_bytes)
    log = _extended(log, now_ms, now_bytes)
    return msgspec.structs.replace(log, seen_ms=now_ms, seen_bytes=now_bytes)


def closed(log: PassLog, *, total_ms: int, transferred_bytes: int) -> PassLog:
    """The log when the migration has ended."""
    return _extended(log, total_ms, transferred_bytes)


def _transferred_by(log: PassLog, sample: Sample, at_ms: int) -> int:
    """Bytes sent by a moment since the last sample, as if the link carried evenly."""
    span_ms = sample.elapsed_ms - log.seen_ms
    span_bytes = sample.memory_processed_bytes - log.seen_bytes
    share = (at_ms - log.seen_ms) / span_ms if span_ms > 0 else 1.0
    return log.seen_bytes + int(share * span_bytes)


def _begun(log: PassLog, sample: Sample, number: int, *, at_ms: int, at_bytes: int) -> PassLog:
    remaining_bytes = sample.memory_remaining_bytes + sample.memory_processed_bytes - at_bytes
    begun = Pass(
        number=number,
        started_ms=at_ms,
        duration_ms=0,
        remaining_at_start_bytes=sample.memory_total_bytes if number == 1 else remaining_bytes,
        transferred_bytes=0,
        dirty_bytes_per_s=sample.dirty_bytes_per_s,
        bandwidth_bytes_per_s=sample.bandwidth_bytes_per_s,
        throttle_percent=sample.throttle_percent,
    )
    return msgspec.structs.replace(log, passes=(*log.passes, begun), began_bytes=at_bytes)


def _extended(log: PassLog, until_ms: int, until_bytes: int) -> PassLog:
    """The log whose last pass lasted until then."""
    if not log.passes:
        return log
    last = log.passes[-1]
    duration_ms = max(last.duration_ms, until_ms - last.started_ms)
    transferred_bytes = max(last.transferred_bytes, until_bytes - log.began_bytes)
    lasting = msgspec.structs.replace(
        last,
        duration_ms=duration_ms,
        transferred_bytes=transferred_bytes,
        bandwidth_bytes_per_s=transferred_bytes * 1000 // duration_ms
        if duration_ms >= _STEADY_MS
        else last.bandwidth_bytes_per_s,
    )
    return msgspec.structs.replace(log, passes=(*log.passes[:-1], lasting))
