"""What the leader does all the time: run what is unfinished, and keep the journal short."""

import asyncio
import contextlib
import logging
import time

from backend.duties import Duty, Faults
from backend.leader_writes import NOTHING_IS_WRITTEN, TRIM_BATCH
from backend.migrations.cold import ColdRunner
from backend.migrations.drive import Drive
from backend.migrations.runner import Runner
from backend.rescue.claims import Claims
from backend.rescue.runner import RescueRunner
from wire.errors import GodwitError
from wire.migration import Migration

_log = logging.getLogger(__name__)

ENDED_KEPT = 1_000
"""Ended records that stay in the journal, the newest ones, and those with files kept on request."""
_SWEEP_S = 1.0
_WELL_S = 60.0
"""A runner that started over counts as mended once it has gone on for so long."""


class Leader:
    """Runs every unfinished migration for as long as this backend leads."""

    def __init__(self, drive: Drive, claims: Claims, wake: asyncio.Event, faults: Faults) -> None:
        self._drive = drive
        self._faults = faults
        self._claims = claims
        self._wake = wake
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._failed_s: dict[str, float] = {}
        """migration_id → when its runner failed last, monotonic."""

    async def lead(self) -> None:
        """Sweep for ever."""
        try:
            while True:
                self._wake.clear()
                if not self._drive.fleet.etcd_error:
                    self._sweep()
                    await self._trim()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SWEEP_S):
                        await self._wake.wait()
        finally:
            for task in self._runners.values():
                task.cancel()
            await asyncio.gather(*self._runners.values(), return_exceptions=True)
            self._runners.clear()

    def _sweep(self) -> None:
        for migration_id, task in tuple(self._runners.items()):
            if task.done():
                del self._runners[migration_id]
                self._report(migration_id, task)
        for migration in tuple(self._drive.fleet.migrations.values()):
            migration_id = migration.migration_id
            if not migration.state.ended and migration_id not in self._runners:
                self._runners[migration_id] = asyncio.create_task(
                    self._run(migration), name=f"migration {migration_id}"
                )

        since_s = time.monotonic() - _WELL_S
        for migration_id, at_s in tuple(self._failed_s.items()):
            if migration_id not in self._runners or at_s < since_s:
                del self._failed_s[migration_id]
        self._faults.keep_parts(Duty.MIGRATIONS, self._failed_s)

    def _report(self, migration_id: str, task: asyncio.Task[None]) -> None:
        """Say why a runner stopped early; the next sweep starts another."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, GodwitError):
            _log.warning("%s: %s", migration_id, error.message)
            if error.code in NOTHING_IS_WRITTEN:
                return
        else:
            _log.error("%s: the runner failed and starts over", migration_id, exc_info=error)
        self._failed_s[migration_id] = time.monotonic()
        known = self._drive.fleet.migrations.get(migration_id)
        of = f"the migration of {known.server_name}" if known else migration_id
        self._faults.add_part(Duty.MIGRATIONS, migration_id, error, of=of)

    async def _run(self, migration: Migration) -> None:
        match migration.kind:
            case "live":
                await Runner(self._drive, migration.migration_id).run()
            case "cold":
                await ColdRunner(self._drive, migration.migration_id).run()
            case "rescue":
                await RescueRunner(self._drive, self._claims, migration.migration_id).run()

    async def _trim(self) -> None:
        old = too_old(tuple(self._drive.fleet.migrations.values()))[:TRIM_BATCH]
        if not old:
            return
        try:
            await self._drive.journal.trim(old)
        except GodwitError as error:
            _log.warning("journal not trimmed: %s", error.message)
            return
        _log.info("%d old migrations are forgotten", len(old))


def too_old(migrations: tuple[Migration, ...]) -> list[Migration]:
    """List the ended records beyond those that stay, oldest first."""
    if len(migrations) <= ENDED_KEPT:
        return []
    ended = [one for one in migrations if one.state.ended and not one.kept]
    ended.sort(key=lambda one: one.created_at_ms)
    return ended[: max(0, len(ended) - ENDED_KEPT)]
