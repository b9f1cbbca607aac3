"""One migration away from this host, from its call to its end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hostagent.driver import LibvirtDriver, NoSuchServer
from hostagent.journal import Entry, Journal
from hostagent.passes import closed, observed
from hostagent.statistics import memory_iteration, running_sample
from wire.agent import Job, JobDetail, JobSample, JobState
from wire.errors import GodwitError
from wire.fleet import PowerState
from wire.migration import Sample, Statistics

_log = logging.getLogger(__name__)

_SAMPLE_S = 0.25
_ABORT_RETRY_S = 0.05
_LAST_EVENT_S = 1.0
"""How long libvirt's word about a finished job may come after the end of its call."""
_MOST_SAMPLES = 4_000
"""A quarter of an hour's; then every second one is dropped."""

_ORDER = list(JobState)


class MigrationJob:
    """Follows one job by its statistics, four times a second and at each pass.

    Either a call of this process runs it, or libvirt goes on with what an earlier process called:
    then the job lasts as long as libvirt shows it.
    """

    def __init__(
        self,
        entry: Entry,
        driver: LibvirtDriver,
        journal: Journal,
        *,
        publish: Callable[[msgspec.Struct], None],
    ) -> None:
        """Prepare; nothing happens before :meth:`run`.

        Args:
            entry: a new job's, or one from an earlier process.
            driver: this host's libvirt.
            journal: where a later process finds the job.
            publish: told each ``Job`` that changed and each ``JobSample``.
        """
        self._entry = entry
        self._driver = driver
        self._journal = journal
        self._publish = publish
        self._samples: list[Sample] = []
        self._unseen_passes = False
        self._began_s: dict[int, float] = {}
        self._unkept = False
        self._statistics: Statistics | None = None
        self._completed = asyncio.Event()
        self._wake = asyncio.Event()
        self._aborting: asyncio.Task[None] | None = None

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return msgspec.structs.replace(self._entry.job, passes=self._entry.log.passes)

    @property
    def detail(self) -> JobDetail:
        """The job with its curve."""
        return JobDetail(job=self.job, samples=tuple(self._samples))

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self._entry.job.state is JobState.ENDED

    async def run(self, call: asyncio.Future[None] | None) -> None:
        """Follow the job to its end.

        Args:
            call: libvirt's, if this process made it.
        """
        if call is None:
            # an earlier process saw the first pass, or nobody did
            self._unseen_passes = True
            self._entry = msgspec.structs.replace(self._entry, origin=self._entry.origin or 1)
        if self._entry.job.cancel_requested:
            self._abort()
        error = await self._follow(call)
        await self._end(error)

    def pass_began(self, iteration: int) -> None:
        """QEMU said so: look now."""
        self._began_s[iteration] = time.monotonic()
        self._wake.set()

    def switching_over(self) -> None:
        """Libvirt paused the guest for the last pass."""
        self._advance(JobState.SWITCHING_OVER)
        self._wake.set()

    def completed(self, statistics: Statistics) -> None:
        """Libvirt's event about the end of a job that succeeded."""
        self._statistics = statistics
        self._completed.set()

    def cancel(self) -> None:
        """Abort the job, now or as soon as libvirt has it."""
        if not self.ended and not self._entry.job.cancel_requested:
            self._change(cancel_requested=True)
            self._wake.set()
            self._abort()

    # ------------------------------------------------------------------ following

    async def _follow(self, call: asyncio.Future[None] | None) -> str:
        """Watch until it is over; the error of our own call, if it had one."""
        error = ""
        if call is not None:
            call.add_done_callback(lambda _: self._wake.set())
        while True:
            await self._pause()
            if call is not None and call.done():
                try:
                    call.result()
                except GodwitError as failure:
                    # if libvirtd went away, its peer-to-peer job may outlive our call
                    error, call = failure.message, None
                else:
                    return ""
            try:
                stats = await self._driver.job_statistics(self._entry.command.server_id)
            except GodwitError as failure:
                _log.debug("%s: not sampled: %s", self.job.migration_id, failure.message)
                self._unseen_passes = True
                continue
            if stats is not None:
                self._observe(stats)
            elif call is None:
                return error

    async def _pause(self) -> None:
        if self._unkept:
            self._unkept = False
            await self._journal.write(self._entry)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SAMPLE_S):
                await self._wake.wait()
        self._wake.clear()

    def _observe(self, stats: Mapping[str, Any]) -> None:
        iteration = memory_iteration(stats)
        if not iteration:
            return
        entry = self._entry
        origin = entry.origin or min(self._began_s, default=iteration)
        sample = running_sample(
            stats, origin=origin, downtime_limit_ms=entry.command.options.downtime_limit_ms
        )
        self._samples.append(sample)
        if len(self._samples) > _MOST_SAMPLES:
            del self._samples[::2]
        now_s = time.monotonic()
        began_ms = {
            begun - origin + 1: sample.elapsed_ms - int(1000 * (now_s - at_s))
            for begun, at_s in self._began_s.items()
        }
        log = observed(entry.log, sample, began_ms=began_ms, after_gap=self._unseen_passes)
        self._began_s = {begun: at for begun, at in self._began_s.items() if begun > iteration}
        self._unseen_passes = False
        self._entry = msgspec.structs.replace(entry, origin=origin, log=log)
        self._publish(
            JobSample(
                migration_id=entry.command.migration_id,
                server_id=entry.command.server_id,
                sample=sample,
            )
        )
        if not self._advance(JobState.COPYING_MEMORY) and len(log.passes) > len(entry.log.passes):
            self._change()

    def _abort(self) -> None:
        if self._aborting is None:
            self._aborting = asyncio.create_task(self._abort_until_heard())

    async def _abort_until_heard(self) -> None:
        """Right after the start libvirt does not have the job yet."""
        while not self.ended:
            try:
                if await self._driver.abort_job(self._entry.command.server_id):
                    return
            except NoSuchServer:
                return
            except GodwitError as error:
                _log.warning("%s: not aborted: %s", self.job.migration_id, error.message)
            await asyncio.sleep(_ABORT_RETRY_S)

    # ------------------------------------------------------------------ changes

    def _advance(self, state: JobState) -> bool:
        """Go forward to a state; False if it is not ahead."""
        if _ORDER.index(state) <= _ORDER.index(self._entry.job.state):
            return False
        self._change(state=state)
        return True

    def _change(self, **fields: Any) -> None:
        job = msgspec.structs.replace(self.job, **fields)
        self._entry = msgspec.structs.replace(self._entry, job=job)
        self._unkept = True
        self._publish(job)

    async def _end(self, error: str) -> None:
        stays = await self._still_here()
        if not stays:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_EVENT_S):
                    await self._completed.wait()
        if self._statistics is not None:
            error = ""
        elif stays and not error:
            error = "libvirt ended the migration while the host agent was away, without a reason"
        statistics = self._final_statistics()
        if statistics is not None:
            log = closed(
                self._entry.log,
                total_ms=statistics.total_ms,
                transferred_bytes=statistics.memory_transferred_bytes,
            )
            self._entry = msgspec.structs.replace(self._entry, log=log)
        _log.info("%s: ended: %s", self.job.migration_id, error or "no error")
        self._change(state=JobState.ENDED, error=error, statistics=statistics)
        await self._journal.write(self._entry)

    async def _still_here(self) -> bool:
        """Whether the guest is on this host although its migration is over."""
        while True:
            try:
                truth = await self._driver.truth(self._entry.command.server_id)
            except GodwitError:
                await asyncio.sleep(_SAMPLE_S)
                continue
            return truth.state in {PowerState.RUNNING, PowerState.PAUSED}

    def _final_statistics(self) -> Statistics | None:
        """libvirt's, or what the last sample told; None if nothing is known."""
        throttle = max((sample.throttle_percent for sample in self._samples), default=0)
        if self._statistics is not None:
            return msgspec.structs.replace(
                self._statistics,
                pass_count=self._statistics.pass_count - max(self._entry.origin, 1) + 1,
                throttle_max_percent=max(throttle, self._statistics.throttle_max_percent),
            )
        if not self._samples:
            return None
        last = self._samples[-1]
        return Statistics(
            total_ms=last.elapsed_ms,
            memory_total_bytes=last.memory_total_bytes,
            memory_transferred_bytes=last.memory_processed_bytes,
            memory_bandwidth_bytes_per_s=last.bandwidth_bytes_per_s,
            pass_count=last.pass_number,
            throttle_max_percent=throttle,
        )
