"""One copy of a stopped server's files from its source host, from its call to its end."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hostagent.config import AgentConfig
from hostagent.copies.copying import FilesCopy
from hostagent.copies.daemon import DaemonProcess, QemuRefused
from hostagent.copies.plan import Progress
from hostagent.copies.ranges import SourceBroke
from hostagent.copies.records import Records
from wire.agent import Job, JobDetail, JobSample, JobState
from wire.migration import MigrationParameters, Sample, Statistics
from wire.storage import PullCommand

_log = logging.getLogger(__name__)

_SAMPLE_S = 0.25
_RATE_SAMPLES = 8
"""Bandwidth is that of the last two seconds."""
_MOST_SAMPLES = 4_000
_SILENT_S = 6.0
"""With nothing read for so long the source is asked whether it is still there."""
_DEAD_S = 60.0
_CONNECT_S = 4.0
CANCELLED = "the copy was cancelled on request"


class PullRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What must outlive the agent."""

    command: PullCommand
    job: Job
    partial_paths: dict[str, str]
    """Source path to where it is while it is copied."""
    progress: dict[str, Progress] = {}
    process: DaemonProcess | None = None


class Pull:
    """One job: what it copies is in :class:`FilesCopy`, how far it is and how it ended is here."""

    def __init__(
        self,
        record: PullRecord,
        config: AgentConfig,
        records: Records[PullRecord],
        *,
        publish: Callable[[msgspec.Struct], None],
    ) -> None:
        """Prepare; nothing happens before :meth:`run`.

        Args:
            record: of this call, with the progress of those before.
            config: for certificates.
            records: where a later process finds it.
            publish: told each ``Job`` that changed and each ``JobSample``.
        """
        self._record = record
        self._records = records
        self._publish = publish
        self._samples: list[Sample] = []
        self._began_s = time.monotonic()
        self._window: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES)
        self._copying: asyncio.Task[dict[str, str]] | None = None
        self._writing = asyncio.Lock()
        self._files = FilesCopy(
            record.command,
            record.partial_paths,
            record.progress,
            tls_dir=config.qemu_tls_dir,
            keep=self._write,
        )

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self._record.job

    @property
    def record(self) -> PullRecord:
        """What is kept of it."""
        return self._record

    @property
    def detail(self) -> JobDetail:
        """The job with its curve."""
        return JobDetail(job=self.job, samples=tuple(self._samples))

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.job.state is JobState.ENDED

    def cancel(self) -> None:
        """End it at once."""
        if not self.ended:
            self._change(cancel_requested=True)
            if self._copying is not None:
                self._copying.cancel()

    async def limit(self, parameters: MigrationParameters) -> None:
        """Change the cap.

        Raises:
            QemuRefused: QEMU's own text.
        """
        cap = parameters.max_bandwidth_bytes_per_s
        if cap is not None or parameters.no_bandwidth_limit:
            await self._files.limit(cap or 0)

    async def run(self) -> None:
        """Copy everything; the job tells how it ended."""
        sampling: asyncio.Task[None] | None = None
        error, resumable = "", False
        digests: dict[str, str] = {}
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="godwit-pull-", dir="/run"))
        try:
            self._copying = asyncio.create_task(self._copy(folder))
            sampling = asyncio.create_task(self._sample())
            if self.job.cancel_requested:
                self._copying.cancel()
            done, _ = await asyncio.wait(
                {self._copying, sampling}, return_when=asyncio.FIRST_COMPLETED
            )
            if sampling in done:
                self._copying.cancel()
                sampling.result()
            digests = await self._copying
        except asyncio.CancelledError:
            if not self.job.cancel_requested:
                raise
            error = CANCELLED
        except SourceBroke as failure:
            error, resumable = failure.message, True
        except QemuRefused as failure:
            error = failure.message
        except OSError as failure:
            error = f"{failure.filename or self._record.command.server_id}: {failure.strerror}"
        finally:
            for task in (sampling, self._copying):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, QemuRefused, OSError):
                        await task
            await self._files.end()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await self._end(error, resumable=resumable, digests=digests)

    async def _copy(self, folder: Path) -> dict[str, str]:
        await self._files.plan(folder)
        self._change(state=JobState.COPYING_DISKS)
        await self._files.copy(folder)
        return await self._files.digests(stopped=lambda: self.job.cancel_requested)

    async def _sample(self) -> None:
        """Tell how far it is; ends with an error when the source is silent and gone."""
        last_bytes, since_s = -1, time.monotonic()
        while True:
            await asyncio.sleep(_SAMPLE_S)
            if self.job.state is JobState.COPYING_DISKS:
                self._publish_sample()
            done = self._files.done_bytes
            now_s = time.monotonic()
            if done != last_bytes:
                last_bytes, since_s = done, now_s
            elif now_s - since_s > _SILENT_S and self._files.waits_for_source:
                await self._require_source(now_s - since_s)

    async def _require_source(self, silent_s: float) -> None:
        """Refuse to wait on for a host that cannot be reached, or says nothing at all.

        Raises:
            SourceBroke: with both facts.
        """
        command = self._record.command
        where = f"{command.source_host_name} at {command.source_address}:{command.port}"
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(command.source_address, command.port)
            writer.close()
        except (TimeoutError, OSError) as error:
            why = str(error) or f"no connection within {_CONNECT_S:g} s"
            raise SourceBroke(f"nothing came from {where} for {silent_s:.0f} s: {why}") from None
        if silent_s > _DEAD_S and not self._files.capped:
            raise SourceBroke(f"nothing came from {where} for {silent_s:.0f} s")

    def _publish_sample(self) -> None:
        now_s, total, done = time.monotonic(), self._files.total_bytes, self._files.done_bytes
        last = self._samples[-1] if self._samples else None
        remaining = total - done
        if last is not None:
            remaining = min(remaining, last.disk_remaining_bytes)
        self._window.append((now_s, remaining))
        first_s, first_remaining = self._window[0]
        rate = int((first_remaining - remaining) / (now_s - first_s)) if now_s > first_s else 0
        sample = Sample(
            elapsed_ms=int(1000 * (now_s - self._began_s)),
            pass_number=0,
            memory_total_bytes=0,
            memory_processed_bytes=0,
            memory_remaining_bytes=0,
            bandwidth_bytes_per_s=0,
            dirty_bytes_per_s=0,
            expected_downtime_ms=0,
            downtime_limit_ms=0,
            throttle_percent=0,
            disk_total_bytes=total,
            disk_remaining_bytes=remaining,
            disk_bandwidth_bytes_per_s=rate,
        )
        self._samples.append(sample)
        if len(self._samples) > _MOST_SAMPLES:
            del self._samples[::2]
        self._publish(
            JobSample(
                migration_id=self.job.migration_id, server_id=self.job.server_id, sample=sample
            )
        )

    def _change(self, **fields: Any) -> None:
        job = msgspec.structs.replace(self.job, **fields)
        self._record = msgspec.structs.replace(self._record, job=job)
        self._publish(job)

    async def _write(self) -> None:
        async with self._writing:
            self._record = msgspec.structs.replace(
                self._record, progress=dict(self._files.progress), process=self._files.process
            )
            await asyncio.to_thread(self._records.write, self.job.migration_id, self._record)

    async def _end(self, error: str, *, resumable: bool, digests: dict[str, str]) -> None:
        if not error:
            self._publish_sample()
        statistics = Statistics(
            total_ms=int(1000 * (time.monotonic() - self._began_s)),
            disk_transferred_bytes=self._files.done_bytes,
        )
        _log.info("%s: copy ended: %s", self.job.migration_id, error or "no error")
        self._change(
            state=JobState.ENDED,
            error=error,
            resumable=resumable,
            digests=digests,
            statistics=statistics,
        )
        try:
            await self._write()
        except OSError as failure:
            _log.error("%s: not kept: %s", self.job.migration_id, failure)
