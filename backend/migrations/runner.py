"""One live migration from its journal record to its end, wherever the record stands at first."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from backend.migrations import ending
from backend.migrations.beginning import begin
from backend.migrations.clearing import (
    clear_target,
    complete_target,
    end_half,
    release_source,
)
from backend.migrations.deciding import Decision
from backend.migrations.drive import Drive, NotBegun, Occupied
from backend.migrations.guests import is_offline, side_on
from backend.migrations.notes import merged, noted
from backend.migrations.outcome import HALVES, Side, Verdict, has_no_half
from backend.migrations.recovery import Recovery
from wire.agent import Job, JobCommand, JobState
from wire.errors import GodwitError
from wire.fleet import Owner, OwnerPhase
from wire.migration import Migration, MigrationState, PostcopyState

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_QUIET_S = 3.0
"""A job that said nothing for so long is asked for."""

_OF_JOB = {
    JobState.COPYING_DISKS: MigrationState.COPYING_DISKS,
    JobState.COPYING_MEMORY: MigrationState.COPYING_MEMORY,
    JobState.SWITCHING_OVER: MigrationState.SWITCHING_OVER,
    JobState.ENDED: MigrationState.COMPLETING,
}

_KEEPS = {Side.RUNNING, Side.SUSPENDED, Side.DEAD}
"""The server stays the source's, so that nothing of its migration is needed on the target."""


