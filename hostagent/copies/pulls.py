"""All copies to this host: begun, gone on with, cancelled, found again."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec

from hostagent.config import AgentConfig
from hostagent.copies.pull import Pull, PullRecord
from hostagent.copies.records import Records
from wire.agent import Job, JobCommand, JobDetail, JobState, ParametersCommand
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.storage import PullCommand

_log = logging.getLogger(__name__)


class Pulls:
    """The pulls of this host, ended ones included until their migration is over."""

    def __init__(self, config: AgentConfig, *, publish: Callable[[msgspec.Struct], None]) -> None:
        self._config = config
        self._publish = publish
        self._records = Records(config.state_dir / "pulls", PullRecord)
        self._pulls: dict[str, Pull] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def __contains__(self, migration_id: str) -> bool:
        return migration_id in self._pulls

    def all(self) -> tuple[Job, ...]:
        """Every job, oldest first."""
        return tuple(pull.job for pull in self._pulls.values())

    async def load(self) -> None:
        """Read what an earlier process left: what it was copying can be gone on with."""
        for migration_id, record in (await asyncio.to_thread(self._records.read_all)).items():
            if record.process is not None:
                await asyncio.to_thread(record.process.end)
            job = record.job
            if job.state is not JobState.ENDED:
                job = msgspec.structs.replace(
                    job,
                    state=JobState.ENDED,
                    error="the host agent was started anew while it copied",
                    resumable=not job.cancel_requested,
                )
            kept = msgspec.structs.replace(record, job=job, process=None)
            self._pulls[migration_id] = self._pull(kept)

    async def run(self) -> NoReturn:
        """Carry copies out, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.Future()
        raise AssertionError  # the future above never ends

    def start(self, command: PullCommand, partial_paths: Mapping[str, str]) -> Job:
        """Begin a copy, or go on with one that was broken off.

        Args:
            command: what to copy from where.
            partial_paths: source path to where the file is while it is copied.

        Raises:
            GodwitError: ``LIBVIRT`` while the agent is only just starting.
        """
        known = self._pulls.get(command.migration_id)
        if known is not None and not (known.ended and known.job.resumable):
            return known.job
        if self._tasks is None:
            raise GodwitError(ErrorCode.LIBVIRT, "the host agent is only just starting")
        record = PullRecord(
            command=command,
            job=Job(
                migration_id=command.migration_id,
                server_id=command.server_id,
                state=JobState.STARTING,
            ),
            partial_paths=dict(partial_paths),
            progress={} if known is None else known.record.progress,
        )
        pull = self._pulls[command.migration_id] = self._pull(record)
        self._publish(pull.job)
        self._running[command.migration_id] = self._tasks.create_task(pull.run())
        return pull.job

    def _pull(self, record: PullRecord) -> Pull:
        return Pull(record, self._config, self._records, publish=self._publish)

    def detail(self, migration_id: str) -> JobDetail:
        """One job with its curve.

        Raises:
            GodwitError: ``NOT_FOUND``.
        """
        return self._find(migration_id).detail

    async def cancel(self, migration_id: str, command: JobCommand) -> Job:
        """End a copy.

        Raises:
            GodwitError: ``NOT_FOUND``, or ``BAD_REQUEST`` if it is another server's.
        """
        pull = self._find(migration_id, server_id=command.server_id)
        pull.cancel()
        return pull.job

    async def change(self, migration_id: str, command: ParametersCommand) -> Job:
        """Change the cap of a copy under way.

        Raises:
            GodwitError: ``NOT_FOUND``, ``BAD_REQUEST`` if it is another server's, ``CONFLICT``
                when it has ended, or QEMU's own text.
        """
        pull = self._find(migration_id, server_id=command.server_id)
        if pull.ended:
            raise conflict(f"the copy of {migration_id} has ended: there is no cap on it")
        if command.parameters.downtime_limit_ms is not None:
            raise bad_request(
                f"{migration_id} moves a stopped server, which has no downtime to limit to "
                f"{command.parameters.downtime_limit_ms} ms",
            )
        await pull.limit(command.parameters)
        return pull.job

    def whole(self, migration_id: str) -> bool:
        """Whether every file that was to be copied is on the disk here."""
        pull = self._pulls.get(migration_id)
        return pull is not None and pull.ended and not pull.job.error

    async def forget(self, migration_id: str) -> None:
        """End a copy if it runs, and forget it; its files stay."""
        pull = self._pulls.get(migration_id)
        if pull is None:
            return
        pull.cancel()
        running = self._running.pop(migration_id, None)
        if running is not None:
            await asyncio.wait({running})
        self._pulls.pop(migration_id, None)
        await asyncio.to_thread(self._records.remove, migration_id)

    def _find(self, migration_id: str, *, server_id: str = "") -> Pull:
        pull = self._pulls.get(migration_id)
        if pull is None:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"this host knows no migration with the id {migration_id!r}"
            )
        if server_id and pull.job.server_id != server_id:
            raise bad_request(
                f"the migration {migration_id} moves the server {pull.job.server_id}, "
                f"not {server_id!r}",
            )
        return pull
