"""One copy of a stopped server's files from its source host, from its call to its end."""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from hostagent.config import AgentConfig
from hostagent.copies import nbd
from hostagent.copies.daemon import Daemon, DaemonProcess, QemuRefused, start_daemon
from hostagent.copies.digest import BLOCK_BYTES, block_lines, file_digest
from hostagent.copies.plan import CELL_BYTES, Cell, Progress, cells, sectors, with_done
from hostagent.copies.ranges import SourceBroke, copy_range
from hostagent.copies.records import Records
from wire.agent import Job, JobDetail, JobSample, JobState
from wire.migration import MigrationParameters, Sample, Statistics
from wire.storage import PullCommand, PullFile

_log = logging.getLogger(__name__)

_PARALLEL = 4
"""Ranges at a time, each over a connection of its own."""
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
    """Copies each file cell by cell, several at once, and notes each cell that is on the disk.

    QEMU's storage daemon holds the connections to the source and the cap on all of them; a
    ``qemu-img convert`` for each cell reads from it.
    """

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
        self._config = config
        self._records = records
        self._publish = publish
        self._samples: list[Sample] = []
        self._began_s = time.monotonic()
        self._plans: dict[str, tuple[Cell, ...]] = {}
        self._under_way: dict[tuple[str, int], float] = {}
        self._lines: dict[str, dict[int, str]] = {}
        self._window: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES)
        self._daemon: Daemon | None = None
        self._max_bytes_per_s = record.command.max_bandwidth_bytes_per_s or 0
        self._copying: asyncio.Task[dict[str, str]] | None = None
        self._sources: dict[str, asyncio.Task[None]] = {}

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
        if parameters.max_bandwidth_bytes_per_s is None:
            return
        self._max_bytes_per_s = parameters.max_bandwidth_bytes_per_s
        if self._daemon is not None:
            await nbd.limit(self._daemon, self._max_bytes_per_s)

    async def run(self) -> None:
        """Copy everything; the job tells how it ended."""
        sampling: asyncio.Task[None] | None = None
        error, resumable = "", False
        digests: dict[str, str] = {}
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="godwit-pull-", dir="/run"))
        try:
            self._copying = asyncio.create_task(self._copy_and_read_back(folder))
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
            await self._end_daemon()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await self._end(error, resumable=resumable, digests=digests)

    # ------------------------------------------------------------------ copying

    async def _copy_and_read_back(self, folder: Path) -> dict[str, str]:
        await self._copy(folder)
        return await self._digests()

    async def _copy(self, folder: Path) -> None:
        socket_path = folder / "nbd"
        self._daemon = await start_daemon()
        self._record = msgspec.structs.replace(self._record, process=self._daemon.process)
        await self._write()
        await nbd.serve_source(
            self._daemon,
            socket_path=socket_path,
            tls_dir=self._config.qemu_tls_dir,
            max_bytes_per_s=self._max_bytes_per_s,
        )
        for number, file in enumerate(self._record.command.files):
            await self._plan(file, f"list{number}", folder)
        self._change(state=JobState.COPYING_DISKS)
        queue = iter(tuple(self._missing()))
        workers = {
            asyncio.create_task(self._work(queue, slot, str(socket_path)))
            for slot in range(_PARALLEL)
        }
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _plan(self, file: PullFile, name: str, folder: Path) -> None:
        """Make the partial file, and find out which cells of it are missing."""
        partial = self._record.partial_paths[file.source_path]
        known = self._record.progress.get(file.source_path)
        goes_on = (
            known is not None
            and (known.file_bytes, known.modified_ns) == (file.file_bytes, file.modified_ns)
            and await asyncio.to_thread(os.path.exists, partial)
        )
        if not goes_on:
            known = Progress(file_bytes=file.file_bytes, modified_ns=file.modified_ns)
            self._keep_progress(file, known)
            await self._write()
        await asyncio.to_thread(_make_partial, partial, file.file_bytes, anew=not goes_on)
        if not file.file_bytes:
            self._plans[file.source_path] = ()
            return
        await self._add_source(name, nbd.extents_name(file.export_name))
        listed = folder / name
        size = await self._export_bytes(name)
        await asyncio.to_thread(_make_partial, str(listed), size, anew=True)
        await copy_range(
            socket_path=str(folder / "nbd"), name=name, path=str(listed), offset=0, size=size
        )
        found = await asyncio.to_thread(nbd.read_extents, listed)
        self._plans[file.source_path] = cells(found, file.file_bytes)

    async def _export_bytes(self, name: str) -> int:
        if self._daemon is None:
            raise SourceBroke("the daemon is gone")
        nodes = await self._daemon.execute("query-named-block-nodes", {"flat": True})
        sizes = [int(node["image"]["virtual-size"]) for node in nodes if node["node-name"] == name]
        return sizes[0]

    def _missing(self) -> Iterator[tuple[PullFile, Cell]]:
        for file in self._record.command.files:
            progress = self._record.progress[file.source_path]
            for cell in self._plans[file.source_path]:
                if not progress.done(cell):
                    yield file, cell

    async def _work(
        self, queue: Iterator[tuple[PullFile, Cell]], slot: int, socket_path: str
    ) -> None:
        """Copy cells; the one before is brought to the disk and read back meanwhile."""
        before: asyncio.Task[None] | None = None
        try:
            for file, cell in queue:
                name = await self._source(file, slot)
                key = (file.source_path, cell.number)
                self._under_way[key] = 0.0
                await copy_range(
                    socket_path=socket_path,
                    name=name,
                    path=self._record.partial_paths[file.source_path],
                    offset=cell.offset,
                    size=cell.size,
                    on_progress=lambda share, key=key: self._under_way.update({key: share}),  # type: ignore[misc]  # a default cannot carry a type in a lambda
                )
                self._under_way[key] = 1.0
                if before is not None:
                    await before
                before = asyncio.create_task(self._settle(file, cell))
            if before is not None:
                await before
        finally:
            if before is not None and not before.done():
                before.cancel()

    async def _settle(self, file: PullFile, cell: Cell) -> None:
        """Bring a cell to the disk, read it back, and note it as done."""
        partial = self._record.partial_paths[file.source_path]
        lines = await asyncio.to_thread(_flush_and_read, partial, cell)
        self._lines.setdefault(file.source_path, {}).update(lines)
        progress = self._record.progress[file.source_path]
        plan = self._plans[file.source_path]
        self._keep_progress(file, with_done(progress, cell.number, plan))
        self._under_way.pop((file.source_path, cell.number), None)
        await self._write()

    async def _source(self, file: PullFile, slot: int) -> str:
        """A connection for this file and slot, made when first needed."""
        number = self._record.command.files.index(file)
        name = f"file{number}-{slot}"
        if name not in self._sources:
            self._sources[name] = asyncio.create_task(self._add_source(name, file.export_name))
        await self._sources[name]
        return name

    async def _add_source(self, name: str, export_name: str) -> None:
        if self._daemon is None:
            raise SourceBroke("the daemon is gone")
        command = self._record.command
        try:
            await nbd.add_source(
                self._daemon,
                name,
                export_name=export_name,
                address=command.source_address,
                port=command.port,
                tls_hostname=command.source_host_name,
            )
        except QemuRefused as error:
            raise SourceBroke(error.message) from None

    async def _digests(self) -> dict[str, str]:
        """Give each file its true length, and compute its digest from the disk."""
        found = {}
        for file in self._record.command.files:
            partial = self._record.partial_paths[file.source_path]
            lines = self._lines.get(file.source_path, {})
            found[file.source_path] = await asyncio.to_thread(
                _finish, partial, file.file_bytes, lines, lambda: self.job.cancel_requested
            )
        return found

    # ------------------------------------------------------------------ sampling

    async def _sample(self) -> None:
        """Tell how far it is; ends with an error when the source is silent and gone."""
        last_bytes, since_s = -1, time.monotonic()
        while True:
            await asyncio.sleep(_SAMPLE_S)
            if self.job.state is JobState.COPYING_DISKS:
                self._publish_sample()
            done = self._done_bytes()
            now_s = time.monotonic()
            if done != last_bytes:
                last_bytes, since_s = done, now_s
            elif now_s - since_s > _SILENT_S and self._waits_for_source():
                await self._require_source(now_s - since_s)

    def _waits_for_source(self) -> bool:
        return (
            any(share < 1 for share in self._under_way.values())
            or any(not connecting.done() for connecting in self._sources.values())
            or len(self._plans) < len(self._record.command.files)
        )

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
        if silent_s > _DEAD_S and not self._max_bytes_per_s:
            raise SourceBroke(f"nothing came from {where} for {silent_s:.0f} s")

    def _total_bytes(self) -> int:
        planned = sum(cell.data_bytes for plan in self._plans.values() for cell in plan)
        return planned or sum(file.data_bytes for file in self._record.command.files)

    def _done_bytes(self) -> int:
        done = 0.0
        for source_path, plan in self._plans.items():
            progress = self._record.progress[source_path]
            for cell in plan:
                if progress.done(cell):
                    done += cell.data_bytes
                else:
                    done += cell.data_bytes * self._under_way.get((source_path, cell.number), 0.0)
        return int(done)

    def _publish_sample(self) -> None:
        now_s, total, done = time.monotonic(), self._total_bytes(), self._done_bytes()
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

    # ------------------------------------------------------------------ changes

    def _change(self, **fields: Any) -> None:
        job = msgspec.structs.replace(self.job, **fields)
        self._record = msgspec.structs.replace(self._record, job=job)
        self._publish(job)

    def _keep_progress(self, file: PullFile, progress: Progress) -> None:
        kept = self._record.progress | {file.source_path: progress}
        self._record = msgspec.structs.replace(self._record, progress=kept)

    async def _write(self) -> None:
        await asyncio.to_thread(self._records.write, self.job.migration_id, self._record)

    async def _end_daemon(self) -> None:
        if self._daemon is not None:
            await self._daemon.end()
            self._daemon = None
            self._record = msgspec.structs.replace(self._record, process=None)

    async def _end(self, error: str, *, resumable: bool, digests: dict[str, str]) -> None:
        if self._plans and not error:
            self._publish_sample()
        statistics = Statistics(
            total_ms=int(1000 * (time.monotonic() - self._began_s)),
            disk_transferred_bytes=self._done_bytes(),
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


def _make_partial(path: str, file_bytes: int, *, anew: bool) -> None:
    where = Path(path)
    where.parent.mkdir(parents=True, exist_ok=True)
    if anew:
        where.unlink(missing_ok=True)
    where.touch(mode=0o600)
    os.truncate(path, sectors(file_bytes))


def _flush_and_read(path: str, cell: Cell) -> dict[int, str]:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(handle)
        size = os.fstat(handle).st_size
        count = CELL_BYTES // BLOCK_BYTES
        return block_lines(handle, cell.offset // BLOCK_BYTES, count, size)
    finally:
        os.close(handle)


def _finish(path: str, file_bytes: int, lines: dict[int, str], stopped: Callable[[], bool]) -> str:
    rounded = sectors(file_bytes)
    if rounded != file_bytes:
        lines = {number: line for number, line in lines.items() if number < rounded // BLOCK_BYTES}
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, file_bytes)
        os.fsync(handle)
    finally:
        os.close(handle)
    return file_digest(path, known=lines, stopped=stopped)
