"""What agents tell of the jobs that they run: latest state, finished passes, the curve."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from backend.migrations.notes import merged
from wire.agent import Job, JobDetail, JobState
from wire.migration import Migration, Pass, PostcopyState, Sample, Statistics

CURVES_KEPT = 20
"""Curves of so many migrations are kept in memory; older ones are let go."""
SAMPLES_KEPT = 4_000
"""A longer curve is thinned to half, so that a day-long migration stays small."""

_SWITCHED = {PostcopyState.ACTIVE, PostcopyState.PAUSED}
"""There is no way back from these."""


class _Clock:
    """Time along a curve, for a copy that goes on after a break with a clock of its own."""

    def __init__(self) -> None:
        self.began_anew = False
        self._last_ms = 0
        self._before_ms = 0

    def on_curve(self, sample: Sample) -> Sample:
        """The sample with the time of the copies before added."""
        if self.began_anew and sample.elapsed_ms < self._last_ms:
            self._before_ms += self._last_ms
            self._last_ms = 0
        self.began_anew = False
        self._last_ms = max(self._last_ms, sample.elapsed_ms)
        if not self._before_ms:
            return sample
        return msgspec.structs.replace(sample, elapsed_ms=self._before_ms + sample.elapsed_ms)


class Jobs:
    """The jobs of all agents, by migration id."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._curves: OrderedDict[str, list[Sample]] = OrderedDict()
        self._watchers: dict[str, asyncio.Event] = {}
        self._heard_s: dict[str, float] = {}
        self._clocks: dict[str, _Clock] = {}

    def latest(self, migration_id: str) -> Job | None:
        """What an agent last said of a job."""
        return self._jobs.get(migration_id)

    def ended(self, migration_id: str) -> bool:
        """Whether an agent said that a job has ended."""
        job = self._jobs.get(migration_id)
        return job is not None and job.state is JobState.ENDED

    def put(self, job: Job) -> None:
        """Note a job's present state; passes that an agent forgot over a restart stay."""
        known = self._jobs.get(job.migration_id)
        if known is not None:
            goes_on = job.postcopy is not PostcopyState.NOT
            if known.state is JobState.ENDED and job.state is not JobState.ENDED and not goes_on:
                return
            passes = merged_passes(known.passes, job.passes)
            # an answer may come after the event that overtook it
            overtaken = known.postcopy in _SWITCHED and job.postcopy not in _SWITCHED
            postcopy = known.postcopy if overtaken else job.postcopy
            job = msgspec.structs.replace(job, passes=passes, postcopy=postcopy)
        self._jobs[job.migration_id] = job
        self._heard_s[job.migration_id] = time.monotonic()
        self.wake(job.migration_id)

    def put_sample(self, migration_id: str, sample: Sample) -> Sample | None:
        """Add a point to a curve, and answer it as it is there; None if it adds nothing."""
        self._heard_s[migration_id] = time.monotonic()
        sample = self._clock(migration_id).on_curve(sample)
        curve = self._curve(migration_id)
        if curve and sample.elapsed_ms <= curve[-1].elapsed_ms:
            return None
        curve.append(sample)
        if len(curve) > SAMPLES_KEPT:
            del curve[1:-1:2]
        return sample

    def put_detail(self, detail: JobDetail) -> None:
        """Take over a job with the whole curve that its agent remembers."""
        self.put(detail.job)
        migration_id = detail.job.migration_id
        known = {sample.elapsed_ms: sample for sample in self._curve(migration_id)}
        clock = self._clock(migration_id)
        placed = [clock.on_curve(sample) for sample in detail.samples]
        known.update((sample.elapsed_ms, sample) for sample in placed)
        self._curves[migration_id] = [known[elapsed_ms] for elapsed_ms in sorted(known)]

    def samples(self, migration_id: str) -> tuple[Sample, ...]:
        """The curve so far; empty if none is remembered."""
        return tuple(self._curves.get(migration_id, ()))

    def forget(self, migration_id: str) -> None:
        """Let go of an ended job; its curve stays for a while."""
        self._jobs.pop(migration_id, None)
        self._watchers.pop(migration_id, None)
        self._heard_s.pop(migration_id, None)
        self._clocks.pop(migration_id, None)

    def restart(self, migration_id: str) -> None:
        """Let go of a job that is begun again; its curve goes on."""
        self._jobs.pop(migration_id, None)
        self._heard_s[migration_id] = time.monotonic()
        self._clock(migration_id).began_anew = True

    def quiet_s(self, migration_id: str) -> float:
        """How long nothing was heard of a job; infinite if it was never heard of."""
        return time.monotonic() - self._heard_s.get(migration_id, -math.inf)

    def watcher(self, migration_id: str) -> asyncio.Event:
        """An event that is set whenever something happened to this migration's job."""
        return self._watchers.setdefault(migration_id, asyncio.Event())

    def wake(self, migration_id: str) -> None:
        """Set a migration's event, if anyone watches it."""
        if migration_id in self._watchers:
            self._watchers[migration_id].set()

    def wake_all(self) -> None:
        """Set every event: a host's state changed."""
        for event in self._watchers.values():
            event.set()

    def with_progress(self, migration: Migration) -> Migration:
        """A journal record with what its running job adds: passes, and figures so far."""
        job = self._jobs.get(migration.migration_id)
        if migration.state.ended or job is None:
            return migration
        return msgspec.structs.replace(
            migration,
            passes=job.passes,
            statistics=job.statistics or Statistics(),
            postcopy=migration.postcopy if job.postcopy is PostcopyState.NOT else job.postcopy,
            notes=merged(migration.notes, job.notes),
        )

    def _clock(self, migration_id: str) -> "_Clock":
        return self._clocks.setdefault(migration_id, _Clock())

    def _curve(self, migration_id: str) -> list[Sample]:
        curve = self._curves.setdefault(migration_id, [])
        self._curves.move_to_end(migration_id)
        while len(self._curves) > CURVES_KEPT:
            ended = (one for one in self._curves if not self._running(one))
            oldest = next(ended, None)
            if oldest is None:
                break
            del self._curves[oldest]
        return curve

    def _running(self, migration_id: str) -> bool:
        job = self._jobs.get(migration_id)
        return job is not None and job.state is not JobState.ENDED


def merged_passes(earlier: Iterable[Pass], later: Iterable[Pass]) -> tuple[Pass, ...]:
    """Join two accounts of the same passes by number; the later account wins."""
    by_number = {one.number: one for one in earlier}
    by_number.update((one.number, one) for one in later)
    return tuple(by_number[number] for number in sorted(by_number))
