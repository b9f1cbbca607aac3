"""The passes of a migration, found in its samples."""

import msgspec

from wire.migration import Pass, Sample


class PassLog(msgspec.Struct, frozen=True, kw_only=True):
    """The passes so far; the last one is under way until the log is closed.

    A pass begins with each sync of QEMU's dirty bitmap, so the last one is the stop-and-copy, in
    which the guest stands still.
    """

    passes: tuple[Pass, ...] = ()
    began_bytes: int = 0
    """What had been transferred when the last pass began."""


def observed(log: PassLog, sample: Sample, *, after_gap: bool = False) -> PassLog:
    """The log with one more sample.

    Args:
        log: the passes so far.
        sample: taken after every sample before it.
        after_gap: nobody looked for a while: passes may be missing between the last one known and
            this sample's, and the last one known did not last until now.
    """
    last = log.passes[-1] if log.passes else None
    if last is not None and sample.pass_number <= last.number:
        return _extended(log, elapsed_ms=sample.elapsed_ms, bytes_=sample.memory_processed_bytes)
    if last is not None and not after_gap:
        log = _extended(log, elapsed_ms=sample.elapsed_ms, bytes_=sample.memory_processed_bytes)
        # passes shorter than the time between two samples
        first = last.number + 1
    else:
        first = sample.pass_number
    began = tuple(_begun(number, sample) for number in range(first, sample.pass_number + 1))
    return PassLog(
        passes=log.passes + began,
        began_bytes=sample.memory_processed_bytes if last is not None or after_gap else 0,
    )


def closed(log: PassLog, *, total_ms: int, transferred_bytes: int) -> PassLog:
    """The log when the migration has ended."""
    return _extended(log, elapsed_ms=total_ms, bytes_=transferred_bytes)


def _begun(number: int, sample: Sample) -> Pass:
    # the first sample comes when the first pass is well under way
    first = number == 1
    return Pass(
        number=number,
        started_ms=0 if first else sample.elapsed_ms,
        duration_ms=0,
        remaining_at_start_bytes=sample.memory_total_bytes
        if first
        else sample.memory_remaining_bytes,
        transferred_bytes=0,
        dirty_bytes_per_s=sample.dirty_bytes_per_s,
        bandwidth_bytes_per_s=sample.bandwidth_bytes_per_s,
        throttle_percent=sample.throttle_percent,
    )


def _extended(log: PassLog, *, elapsed_ms: int, bytes_: int) -> PassLog:
    if not log.passes:
        return log
    last = log.passes[-1]
    duration_ms = max(last.duration_ms, elapsed_ms - last.started_ms)
    transferred = max(last.transferred_bytes, bytes_ - log.began_bytes)
    lasting = msgspec.structs.replace(
        last,
        duration_ms=duration_ms,
        transferred_bytes=transferred,
        bandwidth_bytes_per_s=transferred * 1000 // duration_ms
        if duration_ms
        else last.bandwidth_bytes_per_s,
    )
    return msgspec.structs.replace(log, passes=(*log.passes[:-1], lasting))
