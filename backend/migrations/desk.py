"""Where migrations are asked for and cancelled, and where the leader keeps one runner for each."""

import asyncio
import logging
import secrets

import msgspec

from backend.fleet.names import find_host, find_server
from backend.fleet.server_view import standing
from backend.leader import Leadership
from backend.migrations.choice import all_candidates, pick, unreported
from backend.migrations.drive import Drive
from backend.migrations.ending import now_ms
from backend.migrations.runner import Runner
from backend.scheduler.state import not_live
from wire.agent import Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.fleet import ServerRecord, ServerStatus
from wire.migration import Migration, MigrationOptions, MigrationState

_log = logging.getLogger(__name__)

_SWEEP_S = 1.0
_CANCEL_TIMEOUT_S = 5.0
_LONGEST_DOWNTIME_MS = 2_000_000
"""QEMU's own bound of ``downtime-limit``."""


class Desk:
    """Takes acts from the API. Only the leading backend acts."""

    def __init__(self, drive: Drive, leadership: Leadership, *, name: str) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._journal = drive.journal
        self._leadership = leadership
        self._name = name
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def live_migrate(
        self, server: str, options: MigrationOptions, *, requested_by: str
    ) -> Migration:
        """Check everything, then begin a live migration.

        Args:
            server: the server's name or id.
            options: what the operator asked for.
            requested_by: name of the operator's token.

        Raises:
            GodwitError: one sentence why not; nothing was changed.
        """
        self._check_acting()
        record = find_server(self._fleet, server)
        _check_options(options)
        prefer = find_host(self._fleet, options.prefer_host) if options.prefer_host else None
        self._check_running(record)
        judged = all_candidates(self._fleet, record)
        pick(record.name, judged, prefer.host_id if prefer else "")
        migration = Migration(
            migration_id=secrets.token_hex(6),
            server_id=record.server_id,
            server_name=record.name,
            source_host_id=record.owner.host_id,
            source_host_name=self._fleet.facts[record.owner.host_id].name,
            options=options,
            requested_by=requested_by,
            created_at_ms=now_ms(),
        )
        migration = await self._journal.begin(migration)
        _log.info(
            "%s asks to live-migrate %s from %s: migration %s",
            requested_by,
            record.name,
            migration.source_host_name,
            migration.migration_id,
        )
        self._wake.set()
        return migration

    async def cancel(self, migration_id: str, *, requested_by: str) -> Migration:
        """Ask for a migration's end.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT once it switches over or has ended; NOT_LEADING;
                ETCD_UNREACHABLE.
        """
        self._check_acting()
        known = self._fleet.migrations.get(migration_id)
        if known is None:
            raise GodwitError(ErrorCode.NOT_FOUND, f"no migration has the id {migration_id!r}")
        _check_cancellable(known)
        _check_job(known, self._drive.jobs.latest(migration_id))

        def change(migration: Migration) -> Migration:
            _check_cancellable(migration)
            return msgspec.structs.replace(
                migration, cancel_requested_by=migration.cancel_requested_by or requested_by
            )

        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                migration = await self._journal.advance(migration_id, change)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd did not take the cancel within {_CANCEL_TIMEOUT_S:g} s; ask again",
            ) from None
        _log.info("%s asks to cancel migration %s", requested_by, migration_id)
        self._drive.jobs.wake(migration_id)
        return migration

    def _check_acting(self) -> None:
        if self._fleet.etcd_error:
            raise GodwitError(ErrorCode.ETCD_UNREACHABLE, self._fleet.etcd_error)
        if self._leadership.leading:
            return
        leader = self._fleet.leader_name
        if leader and leader != self._name:
            sentence = f"{self._name} does not lead; ask {leader}, which does"
        else:
            sentence = f"{self._name} does not lead yet; try again in a few seconds"
        raise GodwitError(ErrorCode.NOT_LEADING, sentence)

    async def lead(self) -> None:
        """Run every unfinished migration for as long as this backend leads."""
        try:
            while True:
                self._wake.clear()
                if not self._fleet.etcd_error:
                    self._sweep()
                try:
                    await asyncio.wait_for(self._wake.wait(), _SWEEP_S)
                except TimeoutError:
                    continue
        finally:
            for task in self._runners.values():
                task.cancel()
            await asyncio.gather(*self._runners.values(), return_exceptions=True)
            self._runners.clear()

    def _sweep(self) -> None:
        for migration_id, task in tuple(self._runners.items()):
            if task.done():
                del self._runners[migration_id]
                _report(migration_id, task)
        for migration in tuple(self._fleet.migrations.values()):
            if not migration.state.ended and migration.migration_id not in self._runners:
                runner = Runner(self._drive, migration.migration_id)
                self._runners[migration.migration_id] = asyncio.create_task(
                    runner.run(), name=f"migration {migration.migration_id}"
                )

    def _check_running(self, record: ServerRecord) -> None:
        now = standing(self._fleet, record)
        if now.status is ServerStatus.UNKNOWN:
            raise GodwitError(
                ErrorCode.AGENT_UNREACHABLE, f"{unreported(self._fleet, record)}: {now.reason}"
            )
        if now.status in {ServerStatus.START_MIGRATE, ServerStatus.LIVE_MIGRATING}:
            raise GodwitError(
                ErrorCode.CONFLICT,
                f"{record.name} already migrates {now.reason} "
                f"(migration {record.owner.migration_id}); wait for its end or cancel it",
            )
        refusal = not_live(record.name, now.status, now.reason)
        if refusal:
            raise GodwitError(ErrorCode.CONFLICT, refusal)


def _check_options(options: MigrationOptions) -> None:
    if not 1 <= options.downtime_limit_ms <= _LONGEST_DOWNTIME_MS:
        raise GodwitError(
            ErrorCode.BAD_REQUEST,
            f"downtime_limit_ms is {options.downtime_limit_ms}, "
            f"and must be 1 to {_LONGEST_DOWNTIME_MS}",
        )


def _check_cancellable(migration: Migration) -> None:
    if migration.state.ended:
        raise GodwitError(
            ErrorCode.CONFLICT,
            f"migration {migration.migration_id} has already {_ENDS[migration.state]}: "
            f"{migration.outcome}",
        )
    if migration.state.rank >= MigrationState.SWITCHING_OVER.rank:
        raise GodwitError(
            ErrorCode.CONFLICT,
            f"{migration.server_name} is already switching over to "
            f"{migration.target_host_name}, too late to cancel",
        )


def _check_job(migration: Migration, job: Job | None) -> None:
    """Refuse to cancel what has failed by itself, while both hosts are asked what it left."""
    if job is not None and job.state is JobState.ENDED and not job.cancel_requested:
        raise GodwitError(
            ErrorCode.CONFLICT,
            f"the job of migration {migration.migration_id} has already ended"
            f"{f': {job.error}' if job.error else ''}",
        )


_ENDS = {
    MigrationState.SUCCEEDED: "succeeded",
    MigrationState.FAILED: "failed",
    MigrationState.CANCELLED: "been cancelled",
}


def _report(migration_id: str, task: asyncio.Task[None]) -> None:
    """Say why a runner stopped early; the next sweep starts another."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, GodwitError):
        _log.warning("%s: %s", migration_id, error.message)
    else:
        _log.error("%s: the runner failed and starts over", migration_id, exc_info=error)
