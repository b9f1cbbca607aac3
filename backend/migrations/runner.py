"""One migration from its journal record to its end, wherever the record stands when we begin."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from backend.agents import AgentClient, Agents
from backend.fleet.known import Fleet
from backend.migrations import ending
from backend.migrations.choice import choose
from backend.migrations.guests import ask, is_offline
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.outcome import Side, Verdict, side_of
from wire.agent import CancelCommand, Job, JobState, MigrateCommand, ResumeCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner, OwnerPhase
from wire.migration import Migration, MigrationState

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_QUIET_S = 3.0
"""A job that said nothing for so long is asked for."""
_ASK_AGAIN_S = 0.5
_PATIENCE_S = 60.0
"""libvirt removes a leftover on the target itself, at the latest when its keepalive (30 s) ends."""
_SETTLE_S = 10.0
"""After a takeover, agents get this long to connect before no target counts as none."""

_OF_JOB = {
    JobState.COPYING_DISKS: MigrationState.COPYING_DISKS,
    JobState.COPYING_MEMORY: MigrationState.COPYING_MEMORY,
    JobState.SWITCHING_OVER: MigrationState.SWITCHING_OVER,
    JobState.ENDED: MigrationState.COMPLETING,
}


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every runner works with."""

    fleet: Fleet
    agents: Agents
    jobs: Jobs
    journal: Journal


class _NotBegun(Exception):
    """The migration ends before any guest was touched; without a text it was cancelled."""


