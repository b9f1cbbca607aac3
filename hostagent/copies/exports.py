"""A stopped server's files, open for the host that it moves to."""

import asyncio
import logging
import secrets
import threading
from pathlib import Path

import msgspec

from hostagent.calls import in_thread
from hostagent.config import AgentConfig
from hostagent.copies import nbd
from hostagent.copies.daemon import DaemonProcess, start_daemon
from hostagent.copies.digest import Stopped, file_digest
from hostagent.copies.records import Records
from hostagent.copies.states import FileState, differences, states_of
from wire.errors import ErrorCode, GodwitError, conflict
from wire.storage import Export, ExportCommand

_log = logging.getLogger(__name__)


class ExportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What must outlive the agent."""

    command: ExportCommand
    server_name: str
    export: Export
    states: dict[str, FileState]
    process: DaemonProcess | None


class Exports:
    """The exports of this host: each has one daemon, which outlives the agent."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._folder = config.state_dir / "exports"
        self._records = Records(self._folder, ExportRecord)
        self._open: dict[str, ExportRecord] = {}
        self._digesting: dict[str, threading.Event] = {}
        self._busy = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._keeping: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Find the daemons of an earlier process again, and start those anew that are gone."""
        self._open = await asyncio.to_thread(self._records.read_all)
        for migration_id, record in self._open.items():
            if not record.export.port:
                continue
            if record.process is None or not record.process.alive:
                try:
                    await self._begin(migration_id, record, ports=[record.export.port])
                except (GodwitError, OSError) as error:
                    _log.error("%s: its files are not open again: %s", migration_id, error)
                    continue
            self._begin_digests(migration_id)

    async def start(self, command: ExportCommand, server_name: str) -> Export:
        """Open files; the same migration again gets the export that there is.

        Raises:
            GodwitError: QEMU's text, or a file that is gone.
        """
        async with self._busy:
            known = self._open.get(command.migration_id)
            if known is not None and self._serves(known, command):
                return known.export
            if known is not None:
                await self._end(command.migration_id)
            try:
                states = await asyncio.to_thread(states_of, command.paths)
            except OSError as error:
                raise conflict(f"{error.filename} cannot be read: {error.strerror}") from None
            record = ExportRecord(
                command=command,
                server_name=server_name,
                export=Export(
                    migration_id=command.migration_id,
                    server_id=command.server_id,
                    port=0,
                    names={path: secrets.token_urlsafe(24) for path in command.paths},
                ),
                states=states,
                process=None,
            )
            await self._begin(command.migration_id, record, ports=self._config.nbd_port_range)
            self._begin_digests(command.migration_id)
            return self._open[command.migration_id].export

    def _serves(self, known: ExportRecord, command: ExportCommand) -> bool:
        return (
            known.export.port != 0
            and not known.export.changed
            and set(known.command.paths) == set(command.paths)
            and known.process is not None
            and known.process.alive
        )

    async def _begin(
        self, migration_id: str, record: ExportRecord, *, ports: list[int] | range
    ) -> None:
        lists = await asyncio.to_thread(self._write_lists, migration_id, record)
        daemon = await start_daemon()
        try:
            port = await nbd.open_for_others(
                daemon,
                record.export.names | lists,
                address=self._config.address,
                ports=ports,
                tls_dir=self._config.qemu_tls_dir,
            )
            export = msgspec.structs.replace(record.export, port=port)
            record = msgspec.structs.replace(record, export=export, process=daemon.process)
            async with self._writing:
                await asyncio.to_thread(self._records.write, migration_id, record)
                self._open[migration_id] = record
        except BaseException:
            await daemon.end()
            raise
        await daemon.let_go()
        _log.info("%s: %r is open on port %d", migration_id, record.server_name, port)

    def _write_lists(self, migration_id: str, record: ExportRecord) -> dict[str, str]:
        folder = self._lists(migration_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {}
        for number, (path, name) in enumerate(record.export.names.items()):
            into = folder / str(number)
            nbd.write_extents(path, into)
            found[str(into)] = nbd.extents_name(name)
        return found

    def _lists(self, migration_id: str) -> Path:
        return self._folder / migration_id

    # ------------------------------------------------------------------ while it is open

    def find(self, migration_id: str) -> ExportRecord:
        """One export.

        Raises:
            GodwitError: ``NOT_FOUND``.
        """
        record = self._open.get(migration_id)
        if record is None:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"this host has no files open for the migration {migration_id}"
            )
        return record

    def all(self) -> tuple[ExportRecord, ...]:
        """Every export, closed ones included until their migration is over."""
        return tuple(self._open.values())

    def server_started(self, server_id: str) -> None:
        """A server runs: what is copied of it now does not count."""
        for migration_id, record in self._open.items():
            if record.command.server_id == server_id:
                self.mark_changed(
                    migration_id, f"{record.server_name!r} was started while it was copied"
                )

    def mark_changed(self, migration_id: str, sentence: str) -> None:
        """Say that copies of this export do not count; the first reason stays."""
        record = self.find(migration_id)
        if not record.export.changed:
            self._replace(migration_id, changed=sentence)

    def _replace(self, migration_id: str, **fields: object) -> Export:
        """Change an export at once, and keep it soon."""
        record = self._open[migration_id]
        export = msgspec.structs.replace(record.export, **fields)
        self._open[migration_id] = msgspec.structs.replace(record, export=export)
        keeping = asyncio.create_task(self._keep(migration_id))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        return export

    async def _keep(self, migration_id: str) -> None:
        """Write what an export is by now; one that is forgotten stays forgotten."""
        async with self._writing:
            record = self._open.get(migration_id)
            if record is None:
                return
            try:
                await asyncio.to_thread(self._records.write, migration_id, record)
            except OSError as error:
                _log.error("%s: not kept: %s", migration_id, error)

    async def check(self, migration_id: str) -> None:
        """Compare the files with what they were when they were opened, closed by now or not."""
        record = self.find(migration_id)
        try:
            states = await asyncio.to_thread(states_of, tuple(record.states))
        except OSError as error:
            self.mark_changed(migration_id, f"{error.filename}: {error.strerror}")
            return
        for sentence in differences(record.states, states):
            self.mark_changed(migration_id, sentence)

    async def require_unchanged(self, migration_id: str) -> None:
        """Refuse if the files of an export are newer than any copy; without one nothing is known.

        Raises:
            GodwitError: ``CONFLICT``.
        """
        if migration_id not in self._open:
            return
        await self.check(migration_id)
        changed = self._open[migration_id].export.changed
        if changed:
            raise conflict(changed)

    async def close(self, migration_id: str) -> Export:
        """End the daemon; the record stays until :meth:`forget`."""
        async with self._busy:
            self.find(migration_id)
            await self._end(migration_id)
            export = self._replace(migration_id, port=0)
            await self._keep(migration_id)
            return export

    async def forget(self, migration_id: str) -> None:
        """End the daemon if it runs, and forget the export."""
        async with self._busy:
            if migration_id in self._open:
                await self._end(migration_id)
                async with self._writing:
                    del self._open[migration_id]
                    await asyncio.to_thread(self._records.remove, migration_id)

    async def _end(self, migration_id: str) -> None:
        digesting = self._digesting.pop(migration_id, None)
        if digesting is not None:
            digesting.set()
        process = self._open[migration_id].process
        await asyncio.to_thread(self._clear, migration_id, process)

    def _clear(self, migration_id: str, process: DaemonProcess | None) -> None:
        if process is not None:
            process.end()
        folder = self._lists(migration_id)
        for path in folder.glob("*"):
            path.unlink(missing_ok=True)
        if folder.exists():
            folder.rmdir()

    # ------------------------------------------------------------------ digests

    def _begin_digests(self, migration_id: str) -> None:
        """Compute what is missing in a thread, the files first that decide about copying."""
        record = self._open[migration_id]
        stopped = self._digesting[migration_id] = threading.Event()
        order = [*record.command.digest_first, *record.command.paths]
        missing = [path for path in dict.fromkeys(order) if path not in record.export.digests]
        loop = asyncio.get_running_loop()

        def keep(path: str, digest: str) -> None:
            if not stopped.is_set():
                known = self._open[migration_id].export.digests
                self._replace(migration_id, digests=known | {path: digest})

        def fail(sentence: str) -> None:
            if not stopped.is_set():
                self.mark_changed(migration_id, sentence)

        def work() -> None:
            for path in missing:
                try:
                    digest = file_digest(path, stopped=stopped.is_set)
                except Stopped:
                    return
                except OSError as error:
                    loop.call_soon_threadsafe(fail, f"{path} cannot be read: {error.strerror}")
                    return
                loop.call_soon_threadsafe(keep, path, digest)

        in_thread(work, name=f"digests {migration_id}")
