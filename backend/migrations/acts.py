"""What can be asked of a migration under way, or of one that has ended and left something."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from backend.leader import Leadership
from backend.migrations.acting import check_acting
from backend.migrations.checks import check_parameters
from backend.migrations.drive import Drive
from backend.migrations.notes import noted
from wire.agent import Job, JobCommand, JobState
from wire.errors import ErrorCode, GodwitError, conflict
from wire.migration import Migration, MigrationParameters, MigrationState, PostcopyState

_log = logging.getLogger(__name__)

_JOURNAL_TIMEOUT_S = 5.0
_MIB = 1 << 20


class Acts:
    """Takes acts from the API. Only the leading backend acts; each is journaled with who asked."""

    def __init__(self, drive: Drive, leadership: Leadership) -> None:
        self._drive = drive
        self._leadership = leadership

    async def cancel(self, migration_id: str, *, requested_by: str) -> Migration:
        """Ask for a migration's end.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT once it switches over, is in post-copy or has ended;
                NOT_LEADING; ETCD_UNREACHABLE.
        """
        known = self._found(migration_id)
        if known.kind == "rescue" and not known.state.ended:
            raise conflict(
                f"the rescue of {known.server_name} cannot be cancelled: it belongs to "
                f"{known.target_host_name} already, and its old host is dead"
            )
        _check_cancellable(known)
        _check_job(known, self._drive.jobs.latest(migration_id))

        def change(migration: Migration) -> Migration:
            _check_cancellable(migration)
            if migration.cancel_requested_by:
                return migration
            return noted(
                msgspec.structs.replace(migration, cancel_requested_by=requested_by),
                "cancel asked for",
                by=requested_by,
            )

        migration = await self._journaled(migration_id, change, "cancel")
        _log.info("%s asks to cancel migration %s", requested_by, migration_id)
        self._drive.jobs.wake(migration_id)
        return migration

    async def set_parameters(
        self, migration_id: str, parameters: MigrationParameters, *, requested_by: str
    ) -> Migration:
        """Change the cap or the downtime limit of a migration under way.

        Raises:
            GodwitError: BAD_REQUEST; NOT_FOUND; CONFLICT; the agent's refusal.
        """
        known = self._under_way(migration_id)
        check_parameters(known, parameters)
        told = self._runs(migration_id)
        if told:
            await self._drive.tell_parameters(known, parameters)

        def change(migration: Migration) -> Migration:
            return noted(
                msgspec.structs.replace(
                    migration, parameters=migration.parameters.then(parameters)
                ),
                _changes(migration, parameters),
                by=requested_by,
            )

        changed = await self._journaled(migration_id, change, "change")
        if not told and self._runs(migration_id):
            # it was being begun with what the record said before
            latest = await self._drive.reread(migration_id)
            await self._drive.tell_parameters(latest, latest.parameters)
        return changed

    def _runs(self, migration_id: str) -> bool:
        """Whether an agent runs its job, and so can be told."""
        job = self._drive.jobs.latest(migration_id)
        return job is not None and job.state is not JobState.ENDED

    async def postcopy(self, migration_id: str, *, requested_by: str) -> Migration:
        """Have a live migration fetch the rest of the memory after the guest has switched over.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT; the agent's refusal.
        """
        known = self._under_way(migration_id)
        name = known.server_name
        if known.kind != "live":
            raise conflict(
                f"{name} is stopped and moves {known.kind}, so there is no memory to fetch"
            )
        if known.postcopy is not PostcopyState.NOT:
            raise conflict(f"{name} is in post-copy already ({known.postcopy})")
        for host_id, host_name in (
            (known.source_host_id, known.source_host_name),
            (known.target_host_id, known.target_host_name),
        ):
            facts = self._drive.fleet.facts.get(host_id)
            if facts is not None and not facts.postcopy:
                raise conflict(
                    f"{host_name} cannot do post-copy: its kernel gives QEMU no userfaultfd"
                )
        if known.state is not MigrationState.COPYING_MEMORY:
            raise conflict(
                f"{name} is {known.state}, and can go over to post-copy once its memory is copied"
            )
        return await self._told(
            known,
            lambda command: self._drive.source(known).postcopy(migration_id, command),
            "switch to post-copy asked for",
            requested_by,
            postcopy=PostcopyState.ASKED,
        )

    async def recover(self, migration_id: str, *, requested_by: str) -> Migration:
        """Have a post-copy go on that a break of the link paused, as soon as both hosts answer.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT; NOT_LEADING; ETCD_UNREACHABLE.
        """
        known = self._under_way(migration_id)
        job = self._drive.jobs.latest(migration_id)
        postcopy = job.postcopy if job is not None else known.postcopy
        if PostcopyState.PAUSED not in {postcopy, known.postcopy}:
            raise conflict(
                f"there is nothing to recover: post-copy of {known.server_name} is "
                f"{'not begun' if postcopy is PostcopyState.NOT else postcopy}, and must be paused"
            )

        def change(migration: Migration) -> Migration:
            if migration.state.ended or migration.recovery_requested_by:
                return migration
            return noted(
                msgspec.structs.replace(
                    migration, postcopy=PostcopyState.PAUSED, recovery_requested_by=requested_by
                ),
                "recovery of post-copy asked for",
                by=requested_by,
            )

        migration = await self._journaled(migration_id, change, "recovery")
        _log.info("%s asks to recover the post-copy of migration %s", requested_by, migration_id)
        self._drive.jobs.wake(migration_id)
        return migration

    async def remove_kept(self, migration_id: str, *, requested_by: str) -> Migration:
        """Remove what a failed migration left on its target on request.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT; the agent's refusal.
        """
        known = self._found(migration_id)
        if not known.kept:
            raise conflict(f"migration {migration_id} keeps nothing on any host")
        await self._drive.target(known).remove_kept(migration_id)

        def change(migration: Migration) -> Migration:
            return noted(
                msgspec.structs.replace(migration, kept=()),
                f"what was kept on {known.target_host_name} was removed",
                by=requested_by,
            )

        _log.info("%s removes what migration %s kept", requested_by, migration_id)
        return await self._journaled(migration_id, change, "removal")

    async def _told(
        self,
        known: Migration,
        tell: Callable[[JobCommand], Awaitable[Job]],
        text: str,
        by: str,
        **changes: object,
    ) -> Migration:
        """Tell the source's agent, then journal that it was told."""
        command = JobCommand(server_id=known.server_id, generation=known.generation)
        # at once: what the agent's stream tells while the journal is written is newer
        self._drive.jobs.put(await tell(command))
        _log.info("%s: %s by %s", known.migration_id, text, by)

        def change(migration: Migration) -> Migration:
            later = migration.postcopy is not PostcopyState.NOT
            changed = migration if later else msgspec.structs.replace(migration, **changes)
            return noted(changed, text, by=by)

        return await self._journaled(known.migration_id, change, text)

    def _found(self, migration_id: str) -> Migration:
        check_acting(self._drive.fleet, self._leadership)
        known = self._drive.fleet.migrations.get(migration_id)
        if known is None:
            raise GodwitError(ErrorCode.NOT_FOUND, f"no migration has the id {migration_id!r}")
        return known

    def _under_way(self, migration_id: str) -> Migration:
        known = self._found(migration_id)
        _check_not_ended(known)
        if known.state is MigrationState.COMPLETING:
            raise conflict(f"{known.server_name} has been copied: nothing can be changed any more")
        return known

    async def _journaled(
        self, migration_id: str, change: Callable[[Migration], Migration], what: str
    ) -> Migration:
        try:
            async with asyncio.timeout(_JOURNAL_TIMEOUT_S):
                return await self._drive.journal.advance(migration_id, change)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd did not take the {what} within {_JOURNAL_TIMEOUT_S:g} s; ask again",
            ) from None


