"""All migrations away from this host: started, found again, cancelled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import msgspec

from hostagent.departure import departure_of
from hostagent.driver import LibvirtDriver, NoSuchServer
from hostagent.guest import stays_reachable
from hostagent.inventory import Inventory
from hostagent.job import MigrationJob
from hostagent.journal import Entry, Journal, check_migration_id
from hostagent.movable import require_all_copied, require_disks, require_movable
from hostagent.ownership import Ownership
from hostagent.postcopy import why_never
from wire.agent import (
    Job,
    JobCommand,
    JobDetail,
    JobState,
    MigrateCommand,
    ParametersCommand,
)
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.fleet import PowerState

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 8.0
"""Less than callers wait: who gave up must be able to trust that nothing begins afterwards."""
_MOST_ENDED = 50
"""Ended jobs that are kept, with their curves, for a backend that was away."""


class Jobs:
    """The jobs of this host, those that ended lately included."""

    def __init__(
        self,
        driver: LibvirtDriver,
        inventory: Inventory,
        ownership: Ownership,
        journal: Journal,
        *,
        publish: Callable[[msgspec.Struct], None],
        on_broken: Callable[[str], None],
    ) -> None:
        """Begin without jobs; :meth:`run` brings those of an earlier process.

        Args:
            driver: this host's libvirt.
            inventory: its servers.
            ownership: who may command them.
            journal: what outlives this process.
            publish: told each change of a job, and each sample.
            on_broken: told the server of each job that ended with an error.
        """
        self._driver = driver
        self._inventory = inventory
        self._ownership = ownership
        self._journal = journal
        self._publish = publish
        self._on_broken = on_broken
        self._jobs: dict[str, MigrationJob] = {}
        self._starting = asyncio.Lock()
        self._beginning: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None

    def all(self) -> tuple[Job, ...]:
        """Every job, oldest first."""
        return tuple(each.job for each in self._jobs.values())

    def detail(self, migration_id: str) -> JobDetail:
        """One job with its curve.

        Raises:
            GodwitError: ``NOT_FOUND``, or ``CONFLICT`` while it is being begun.
        """
        return self._find(migration_id).detail

    def running(self, server_id: str) -> MigrationJob | None:
        """The job of a server that has not ended."""
        for each in self._jobs.values():
            if each.job.server_id == server_id and not each.ended:
                return each
        return None

    async def load(self) -> None:
        """Read what an earlier process left, before anybody asks for a job."""
        for entry in await self._journal.read_all():
            self._jobs[entry.job.migration_id] = self._make(entry)

    async def run(self) -> NoReturn:
        """Follow every job, those of an earlier process first, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for job in self._jobs.values():
                if not job.ended:
                    _log.info("%s: taken up again", job.job.migration_id)
                    tasks.create_task(self._follow(job, None))
            self._tasks = tasks
            await asyncio.Future()
        raise AssertionError  # the future above never ends

    async def start(
        self, command: MigrateCommand, before: Callable[[MigrateCommand], Awaitable[None]]
    ) -> Job:
        """Begin a migration; the same id again answers with the job that there is.

        Args:
            command: what is to be moved where.
            before: done first, while nobody is told yet that the migration is unknown.

        Raises:
            GodwitError: ``NOT_FOUND``, ``CONFLICT``, ``STALE_GENERATION`` or ``LIBVIRT``; nothing
                was begun.
        """
        check_migration_id(command.migration_id)
        self._beginning.add(command.migration_id)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S), self._starting:
                known = self._jobs.get(command.migration_id)
                if known is not None:
                    return known.job
                await before(command)
                return await self._start(command)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.LIBVIRT,
                f"libvirt did not get a migration ready within {_START_TIMEOUT_S:g} s",
            ) from None
        finally:
            self._beginning.discard(command.migration_id)

    async def _start(self, command: MigrateCommand) -> Job:
        facts = self._inventory.facts
        if facts is None or self._tasks is None:
            raise GodwitError(ErrorCode.LIBVIRT, "libvirtd has not answered yet on this host")
        guest = await self._driver.guest(command.server_id)
        if guest is None:
            raise NoSuchServer(command.server_id)
        require_movable(guest)
        require_disks(guest, command)
        disks = await self._driver.disks(guest, facts.pools)
        require_all_copied(guest, disks, command)
        await self._limit_downtime(command)
        entry = Entry(
            command=command,
            job=Job(
                migration_id=command.migration_id,
                server_id=command.server_id,
                state=JobState.STARTING,
            ),
            unsafe=stays_reachable(guest, disks, {disk.disk_target for disk in command.disks}),
            no_postcopy=why_never(
                both_hosts=command.postcopy, paused=guest.state.power is PowerState.PAUSED
            ),
            max_bandwidth_bytes_per_s=command.options.max_bandwidth_bytes_per_s,
            downtime_limit_ms=command.options.downtime_limit_ms,
        )
        await self._ownership.require_lock(
            command.server_id,
            command.generation,
            host_id=facts.host_id,
            migration_id=command.migration_id,
        )
        await self._journal.write(entry)
        job = self._make(entry)
        call = self._driver.migrate(departure_of(entry))
        name = guest.definition.name
        _log.info("%s: %r goes to %r", command.migration_id, name, command.target_host_name)
        self._jobs[command.migration_id] = job
        self._publish(job.job)
        self._tasks.create_task(self._follow(job, call))
        return job.job

    async def _limit_downtime(self, command: MigrateCommand) -> None:
        limit_ms = command.options.downtime_limit_ms
        holds_ms = await self._driver.limit_downtime(command.server_id, limit_ms)
        if holds_ms != limit_ms:
            raise GodwitError(
                ErrorCode.LIBVIRT,
                f"libvirt keeps a downtime limit of {holds_ms} ms instead of {limit_ms} ms",
            )

    async def cancel(self, migration_id: str, command: JobCommand) -> Job:
        """Abort a job.

        Raises:
            GodwitError: ``NOT_FOUND``, ``BAD_REQUEST`` if it is another server's,
                ``STALE_GENERATION``, or ``CONFLICT`` while it is being begun or when its state
                does not allow it.
        """
        job = await self._commanded(migration_id, command)
        job.cancel()
        return job.job

    async def change(self, migration_id: str, command: ParametersCommand) -> Job:
        """Change a job's cap or downtime limit.

        Raises:
            GodwitError: as :meth:`cancel`, ``BAD_REQUEST`` for figures that mean nothing, or
                ``LIBVIRT``.
        """
        job = await self._commanded(migration_id, command)
        await job.change(command.parameters)
        return job.job

    async def switch_to_postcopy(self, migration_id: str, command: JobCommand) -> Job:
        """Let a guest run on its target now.

        Raises:
            GodwitError: as :meth:`cancel`, or ``LIBVIRT``.
        """
        job = await self._commanded(migration_id, command)
        await job.switch_to_postcopy()
        return job.job

    async def recover(self, migration_id: str, command: JobCommand) -> Job:
        """Go on with a post-copy whose connection broke.

        Raises:
            GodwitError: as :meth:`cancel`, or ``LIBVIRT``.
        """
        job = await self._commanded(migration_id, command)
        await job.recover()
        return job.job

    async def _commanded(
        self, migration_id: str, command: JobCommand | ParametersCommand
    ) -> MigrationJob:
        job = self._find(migration_id)
        if job.job.server_id != command.server_id:
            raise bad_request(
                f"the migration {migration_id} moves the server {job.job.server_id}, "
                f"not {command.server_id!r}",
            )
        await self._ownership.require_generation(command.server_id, command.generation)
        return job

    def _make(self, entry: Entry) -> MigrationJob:
        return MigrationJob(entry, self._driver, self._journal, publish=self._publish)

    async def _follow(self, job: MigrationJob, call: asyncio.Future[None] | None) -> None:
        await job.run(call)
        self._inventory.server_changed(job.job.server_id)
        if job.job.error:
            self._on_broken(job.job.server_id)
        ended = [migration_id for migration_id, each in self._jobs.items() if each.ended]
        for migration_id in ended[:-_MOST_ENDED]:
            del self._jobs[migration_id]
            await self._journal.remove(migration_id)

    def _find(self, migration_id: str) -> MigrationJob:
        job = self._jobs.get(migration_id)
        if job is None and migration_id in self._beginning:
            # who is told that it is unknown gives the server's record back
            raise conflict(f"the migration {migration_id} is only just being begun")
        if job is None:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"this host knows no migration with the id {migration_id!r}"
            )
        return job
