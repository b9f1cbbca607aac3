"""What every step of a migration works with, and the few things that every step does."""

import logging

import msgspec

from backend.agents import AgentClient, Agents
from backend.fleet.cpus import Comparisons
from backend.fleet.dead import is_dead, is_over
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.notes import noted
from backend.scheduler.storage import carried
from wire.agent import Job, JobState, ParametersCommand
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.migration import Migration, MigrationParameters, MigrationState

_log = logging.getLogger(__name__)

ASK_AGAIN_S = 0.5
"""Between two questions to the same host."""
MAY_PASS = frozenset({ErrorCode.AGENT_UNREACHABLE, ErrorCode.LIBVIRT, ErrorCode.NOT_READY})
"""An agent or a libvirtd that was started anew answers soon; the latter's refusals look alike."""


class NotBegun(Exception):
    """The migration ends with the server as it was; without a text it was cancelled."""


class Occupied(NotBegun):
    """The target has a guest of this id that no migration of ours left there."""


class Drive(msgspec.Struct, frozen=True, kw_only=True):
    """Fleet model, agents, jobs, journal, and what libvirt says of CPUs."""

    fleet: Fleet
    agents: Agents
    jobs: Jobs
    journal: Journal
    comparisons: Comparisons

    async def reread(self, migration_id: str) -> Migration:
        """The record as last written: the fleet model has every write of ours at once.

        Raises:
            GodwitError: NOT_FOUND, somebody removed it.
        """
        known = self.fleet.migrations.get(migration_id)
        if known is None:
            known = await self.journal.read(migration_id)
        if known is None:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"the record of migration {migration_id} vanished"
            )
        return known

    async def advance(self, migration_id: str, state: MigrationState) -> Migration:
        """Journal a state, unless the record is further already."""
        return await self.journal.advance(
            migration_id, lambda known: msgspec.structs.replace(known, state=state)
        )

    async def note(self, migration_id: str, text: str, *, by: str = "") -> Migration:
        """Journal that something was decided or happened."""
        return await self.journal.advance(migration_id, lambda known: noted(known, text, by=by))

    async def dead_life(self, host_id: str) -> int | None:
        """The revision of the life of a dead host that is over; None if the host is not dead.

        By what etcd says now: a newer life may be written and not told yet. Not while etcd does
        not answer.
        """
        incident = self.fleet.open_incident(host_id)
        if incident is None or not is_dead(self.fleet, host_id):
            return None
        try:
            life, revision = await self.journal.life(host_id)
        except EtcdUnreachable:
            return None
        return revision if is_over(incident, life) else None

    async def is_dead(self, host_id: str) -> bool:
        """Whether a host is dead, in the same sense."""
        return await self.dead_life(host_id) is not None

    def source(self, migration: Migration) -> AgentClient:
        """The agent of the host that the server leaves.

        Raises:
            GodwitError: AGENT_UNREACHABLE, as for :meth:`target`.
        """
        return self.agents.of(migration.source_host_id, migration.source_host_name)

    def target(self, migration: Migration) -> AgentClient:
        """The agent of the host that the server goes to."""
        return self.agents.of(migration.target_host_id, migration.target_host_name)

    def worker(self, migration: Migration) -> AgentClient:
        """The agent that runs the job: of a cold migration the target's, which pulls."""
        return self.target(migration) if migration.kind == "cold" else self.source(migration)

    async def ask_for_job(self, migration: Migration) -> bool:
        """Ask the agent that runs it for the job with its curve; whether it knows one.

        Raises:
            GodwitError: the agent does not answer.
        """
        try:
            self.jobs.put_detail(await self.worker(migration).job(migration.migration_id))
        except GodwitError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            return False
        return True

    async def tell_parameters(self, known: Migration, parameters: MigrationParameters) -> None:
        """Tell the agent of a running job another cap or downtime limit.

        Raises:
            GodwitError: the agent's refusal.
        """
        command = ParametersCommand(
            server_id=known.server_id, generation=known.generation, parameters=parameters
        )
        self.jobs.put(await self.worker(known).set_parameters(known.migration_id, command))

    async def begun(self, started: Migration, job: Job) -> None:
        """Take a job that an agent has begun, and tell it what was changed in the meantime.

        Whoever changed it then knew of no job that could be told.

        Args:
            started: the record as the agent was told to begin with it.
            job: what the agent answered.
        """
        self.jobs.put(job)
        known = await self.reread(started.migration_id)
        if known.parameters == started.parameters or job.state is JobState.ENDED:
            return
        try:
            await self.tell_parameters(known, known.parameters)
        except GodwitError as error:
            _log.warning("%s: change not told: %s", started.migration_id, error.message)

    def copies_nothing(self, migration: Migration) -> bool:
        """Whether all disks of a migration's server are shared, so that no copy is the newest."""
        record = self.fleet.records.get(migration.server_id)
        if record is None or migration.source_paths:
            return False
        return not carried(record.disks, migration.kind)

    def stop_if_cancelled(self, migration_id: str) -> None:
        """End a migration that was cancelled before its point of no return.

        Raises:
            NotBegun: it was.
        """
        known = self.fleet.migrations.get(migration_id)
        if known is not None and known.cancel_requested_by:
            raise NotBegun