def _changes(migration: Migration, parameters: MigrationParameters) -> str:
    told = []
    cap = parameters.max_bandwidth_bytes_per_s
    if cap is not None or parameters.no_bandwidth_limit:
        before = _cap_text(migration.max_bandwidth_bytes_per_s)
        told.append(f"bandwidth cap changed from {before} to {_cap_text(cap)}")
    if (limit_ms := parameters.downtime_limit_ms) is not None:
        told.append(f"downtime limit changed from {migration.downtime_limit_ms} to {limit_ms} ms")
    return ", ".join(told)


def _cap_text(bytes_per_s: int | None) -> str:
    return "none" if bytes_per_s is None else f"{bytes_per_s / _MIB:g} MiB/s"


def _check_not_ended(migration: Migration) -> None:
    if migration.state.ended:
        raise conflict(
            f"migration {migration.migration_id} has already {_ENDS[migration.state]}: "
            f"{migration.outcome}"
        )


def _check_cancellable(migration: Migration) -> None:
    _check_not_ended(migration)
    if migration.postcopy in {PostcopyState.ACTIVE, PostcopyState.PAUSED}:
        raise conflict(
            f"{migration.server_name} is in post-copy: its memory is on both "
            f"{migration.source_host_name} and {migration.target_host_name}, so cancelling would "
            "kill it"
        )
    if migration.state.rank >= MigrationState.SWITCHING_OVER.rank:
        raise conflict(
            f"{migration.server_name} is already switching over to "
            f"{migration.target_host_name}, too late to cancel"
        )


def _check_job(migration: Migration, job: Job | None) -> None:
    """Refuse to cancel what has failed by itself, while both hosts are asked what it left."""
    if migration.kind == "cold" or job is None:
        return
    if job.postcopy in {PostcopyState.ACTIVE, PostcopyState.PAUSED}:
        _check_cancellable(msgspec.structs.replace(migration, postcopy=job.postcopy))
    if job.state is JobState.ENDED and not job.cancel_requested:
        raise conflict(
            f"the job of migration {migration.migration_id} has already ended"
            f"{f': {job.error}' if job.error else ''}"
        )


_ENDS = {
    MigrationState.SUCCEEDED: "succeeded",
    MigrationState.FAILED: "failed",
    MigrationState.CANCELLED: "been cancelled",
}
