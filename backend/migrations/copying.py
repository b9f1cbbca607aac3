"""Copying a stopped server's files: the source opens them, the target pulls, digests are compared.

Everything may be repeated: files that are whole on the target are not sent again, and half a file
goes on where it was.
"""

import asyncio
import contextlib
import logging

import msgspec

from backend.migrations.drive import ASK_AGAIN_S, Drive, NotBegun
from backend.migrations.patience import Patience
from wire.agent import Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration
from wire.storage import (
    Export,
    ExportCommand,
    Incoming,
    PullCommand,
    PullFile,
    StorageFile,
)

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_QUIET_S = 3.0


class _Broken(Exception):
    """The copy was broken off and goes on when it is asked for again."""


class FilesCopy:
    """The copy of one migration's local files."""

    def __init__(
        self, drive: Drive, migration: Migration, files: tuple[StorageFile, ...], incoming: Incoming
    ) -> None:
        self._drive = drive
        self._migration = migration
        self._id = migration.migration_id
        self._files = {one.path: one for one in files}
        self._incoming = {one.source_path: one for one in incoming.files}
        self._patience = Patience(drive, migration)

    async def run(self) -> None:
        """Copy until all is there and equal.

        Raises:
            NotBegun: cancelled, or it cannot be done; nothing on the source was changed.
        """
        while True:
            try:
                export = await self._opened()
                wanted = self._wanted(export)
                if not wanted:
                    return
                job = await self._pulled(export, wanted)
                await self._compare(wanted, job)
            except GodwitError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    self._patience.check_error(error)
                # else the agent was started anew, and forgot what it had been told
                reason = error.message
            except _Broken as error:
                reason = str(error)
            else:
                return
            _log.info("%s: copy broken off: %s", self._id, reason)
            await self._drive.note(self._id, f"copy broken off, and asked to go on: {reason}")
            await self._patience.check(reason)
            await asyncio.sleep(ASK_AGAIN_S)

    async def _opened(self) -> Export:
        """Have the source open the files; wait for digests that may save a copy."""
        deciding = tuple(path for path, there in self._incoming.items() if there.present_digest)
        export = await self._drive.source(self._migration).export(
            ExportCommand(
                migration_id=self._id,
                server_id=self._migration.server_id,
                generation=self._migration.generation,
                paths=tuple(self._files),
                digest_first=deciding,
            )
        )
        return await self._with_digests(export, deciding)

    async def _with_digests(self, export: Export, paths: tuple[str, ...]) -> Export:
        while True:
            if export.changed:
                raise NotBegun(export.changed)
            if not set(paths) - export.digests.keys():
                return export
            # whoever answers is reading: a large file takes its time
            self._patience.saw(object())
            await self._patience.check(
                f"{self._migration.source_host_name} reads the files for digests"
            )
            await asyncio.sleep(ASK_AGAIN_S)
            export = await self._drive.source(self._migration).exported(self._id)

    def _wanted(self, export: Export) -> tuple[StorageFile, ...]:
        """List the files that the target does not have yet."""
        return tuple(
            file
            for path, file in self._files.items()
            if not (digest := self._incoming[path].present_digest)
            or digest != export.digests.get(path)
        )

    async def _pulled(self, export: Export, wanted: tuple[StorageFile, ...]) -> Job:
        """Have the target pull, and follow it to its end."""
        source = self._drive.fleet.facts.get(self._migration.source_host_id)
        if source is None:
            raise NotBegun(f"{self._migration.source_host_name} was removed from the fleet")
        known = await self._drive.reread(self._id)
        command = PullCommand(
            migration_id=self._id,
            server_id=known.server_id,
            generation=known.generation,
            source_host_name=source.name,
            source_address=source.address,
            port=export.port,
            files=tuple(
                PullFile(
                    source_path=file.path,
                    export_name=export.names[file.path],
                    path=self._incoming[file.path].path,
                    file_bytes=file.file_bytes,
                    data_bytes=file.data_bytes,
                    modified_ns=file.modified_ns,
                )
                for file in wanted
            ),
            max_bandwidth_bytes_per_s=known.max_bandwidth_bytes_per_s,
        )
        self._drive.stop_if_cancelled(self._id)
        self._drive.jobs.restart(self._id)
        await self._drive.begun(known, await self._drive.target(known).pull(command))
        job = await self._followed()
        if not job.error:
            return job
        if job.resumable:
            raise _Broken(job.error)
        raise NotBegun(job.error)

    async def _followed(self) -> Job:
        jobs = self._drive.jobs
        watcher = jobs.watcher(self._id)
        while True:
            watcher.clear()
            job = jobs.latest(self._id)
            if job is not None and job.state is JobState.ENDED:
                return job
            self._patience.saw(self._progress(job))
            await self._patience.check("the copy does not go on")
            quiet = jobs.quiet_s(self._id) > _QUIET_S
            if quiet and not await self._drive.ask_for_job(self._migration):
                raise _Broken(f"{self._migration.target_host_name} no longer knows of the copy")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await watcher.wait()

    def _progress(self, job: Job | None) -> object:
        samples = self._drive.jobs.samples(self._id)
        left = samples[-1].disk_remaining_bytes if samples else None
        if left == 0 and self._drive.jobs.quiet_s(self._id) <= _QUIET_S:
            return object()  # all is there, and the target reads it back
        return left, job.statistics if job else None

    async def _compare(self, wanted: tuple[StorageFile, ...], job: Job) -> None:
        """Compare the digests of both sides, file by file."""
        paths = tuple(file.path for file in wanted)
        export = await self._drive.source(self._migration).exported(self._id)
        export = await self._with_digests(export, paths)
        for path in paths:
            here, there = export.digests[path], job.digests.get(path, "none")
            if here != there:
                raise NotBegun(
                    f"the copy of {path} on {self._migration.target_host_name} is not equal to the "
                    f"file on {self._migration.source_host_name}: digest {there}, not {here}"
                )


def with_source_paths(migration: Migration, files: tuple[StorageFile, ...]) -> Migration:
    """Journal which files the server leaves behind once it has moved."""
    return msgspec.structs.replace(
        migration, source_paths=tuple(one.path for one in files if one.owned)
    )