class Runner:
    """Drives one migration. Cancelling the task stops the driving, never the migration itself."""

    def __init__(self, parts: Parts, migration_id: str) -> None:
        self._fleet = parts.fleet
        self._agents = parts.agents
        self._jobs = parts.jobs
        self._journal = parts.journal
        self._id = migration_id
        self._error = ""
        self._cancel_sent = False

    async def run(self) -> None:
        """Carry the migration to its end.

        Raises:
            GodwitError: NOT_LEADING, another backend carries on.
        """
        migration = await self._journal.read(self._id)
        if migration is None or migration.state.ended:
            return
        try:
            if not await self._begun(migration):
                migration = await self._schedule(migration)
                migration = await self._prepare(migration)
                await self._start(migration)
        except _NotBegun as reason:
            await self._end_unbegun(str(reason))
            return
        await self._follow()
        await self._settle()

    async def _begun(self, migration: Migration) -> bool:
        """Whether the source's agent was told, or may have been told, to move the guest."""
        if migration.state.rank > MigrationState.PREPARING.rank:
            return True
        if not migration.started_at_ms:
            return False
        while not is_offline(self._fleet, migration.source_host_id):
            try:
                self._jobs.put_detail(await self._source(migration).job(self._id))
            except GodwitError as error:
                if error.code is ErrorCode.NOT_FOUND:
                    return False
            else:
                return True
            await asyncio.sleep(_ASK_AGAIN_S)
        return True

    async def _schedule(self, migration: Migration) -> Migration:
        """Choose the target, and write it into journal and ownership in one transaction."""
        migration = await self._advance(MigrationState.SCHEDULING)
        if migration.target_host_id:
            return migration
        deadline_s = time.monotonic() + _SETTLE_S
        while True:
            self._stop_if_cancelled()
            try:
                target = choose(self._fleet, migration)
                break
            except GodwitError as error:
                settling = any(not link.connected for link in self._fleet.links.values())
                if not settling or time.monotonic() > deadline_s:
                    raise _NotBegun(error.message) from None
            await asyncio.sleep(_ASK_AGAIN_S)
        scheduled = msgspec.structs.replace(
            migration, target_host_id=target.host_id, target_host_name=target.host_name
        )
        return await self._journal.advance_with_owner(
            scheduled,
            lambda owner: msgspec.structs.replace(owner, target_host_id=target.host_id),
        )

    async def _prepare(self, migration: Migration) -> Migration:
        """Check on both hosts that the guest can start to move."""
        migration = await self._advance(MigrationState.PREPARING)
        self._stop_if_cancelled()
        try:
            target = await self._target(migration).truth(migration.server_id)
            source = await self._source(migration).truth(migration.server_id)
        except GodwitError as error:
            raise _NotBegun(error.message) from None
        if side_of(target) not in {Side.ABSENT, Side.SHUT_OFF}:
            raise _NotBegun(
                f"{migration.target_host_name} already holds {migration.server_name} "
                f"({target.state})"
            )
        if source.job_active:
            raise _NotBegun(
                f"libvirt on {migration.source_host_name} already has a job on "
                f"{migration.server_name}"
            )
        if side_of(source) is not Side.RUNNING:
            raise _NotBegun(
                f"{migration.server_name} is {source.state} on {migration.source_host_name}, "
                "and a live migration needs it running"
            )
        return migration

    async def _start(self, migration: Migration) -> None:
        """Tell the source's agent, after writing down that it may have been told."""
        self._stop_if_cancelled()
        target = self._fleet.facts[migration.target_host_id]
        command = MigrateCommand(
            migration_id=self._id,
            server_id=migration.server_id,
            generation=migration.generation,
            target_host_id=target.host_id,
            target_host_name=target.name,
            target_libvirt_uri=f"qemu+tls://{target.name}/system",
            target_address=target.address,
            options=migration.options,
        )
        await self._change(_started)
        _log.info(
            "%s: %s is told to move %s", self._id, migration.source_host_name, migration.server_name
        )
        try:
            self._jobs.put(await self._source(migration).migrate(command))
        except GodwitError as error:
            if error.code is not ErrorCode.AGENT_UNREACHABLE:
                raise _NotBegun(error.message) from None
            self._error = error.message
            if not await self._begun(await self._reread()):
                raise _NotBegun(error.message) from None

    async def _follow(self) -> None:
        """Follow the job until it ended, its agent does not know it, or its host went away."""
        watcher = self._jobs.watcher(self._id)
        while True:
            watcher.clear()
            migration = await self._reread()
            job = self._jobs.latest(self._id)
            if job is not None:
                migration = await self._take(migration, job)
                if job.state is JobState.ENDED:
                    return
            if is_offline(self._fleet, migration.source_host_id):
                return
            if migration.cancel_requested_by:
                await self._cancel(migration)
            if self._jobs.quiet_s(self._id) > _QUIET_S and not await self._ask_for_job(migration):
                return
            try:
                await asyncio.wait_for(watcher.wait(), _TICK_S)
            except TimeoutError:
                continue

    async def _take(self, migration: Migration, job: Job) -> Migration:
        self._error = job.error or self._error
        state = _OF_JOB.get(job.state)
        if state is None or state.rank <= migration.state.rank:
            return migration
        return await self._advance(state)

    async def _ask_for_job(self, migration: Migration) -> bool:
        """Ask the source's agent; False when it answers that it knows no such job."""
        try:
            self._jobs.put_detail(await self._source(migration).job(self._id))
        except GodwitError as error:
            return error.code is not ErrorCode.NOT_FOUND
        return True

    async def _cancel(self, migration: Migration) -> None:
        if self._cancel_sent:
            return
        command = CancelCommand(server_id=migration.server_id, generation=migration.generation)
        try:
            self._jobs.put(await self._source(migration).cancel(self._id, command))
            self._cancel_sent = True
        except GodwitError as error:
            _log.warning("%s: not cancelled yet: %s", self._id, error.message)
            self._cancel_sent = error.code not in {ErrorCode.AGENT_UNREACHABLE, ErrorCode.LIBVIRT}

    async def _settle(self) -> None:
        """Find where the guest is by asking both hosts, make it run, and write the end."""
        migration = await self._advance(MigrationState.COMPLETING)
        patience_ends_s = time.monotonic() + _PATIENCE_S
        told = ""
        while True:
            patient = time.monotonic() < patience_ends_s
            finding = await ask(self._agents, self._fleet, migration, patient=patient)
            pair = f"source {finding.source}, target {finding.target}: {finding.judgement.verdict}"
            if pair != told:
                _log.info("%s: %s", self._id, pair)
                told = pair
            verdict = finding.judgement.verdict
            if verdict is Verdict.RESUME and await self._resume(migration, patient=patient):
                continue
            if verdict is not Verdict.WAIT and (verdict is not Verdict.RESUME or not patient):
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        migration = await self._reread()
        job, samples = self._jobs.latest(self._id), self._jobs.samples(self._id)
        final = ending.ended(migration, finding, job, samples, self._error)
        epoch = self._epoch(migration.target_host_id)
        await self._finish(
            final, lambda owner: ending.owner_after(owner, migration, finding.judgement, epoch)
        )

    async def _resume(self, migration: Migration, *, patient: bool) -> bool:
        """Let the guest run again on the source; whether that worked."""
        try:
            command = ResumeCommand(generation=migration.generation)
            await self._source(migration).resume(migration.server_id, command)
        except GodwitError as error:
            _log.warning("%s: %s not resumed: %s", self._id, migration.server_name, error.message)
            self._error = self._error or error.message
            return False
        return patient

    async def _end_unbegun(self, error: str) -> None:
        migration = await self._reread()
        final = ending.not_begun(migration, error)
        await self._finish(
            final,
            lambda owner: msgspec.structs.replace(
                owner, phase=OwnerPhase.SETTLED, target_host_id="", migration_id=""
            ),
        )

    async def _finish(self, final: Migration, own: Callable[[Owner], Owner]) -> None:
        final = await self._journal.advance_with_owner(final, own)
        self._jobs.forget(self._id)
        _log.info("%s: %s: %s %s", self._id, final.state, final.outcome, final.error)

    async def _reread(self) -> Migration:
        """The record as last written; the fleet model has every write of ours at once."""
        known = self._fleet.migrations.get(self._id)
        if known is not None:
            return known
        read = await self._journal.read(self._id)
        if read is None:
            raise GodwitError(ErrorCode.NOT_FOUND, f"the record of migration {self._id} vanished")
        return read

    async def _advance(self, state: MigrationState) -> Migration:
        return await self._change(lambda known: msgspec.structs.replace(known, state=state))

    async def _change(self, change: Callable[[Migration], Migration]) -> Migration:
        return await self._journal.advance(self._id, change)

    def _stop_if_cancelled(self) -> None:
        known = self._fleet.migrations.get(self._id)
        if known is not None and known.cancel_requested_by:
            raise _NotBegun

    def _source(self, migration: Migration) -> AgentClient:
        return self._agents.of(migration.source_host_id, migration.source_host_name)

    def _target(self, migration: Migration) -> AgentClient:
        return self._agents.of(migration.target_host_id, migration.target_host_name)

    def _epoch(self, host_id: str) -> int:
        health = self._fleet.health.get(host_id)
        return health.epoch if health else 0


def _started(known: Migration) -> Migration:
    if known.started_at_ms:
        return known
    return msgspec.structs.replace(known, started_at_ms=ending.now_ms())
