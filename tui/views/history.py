"""What is drawn of one migration: the samples of its memory, or of its disks."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from tui.plot import Point
from wire.migration import Migration, MigrationState, Pass, Sample

Subject = Literal["memory", "disks"]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Samples and passes of one subject; its clock begins with the first of them."""

    subject: Subject = "memory"
    samples: Sequence[Sample]
    passes: Sequence[Pass] = ()
    memory_bytes: int = 0
    """All of the guest's memory: the scale of the first curve."""
    downtime_limit_ms: int
    cap_bytes_per_s: int | None = None
    ended: bool = False

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        return self.samples[-1] if self.samples else None

    @property
    def total_bytes(self) -> int:
        """All that is to be copied: the scale of the first curve."""
        if self.subject == "memory":
            return self.memory_bytes
        return max((each.disk_total_bytes for each in self.samples), default=0)

    @property
    def left_bytes(self) -> int | None:
        """What remains now; None while nobody knows.

        Of disks never more than before: a copy that is resumed recounts what it has.
        """
        if self.last is None:
            return None
        if self.subject == "memory":
            return self.last.memory_remaining_bytes
        return min(each.disk_remaining_bytes for each in self.samples)

    @property
    def elapsed_ms(self) -> int:
        """Length of what is known, by the source's clock."""
        ends = [each.started_ms + each.duration_ms for each in self.passes]
        return max([*ends, self.last.elapsed_ms if self.last else 0])

    @property
    def remaining(self) -> list[Point]:
        """Bytes remaining over time: from samples, or roughly from the passes."""
        if self.subject == "disks":
            return [(each.elapsed_ms, each.disk_remaining_bytes) for each in self.samples]
        if self.samples:
            return [(each.elapsed_ms, each.memory_remaining_bytes) for each in self.samples]
        points: list[Point] = []
        for each in self.passes:
            left = max(0, each.remaining_at_start_bytes - each.transferred_bytes)
            points.append((each.started_ms, each.remaining_at_start_bytes))
            points.append((each.started_ms + each.duration_ms, left))
        return points

    @property
    def dirty(self) -> list[Point]:
        """Dirty rate over time; unknown in the first pass."""
        if self.subject == "disks":
            return []
        if self.samples:
            rates = [(each.elapsed_ms, each.dirty_bytes_per_s) for each in self.samples]
        else:
            rates = [(each.started_ms, each.dirty_bytes_per_s) for each in self.passes]
        return [(moment, rate) for moment, rate in rates if rate]

    @property
    def bandwidth(self) -> list[Point]:
        """Bandwidth over time."""
        if self.subject == "disks":
            rates = [(each.elapsed_ms, each.disk_bandwidth_bytes_per_s) for each in self.samples]
        elif self.samples:
            rates = [(each.elapsed_ms, each.bandwidth_bytes_per_s) for each in self.samples]
        else:
            rates = [(each.started_ms, each.bandwidth_bytes_per_s) for each in self.passes]
        return [(moment, rate) for moment, rate in rates if rate]

    @property
    def boundaries(self) -> list[tuple[int, int]]:
        """Number and beginning in ms of each pass after the first."""
        if self.subject == "disks":
            return []
        starts = {each.number: each.started_ms for each in self.passes}
        for sample in self.samples:
            starts.setdefault(sample.pass_number, sample.elapsed_ms)
        return sorted((number, start) for number, start in starts.items() if number > 1)

    @property
    def fits_bytes(self) -> int:
        """How much the link carries within the downtime limit now; 0 while nobody knows.

        After a switch to post-copy nothing has to fit any more.
        """
        if self.subject == "disks" or (self.last is not None and self.last.postcopy):
            return 0
        rates = self.bandwidth
        return int(rates[-1][1] * self.downtime_limit_ms / 1000) if rates else 0


def history_of(migration: Migration, samples: Sequence[Sample]) -> History:
    """Choose what is to be drawn: the disks while they are copied, then the memory.

    A cold migration has disks only. Each has a clock of its own, so that a long copy of disks does
    not squeeze the curve of memory into a corner.
    """
    disks = [each for each in samples if is_of_disks(each)]
    memory = [each for each in samples if not is_of_disks(each)] if disks else samples
    copying = migration.state is MigrationState.COPYING_DISKS
    limit = memory[-1].downtime_limit_ms if memory else 0
    about = "disks" if migration.kind == "cold" or copying or not memory else "memory"
    if about == "disks" and (disks or migration.kind == "cold"):
        return History(
            subject="disks",
            samples=disks,
            downtime_limit_ms=migration.downtime_limit_ms,
            cap_bytes_per_s=migration.max_bandwidth_bytes_per_s,
            ended=migration.state.ended,
        )
    begun_ms = memory[0].elapsed_ms if disks and memory else 0
    total = memory[-1].memory_total_bytes if memory else 0
    return History(
        samples=[_since(each, begun_ms) for each in memory] if begun_ms else memory,
        passes=[_pass_since(each, begun_ms) for each in migration.passes],
        memory_bytes=total or migration.statistics.memory_total_bytes,
        downtime_limit_ms=limit or migration.downtime_limit_ms,
        cap_bytes_per_s=migration.max_bandwidth_bytes_per_s,
        ended=migration.state.ended,
    )


def is_of_disks(sample: Sample) -> bool:
    """Whether a sample was taken before memory began to be copied."""
    return not sample.pass_number and bool(sample.disk_total_bytes)


def _since(sample: Sample, begun_ms: int) -> Sample:
    return msgspec.structs.replace(sample, elapsed_ms=max(0, sample.elapsed_ms - begun_ms))


def _pass_since(each: Pass, begun_ms: int) -> Pass:
    return msgspec.structs.replace(each, started_ms=max(0, each.started_ms - begun_ms))