class Runner:
    """Drives one migration. Cancelling the task stops the driving, never the migration itself."""

    def __init__(self, drive: Drive, migration_id: str) -> None:
        self._drive = drive
        self._jobs = drive.jobs
        self._id = migration_id
        self._recovery = Recovery(drive)
        self._decision = Decision(drive, migration_id)

    async def run(self) -> None:
        """Carry the migration to its end.

        Raises:
            GodwitError: NOT_LEADING, another backend carries on.
        """
        migration = await self._drive.journal.read(self._id)
        if migration is None or migration.state.ended:
            return
        try:
            await begin(self._drive, migration)
        except NotBegun as reason:
            await self._give_up(reason)
            return
        while True:
            await self._follow()
            if (await self._reread()).state.ended:
                self._jobs.forget(self._id)  # a person settled it
                return
            finding = await self._decision.find()
            if finding is not None:
                break
        await self._settle(finding)

    async def _follow(self) -> None:
        """Follow the job until nothing more can come of it.

        It ended, its agent does not know it, its host or the other half of its guest went away, or
        a person settled what was left of it.
        """
        watcher = self._jobs.watcher(self._id)
        while True:
            watcher.clear()
            migration = await self._reread()
            job = self._jobs.latest(self._id)
            if migration.state.ended:
                return
            if job is not None:
                await self._take(migration, job)
                if job.state is JobState.ENDED or await self._broke_off(migration, job):
                    return
            if is_offline(self._drive.fleet, migration.source_host_id):
                return
            if migration.cancel_requested_by and not (job and job.cancel_requested):
                await self._cancel(migration)
            if self._jobs.quiet_s(self._id) > _QUIET_S and not await self._known(migration):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await watcher.wait()

    async def _broke_off(self, migration: Migration, job: Job) -> bool:
        """Whether post-copy broke off, and the target has no half of the guest to go on with.

        If it has one, the post-copy is recovered, once a person wants it to.
        """
        if job.postcopy is not PostcopyState.PAUSED:
            return False
        host_id, name = migration.target_host_id, migration.target_host_name
        side, truth = await side_on(self._drive, migration.server_id, host_id, name)
        if has_no_half(side, receiving=truth is not None and truth.job_active):
            return True
        await self._recovery.go_on(migration)
        return False

    async def _take(self, migration: Migration, job: Job) -> None:
        # A job that ended with an error completes nothing: both hosts are asked what it left.
        state = None if job.error else _OF_JOB.get(job.state)
        if state is not None and state.rank > migration.state.rank:
            await self._drive.advance(self._id, state)
        if job.postcopy not in {PostcopyState.NOT, migration.postcopy} or set(job.notes) - set(
            migration.notes
        ):
            await self._drive.journal.advance(self._id, lambda known: _with_news(known, job))

    async def _give_up(self, reason: NotBegun) -> None:
        """End a migration that touched no guest; the room that was made for it is given back."""
        migration = await self._reread()
        final = ending.not_begun(migration, str(reason))
        prepared = migration.state.rank >= MigrationState.PREPARING.rank
        if prepared and not isinstance(reason, Occupied):
            final = await self._cleared(final)
        await self._finish(final, ending.unlocked)

    def _needs_nothing_there(self, migration: Migration, source: Side) -> bool:
        """Whether nothing of a server that stayed is needed on the target.

        Once a guest ran there, its copied disks hold the newest writes; of one on shared disks
        libvirt leaves a definition that nobody wants.
        """
        return source in _KEEPS or (
            source is Side.SHUT_OFF and self._drive.copies_nothing(migration)
        )

    async def _cleared(self, final: Migration) -> Migration:
        cleared = await clear_target(self._drive, final, generation=final.generation)
        if cleared.error:
            final = noted(final, cleared.error)
        return msgspec.structs.replace(final, kept=cleared.kept)

    async def _known(self, migration: Migration) -> bool:
        """Whether the source's agent knows the job; one that does not answer counts as yes."""
        try:
            return await self._drive.ask_for_job(migration)
        except GodwitError as error:
            _log.warning("%s: not followed now: %s", self._id, error.message)
            return True

    async def _cancel(self, migration: Migration) -> None:
        command = JobCommand(server_id=migration.server_id, generation=migration.generation)
        try:
            self._jobs.put(await self._drive.source(migration).cancel(self._id, command))
        except GodwitError as error:
            _log.warning("%s: not cancelled yet: %s", self._id, error.message)

    async def _settle(self, finding: ending.Finding) -> None:
        """Write the end, with what the source's agent knows of its job if it can be asked."""
        migration = await self._reread()
        if migration.state.ended:
            return
        if finding.source_truth is not None and not self._jobs.ended(self._id):
            await self._known(migration)
        job, samples = self._jobs.latest(self._id), self._jobs.samples(self._id)
        if job is not None:
            migration = _with_news(migration, job)
        health = self._drive.fleet.health.get(migration.target_host_id)
        epoch = health.epoch if health else 0
        judgement = finding.judgement

        def own(owner: Owner) -> Owner:
            return ending.owner_after(owner, migration, judgement, epoch)

        if judgement.verdict is Verdict.MOVED:
            migration = ending.arrived(migration)
            migration, finding = await self._moved(migration, finding, own)
        final = ending.ended(migration, finding, job, samples)
        if judgement.verdict is Verdict.STAYED and self._needs_nothing_there(
            migration, finding.source
        ):
            final = await self._cleared(final)
        await self._finish(final, own)

    async def _moved(
        self, migration: Migration, finding: ending.Finding, own: Callable[[Owner], Owner]
    ) -> tuple[Migration, ending.Finding]:
        """Give the target what it now has, then let go of what the server leaves behind.

        That is also a half of it that nobody fetches memory from any more, and the definition that
        libvirt leaves when post-copy went on unattended: the guest must not be started from it.
        """
        keep = migration.options.keep_dest_guest_on_failed
        half = finding.source in HALVES
        if not (migration.source_paths or keep or half or finding.source is Side.SHUT_OFF):
            return migration, finding
        completing = msgspec.structs.replace(migration, state=MigrationState.COMPLETING)

        def still_locked(owner: Owner) -> Owner:
            return msgspec.structs.replace(
                own(owner), phase=OwnerPhase.MIGRATING, migration_id=self._id
            )

        await self._drive.journal.advance_with_owner(completing, still_locked)
        generation = migration.generation + 1
        error = await end_half(self._drive, migration, generation=generation) if half else ""
        if not error:
            error = (await release_source(self._drive, migration, generation=generation)).error
        await complete_target(self._drive, migration)
        if error:
            return noted(migration, error), finding
        if half:
            judgement = msgspec.structs.replace(finding.judgement, leftover=False)
            finding = msgspec.structs.replace(finding, source=Side.ABSENT, judgement=judgement)
        return migration, finding

    async def _finish(self, final: Migration, own: Callable[[Owner], Owner]) -> None:
        final = await self._drive.journal.advance_with_owner(final, own)
        self._jobs.forget(self._id)
        _log.info("%s: %s: %s %s", self._id, final.state, final.outcome, final.error)

    async def _reread(self) -> Migration:
        return await self._drive.reread(self._id)


def _with_news(migration: Migration, job: Job) -> Migration:
    """Take over what the agent decided, and how far post-copy is."""
    postcopy = migration.postcopy if job.postcopy is PostcopyState.NOT else job.postcopy
    goes_on = postcopy is not PostcopyState.PAUSED
    return msgspec.structs.replace(
        migration,
        postcopy=postcopy,
        recovery_requested_by="" if goes_on else migration.recovery_requested_by,
        notes=merged(migration.notes, job.notes),
    )
