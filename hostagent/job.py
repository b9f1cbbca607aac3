"""One migration away from this host, from its call to its end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from hostagent import breaks, repeated
from hostagent.curve import Curve
from hostagent.departure import departure_of
from hostagent.driver import JobReading, LibvirtDriver
from hostagent.journal import Entry, Journal
from hostagent.ledger import Ledger
from hostagent.permission import (
    require_cancellable,
    require_changeable,
    require_in_postcopy,
    require_postcopy,
)
from hostagent.postcopy import is_half
from hostagent.steering import Steering
from wire.agent import Job, JobDetail, JobSample, JobState
from wire.errors import GodwitError
from wire.migration import MigrationParameters, PostcopyState, Statistics

_log = logging.getLogger(__name__)

_SAMPLE_S = 0.25
_LAST_EVENT_S = 1.0
"""How long libvirt's word about a finished job may come after the end of its call."""
_ABORTED = "libvirt aborted the migration, as it was asked to"
_UNEXPLAINED = "libvirt ended the migration while the host agent was away, without a reason"
"""What an agent says of a job that it took up: the reason went to the call of the one before."""


class MigrationJob:
    """Follows one job by its statistics, four times a second and at each pass.

    Either a call of this process runs it, or libvirt goes on with what an earlier process called:
    then the job lasts as long as libvirt shows it, or the guest is in post-copy.
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
        self._ledger = Ledger(entry, journal, publish)
        self._driver = driver
        self._publish = publish
        self._curve = Curve(entry.log, origin=entry.origin)
        self._steering = Steering(driver, self._ledger)
        self._call: asyncio.Future[None] | None = None
        self._statistics: Statistics | None = None
        self._completed = asyncio.Event()
        self._wake = asyncio.Event()
        self._aborting: asyncio.Task[None] | None = None

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self._ledger.job

    @property
    def detail(self) -> JobDetail:
        """The job with its curve."""
        return JobDetail(job=self.job, samples=tuple(self._curve.samples))

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self._ledger.entry.job.state is JobState.ENDED

    async def run(self, call: asyncio.Future[None] | None) -> None:
        """Follow the job to its end.

        Args:
            call: libvirt's, if this process made it.
        """
        if call is None:
            self._curve.take_up()
            self._ledger.change(recovering=False)
        else:
            self._await_call(call)
            self._steering.say_what_holds()
        if self._ledger.entry.job.cancel_requested:
            self._abort()
        error = await self._follow()
        await self._end(error)

    def pass_began(self, iteration: int) -> None:
        """QEMU said so: look now."""
        self._curve.pass_began(iteration)
        self._wake.set()

    def switching_over(self) -> None:
        """Libvirt paused the guest for the last pass."""
        if self.job.postcopy is PostcopyState.NOT:
            self._ledger.advance(JobState.SWITCHING_OVER)
        self._wake.set()

    def completed(self, statistics: Statistics) -> None:
        """Libvirt's event about the end of a job that succeeded."""
        self._statistics = statistics
        self._completed.set()

    # ------------------------------------------------------------------ what is asked of it

    def cancel(self) -> None:
        """Abort the job, now or as soon as libvirt has it.

        Raises:
            GodwitError: ``CONFLICT`` once the guest is in post-copy.
        """
        if self.ended or self.job.cancel_requested:
            return
        require_cancellable(self._ledger.entry)
        self._ledger.change(cancel_requested=True)
        self._wake.set()
        self._abort()

    async def change(self, parameters: MigrationParameters) -> None:
        """Change the cap or the downtime limit, which survive the agent.

        Raises:
            GodwitError: ``BAD_REQUEST``, ``CONFLICT`` with the reason, or ``LIBVIRT``.
        """
        require_changeable(self._ledger.entry, parameters)
        limit_ms, cap = parameters.downtime_limit_ms, parameters.max_bandwidth_bytes_per_s
        if limit_ms is not None:
            await self._steering.limit_downtime(limit_ms)
        if cap is not None or parameters.no_bandwidth_limit:
            self._steering.cap(cap)
        await self._ledger.keep()
        self._wake.set()

    async def switch_to_postcopy(self) -> None:
        """Let the guest run on the target now; asked again, it stays as it is.

        Raises:
            GodwitError: ``CONFLICT`` with the reason, or ``LIBVIRT``.
        """
        if self.job.postcopy is not PostcopyState.NOT and not self.ended:
            return
        require_postcopy(self._ledger.entry)
        self._ledger.change(postcopy=PostcopyState.ASKED)
        await self._ledger.keep()
        try:
            await self._driver.start_postcopy(self.job.server_id)
        except GodwitError:
            if self.job.postcopy is PostcopyState.ASKED:
                self._ledger.change(postcopy=PostcopyState.NOT)
            raise
        self._wake.set()

    async def recover(self) -> None:
        """Go on with a post-copy whose connection broke; one that goes on is left alone.

        Raises:
            GodwitError: ``CONFLICT`` if there is no post-copy, or ``LIBVIRT``.
        """
        require_in_postcopy(self._ledger.entry)
        if self.job.postcopy is not PostcopyState.PAUSED or self._call is not None:
            return
        await self._driver.break_off_postcopy(self.job.server_id)
        if self._call is None:
            self._await_call(
                self._driver.migrate(departure_of(self._ledger.entry, resumes_postcopy=True))
            )
            self._ledger.change(recovering=True)

    # ------------------------------------------------------------------ following

    def _await_call(self, call: asyncio.Future[None]) -> None:
        self._call = call
        call.add_done_callback(lambda _: self._wake.set())

    async def _follow(self) -> str:
        """Watch until it is over; the error of the last call, if it had one."""
        error = ""
        while True:
            await self._pause()
            if self._call is not None and self._call.done():
                call, self._call = self._call, None
                try:
                    call.result()
                except GodwitError as failure:
                    # if libvirtd went away, its peer-to-peer job may outlive our call
                    error = failure.message
                    breaks.see_failure(self._ledger, error)
                else:
                    breaks.see_arrival(self._ledger)
                    return ""
            try:
                reading = await self._driver.read_job(self.job.server_id)
            except GodwitError as failure:
                _log.debug("%s: not sampled: %s", self.job.migration_id, failure.message)
                self._curve.miss()
                continue
            if reading is not None:
                calling = self._call is not None
                breaks.see_state(self._ledger, reading.state, error, calling=calling)
            if reading is not None and reading.statistics is not None:
                await self._observe(reading)
            elif self._call is None and not (reading is not None and is_half(reading.state)):
                return error

    async def _pause(self) -> None:
        await self._ledger.keep_changes()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SAMPLE_S):
                await self._wake.wait()
        self._wake.clear()

    async def _observe(self, reading: JobReading) -> None:
        entry, postcopy = self._ledger.entry, self.job.postcopy
        if reading.statistics is None or postcopy is PostcopyState.PAUSED:
            return
        pass_count = len(self._curve.log.passes)
        sample = self._curve.observe(
            reading.statistics,
            downtime_limit_ms=entry.downtime_limit_ms,
            postcopy=postcopy is PostcopyState.ACTIVE,
        )
        if sample is None:
            return
        self._ledger.put(origin=self._curve.origin, log=self._curve.log)
        self._publish(
            JobSample(
                migration_id=entry.command.migration_id,
                server_id=entry.command.server_id,
                sample=sample,
            )
        )
        new_pass = len(self._curve.log.passes) > pass_count
        if sample.pass_number == 0:
            self._ledger.advance(JobState.COPYING_DISKS)
        elif not self._ledger.advance(JobState.COPYING_MEMORY) and new_pass:
            self._ledger.change()
        await self._steering.steer(sample, new_pass=new_pass)

    def _abort(self) -> None:
        if self._aborting is None:
            self._aborting = asyncio.create_task(
                repeated.abort(self._driver, self.job.server_id, over=lambda: self.ended)
            )

    async def _end(self, error: str) -> None:
        if error and self.job.state is JobState.SWITCHING_OVER:
            try:
                await self._driver.take_disks_back(self.job.server_id)
            except GodwitError as failure:
                _log.warning("%s: %s", self.job.migration_id, failure.message)
        stays = await repeated.still_here(self._driver, self.job.server_id)
        if not stays:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_EVENT_S):
                    await self._completed.wait()
        if self._statistics is not None:
            error = ""
        elif stays and not error:
            error = _ABORTED if self.job.cancel_requested else _UNEXPLAINED
        statistics = self._curve.final_statistics(self._statistics)
        if statistics is not None:
            self._curve.close(statistics)
            self._ledger.put(log=self._curve.log)
        _log.info("%s: ended: %s", self.job.migration_id, error or "no error")
        self._ledger.change(
            state=JobState.ENDED, error=error, statistics=statistics, recovering=False
        )
        await self._ledger.keep()
