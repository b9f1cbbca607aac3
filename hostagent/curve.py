"""A running job's statistics over time: its samples and its passes."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from hostagent.passes import PassLog, closed, observed
from hostagent.statistics import disks_begun, memory_iteration, running_sample
from wire.migration import Sample, Statistics

_MOST_SAMPLES = 4_000
"""A quarter of an hour's; then every second one is dropped."""
_DISK_WINDOW_MS = 2_000
"""QEMU copies disks in bursts of 16 MiB: over less, bytes by time say nothing."""


class Curve:
    """What was seen of a job. Passes are dated by libvirt's events."""

    def __init__(self, log: PassLog, *, origin: int) -> None:
        """Begin, or go on from what an earlier process saw."""
        self.log = log
        self.origin = origin
        """``memory_iteration`` of the first pass; 0 before it."""
        self.samples: list[Sample] = []
        self._unseen_passes = False
        self._began_s: dict[int, float] = {}

    def take_up(self) -> None:
        """An earlier process saw the first pass, or nobody did."""
        self._unseen_passes = True
        self.origin = self.origin or 1

    def miss(self) -> None:
        """Nobody could look: passes may have gone by."""
        self._unseen_passes = True

    def pass_began(self, iteration: int) -> None:
        """QEMU said so just now."""
        self._began_s[iteration] = time.monotonic()

    def observe(
        self, stats: Mapping[str, Any], *, downtime_limit_ms: int, postcopy: bool
    ) -> Sample | None:
        """Take libvirt's statistics; None while nothing is copied yet."""
        iteration = memory_iteration(stats)
        if not iteration and not disks_begun(stats):
            return None
        if iteration:
            self.origin = self.origin or min(self._began_s, default=iteration)
        sample = running_sample(
            stats, origin=self.origin, downtime_limit_ms=downtime_limit_ms, postcopy=postcopy
        )
        disk_rate = self._disk_bytes_per_s(sample)
        sample = msgspec.structs.replace(sample, disk_bandwidth_bytes_per_s=disk_rate)
        self.samples.append(sample)
        if len(self.samples) > _MOST_SAMPLES:
            del self.samples[::2]
        now_s = time.monotonic()
        began_ms = {
            begun - self.origin + 1: sample.elapsed_ms - int(1000 * (now_s - at_s))
            for begun, at_s in self._began_s.items()
        }
        self.log = observed(self.log, sample, began_ms=began_ms, after_gap=self._unseen_passes)
        self._began_s = {begun: at for begun, at in self._began_s.items() if begun > iteration}
        self._unseen_passes = False
        return sample

    def _disk_bytes_per_s(self, now: Sample) -> int:
        """Rate over the last two seconds; 0 when nothing of a disk remains."""
        since_ms = now.elapsed_ms - _DISK_WINDOW_MS
        recent = (each for each in reversed(self.samples) if each.elapsed_ms <= since_ms)
        before = next(recent, self.samples[0] if self.samples else None)
        if before is None or not now.disk_remaining_bytes:
            return 0
        sent = _disk_sent(now) - _disk_sent(before)
        return max(0, sent) * 1000 // max(1, now.elapsed_ms - before.elapsed_ms)

    def close(self, statistics: Statistics) -> None:
        """The job is over."""
        self.log = closed(
            self.log,
            total_ms=statistics.total_ms,
            transferred_bytes=statistics.memory_transferred_bytes,
        )

    def final_statistics(self, told: Statistics | None) -> Statistics | None:
        """libvirt's, or what the last sample told; None if nothing is known."""
        throttle = max((sample.throttle_percent for sample in self.samples), default=0)
        last = self.samples[-1] if self.samples else None
        disk_sent = 0 if last is None else _disk_sent(last)
        if told is not None:
            return msgspec.structs.replace(
                told,
                pass_count=told.pass_count - max(self.origin, 1) + 1,
                throttle_max_percent=max(throttle, told.throttle_max_percent),
                # libvirt forgets about disks once their mirrors have ended
                disk_transferred_bytes=told.disk_transferred_bytes or disk_sent,
            )
        if last is None:
            return None
        return Statistics(
            total_ms=last.elapsed_ms,
            memory_total_bytes=last.memory_total_bytes,
            memory_transferred_bytes=last.memory_processed_bytes,
            memory_bandwidth_bytes_per_s=last.bandwidth_bytes_per_s,
            disk_transferred_bytes=disk_sent,
            pass_count=last.pass_number,
            throttle_max_percent=throttle,
        )


def _disk_sent(sample: Sample) -> int:
    return sample.disk_total_bytes - sample.disk_remaining_bytes
