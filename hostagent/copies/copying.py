"""The files of one pull: cell by cell from the source to the disk here, several at once."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from hostagent.copies import nbd
from hostagent.copies.daemon import Daemon, DaemonProcess, QemuRefused, start_daemon
from hostagent.copies.partial import finish, flush_and_read, make_partial
from hostagent.copies.plan import Cell, Progress, cells, with_done
from hostagent.copies.ranges import SourceBroke, copy_range
from wire.storage import PullCommand, PullFile

_PARALLEL = 4
"""Ranges at a time, each over a connection of its own."""


class FilesCopy:
    """Copies what is missing, and notes each cell that is on the disk.

    QEMU's storage daemon holds the connections to the source and the cap on all of them; a
    ``qemu-img convert`` for each cell reads from it.
    """

    def __init__(
        self,
        command: PullCommand,
        partial_paths: Mapping[str, str],
        progress: Mapping[str, Progress],
        *,
        tls_dir: Path,
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare; nothing happens before :meth:`plan`.

        Args:
            command: what to copy from where.
            partial_paths: source path to where the file is while it is copied.
            progress: source path to what an earlier call has copied.
            tls_dir: QEMU's certificates.
            keep: told whenever :attr:`progress` or :attr:`process` changed.
        """
        self._command = command
        self._partial_paths = partial_paths
        self._tls_dir = tls_dir
        self._keep = keep
        self._plans: dict[str, tuple[Cell, ...]] = {}
        self._under_way: dict[tuple[str, int], float] = {}
        self._lines: dict[str, dict[int, str]] = {}
        self._daemon: Daemon | None = None
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._max_bytes_per_s = command.max_bandwidth_bytes_per_s or 0
        self.progress = dict(progress)
        """Source path to the cells that are on the disk."""

    @property
    def process(self) -> DaemonProcess | None:
        """The daemon, while there is one."""
        return None if self._daemon is None else self._daemon.process

    @property
    def capped(self) -> bool:
        """Whether reads are slowed down on purpose."""
        return self._max_bytes_per_s > 0

    @property
    def waits_for_source(self) -> bool:
        """Whether something is being read, or connected to, at this moment."""
        return (
            any(share < 1 for share in self._under_way.values())
            or any(not connecting.done() for connecting in self._sources.values())
            or len(self._plans) < len(self._command.files)
        )

    @property
    def total_bytes(self) -> int:
        """Data of all files; before it is known exactly, what the source counted."""
        planned = sum(cell.data_bytes for plan in self._plans.values() for cell in plan)
        return planned or sum(file.data_bytes for file in self._command.files)

    @property
    def done_bytes(self) -> int:
        """Data that is copied, cells under way included."""
        done = 0.0
        for source_path, plan in self._plans.items():
            progress = self.progress[source_path]
            for cell in plan:
                if progress.done(cell):
                    done += cell.data_bytes
                else:
                    done += cell.data_bytes * self._under_way.get((source_path, cell.number), 0.0)
        return int(done)

    async def limit(self, max_bytes_per_s: int) -> None:
        """Change the cap on all reads together; 0 is none.

        Raises:
            QemuRefused: QEMU's own text.
        """
        self._max_bytes_per_s = max_bytes_per_s
        if self._daemon is not None:
            await nbd.limit(self._daemon, max_bytes_per_s)

    async def end(self) -> None:
        """Let go of the source."""
        for connecting in self._sources.values():
            connecting.cancel()
        await asyncio.gather(*self._sources.values(), return_exceptions=True)
        if self._daemon is not None:
            await self._daemon.end()
            self._daemon = None

    async def plan(self, folder: Path) -> None:
        """Connect to the source, and find out what is missing.

        Args:
            folder: private, with a short path.

        Raises:
            SourceBroke: with QEMU's own text.
            QemuRefused: QEMU cannot work here.
            OSError: of the disk here.
        """
        self._daemon = await start_daemon()
        await self._keep()
        await nbd.serve_source(
            self._daemon,
            socket_path=folder / "nbd",
            tls_dir=self._tls_dir,
            max_bytes_per_s=self._max_bytes_per_s,
        )
        for number, file in enumerate(self._command.files):
            await self._plan(file, f"list{number}", folder)

    async def copy(self, folder: Path) -> None:
        """Copy all that is missing.

        Raises:
            SourceBroke: with QEMU's own text.
            TargetRefused: with QEMU's own text.
            OSError: of the disk here.
        """
        socket_path = folder / "nbd"
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
        partial = self._partial_paths[file.source_path]
        known = self.progress.get(file.source_path)
        goes_on = (
            known is not None
            and (known.file_bytes, known.modified_ns) == (file.file_bytes, file.modified_ns)
            and await asyncio.to_thread(os.path.exists, partial)
        )
        if not goes_on:
            known = Progress(file_bytes=file.file_bytes, modified_ns=file.modified_ns)
            self.progress[file.source_path] = known
            await self._keep()
        await asyncio.to_thread(make_partial, partial, file.file_bytes, anew=not goes_on)
        if not file.file_bytes:
            self._plans[file.source_path] = ()
            return
        await self._add_source(name, nbd.extents_name(file.export_name))
        listed = folder / name
        size = await self._export_bytes(name)
        await asyncio.to_thread(make_partial, str(listed), size, anew=True)
        await copy_range(
            socket_path=str(folder / "nbd"), name=name, path=str(listed), offset=0, size=size
        )
        try:
            found = await asyncio.to_thread(nbd.read_extents, listed)
        except msgspec.DecodeError as error:
            raise SourceBroke(f"the source's list of extents is none: {error}") from None
        self._plans[file.source_path] = cells(found, file.file_bytes)

    async def _export_bytes(self, name: str) -> int:
        if self._daemon is None:
            raise SourceBroke("the daemon is gone")
        nodes = await self._daemon.execute("query-named-block-nodes", {"flat": True})
        sizes = [int(node["image"]["virtual-size"]) for node in nodes if node["node-name"] == name]
        return sizes[0]

    def _missing(self) -> Iterator[tuple[PullFile, Cell]]:
        for file in self._command.files:
            progress = self.progress[file.source_path]
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
                    path=self._partial_paths[file.source_path],
                    offset=cell.offset,
                    size=cell.size,
                    # a capped copy tells truly how far it is with few; a free one needs many
                    requests=1 if self._max_bytes_per_s else 8,
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
        partial = self._partial_paths[file.source_path]
        lines = await asyncio.to_thread(flush_and_read, partial, cell)
        self._lines.setdefault(file.source_path, {}).update(lines)
        progress = self.progress[file.source_path]
        plan = self._plans[file.source_path]
        self.progress[file.source_path] = with_done(progress, cell.number, plan)
        self._under_way.pop((file.source_path, cell.number), None)
        await self._keep()

    async def _source(self, file: PullFile, slot: int) -> str:
        """A connection for this file and slot, made when first needed."""
        number = self._command.files.index(file)
        name = f"file{number}-{slot}"
        if name not in self._sources:
            self._sources[name] = asyncio.create_task(self._add_source(name, file.export_name))
        await self._sources[name]
        return name

    async def _add_source(self, name: str, export_name: str) -> None:
        if self._daemon is None:
            raise SourceBroke("the daemon is gone")
        command = self._command
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

    async def digests(self, *, stopped: Callable[[], bool]) -> dict[str, str]:
        """Give each file its true length, and compute its digest from the disk.

        Raises:
            OSError: of the disk here.
            Stopped: ``stopped`` said so.
        """
        found = {}
        for file in self._command.files:
            partial = self._partial_paths[file.source_path]
            lines = self._lines.get(file.source_path, {})
            found[file.source_path] = await asyncio.to_thread(
                finish, partial, file.file_bytes, lines, stopped
            )
        return found
