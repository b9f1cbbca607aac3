"""What every step of a migration works with, and the few things that every step does."""

import msgspec

from backend.agents import AgentClient, Agents
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration, MigrationState

ASK_AGAIN_S = 0.5
"""Between two questions to the same host."""


class NotBegun(Exception):
    """The migration ends before any guest was touched; without a text it was cancelled."""


class Drive(msgspec.Struct, frozen=True, kw_only=True):
    """Fleet model, agents, jobs and journal."""

    fleet: Fleet
    agents: Agents
    jobs: Jobs
    journal: Journal

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

    def source(self, migration: Migration) -> AgentClient:
        """The agent of the host that the server leaves.

        Raises:
            GodwitError: AGENT_UNREACHABLE, as for :meth:`target`.
        """
        return self.agents.of(migration.source_host_id, migration.source_host_name)

    def target(self, migration: Migration) -> AgentClient:
        """The agent of the host that the server goes to."""
        return self.agents.of(migration.target_host_id, migration.target_host_name)

    async def ask_for_job(self, migration: Migration) -> bool:
        """Ask the source's agent for the job with its curve; whether it knows one.

        Raises:
            GodwitError: the agent does not answer.
        """
        try:
            self.jobs.put_detail(await self.source(migration).job(migration.migration_id))
        except GodwitError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            return False
        return True
