"""One cold migration from its journal record to its end, wherever the record stands at first.

Until the ownership moves, the source has the server as if nothing had been tried, and whatever
fails takes away what was made on the target. From then on the target has it. Every step may be
repeated, so that another leader carries on from the journal.
"""

import logging

import msgspec

from backend.migrations import ending
from backend.migrations.arriving import arrive
from backend.migrations.beginning import truths
from backend.migrations.clearing import clear_target
from backend.migrations.copying import FilesCopy, with_source_paths
from backend.migrations.drive import Drive, NotBegun, Occupied
from backend.migrations.guests import side_on
from backend.migrations.notes import noted
from backend.migrations.outcome import Side, side_of
from backend.migrations.patience import Patience, insist
from backend.migrations.scheduling import schedule
from backend.moments import now_ms
from wire.agent import GuestTruth, JobCommand
from wire.errors import GodwitError
from wire.fleet import PowerState
from wire.migration import Migration, MigrationState, Statistics
from wire.storage import DefineCommand, Incoming, PrepareCommand, ServerStorage, StorageFile

_log = logging.getLogger(__name__)


class ColdRunner:
    """Drives one migration. Cancelling the task stops the driving, never the migration itself."""

    def __init__(self, drive: Drive, migration_id: str) -> None:
        self._drive = drive
        self._id = migration_id

    async def run(self) -> None:
        """Carry the migration to its end.

        Raises:
            GodwitError: NOT_LEADING, another backend carries on.
        """
        migration = await self._drive.journal.read(self._id)
        if migration is None or migration.state.ended:
            return
        try:
            if migration.state.rank < MigrationState.SWITCHING_OVER.rank:
                migration = await self._bring_over(migration)
            if migration.state is MigrationState.SWITCHING_OVER:
                await self._define(migration)
        except NotBegun as reason:
            await self._give_up(reason)
            return
        await arrive(self._drive, await self._drive.reread(self._id))

    async def _bring_over(self, migration: Migration) -> Migration:
        """Have all files of the server on the target, and stop just before it is switched over."""
        migration = await schedule(self._drive, migration)
        migration = await self._drive.advance(self._id, MigrationState.PREPARING)
        await self._check_both(migration)
        storage = await self._storage(migration, cancellable=True)
        if storage.refusal:
            raise NotBegun(storage.refusal)
        local = _local(storage)
        migration = await self._begin(local)
        incoming = await self._prepared(migration, local)
        if local:
            migration = await self._drive.advance(self._id, MigrationState.COPYING_DISKS)
            await FilesCopy(self._drive, migration, local, incoming).run()

        def switch(known: Migration) -> Migration:
            if known.cancel_requested_by:
                raise NotBegun
            return msgspec.structs.replace(known, state=MigrationState.SWITCHING_OVER)

        return await self._drive.journal.advance(self._id, switch)

    async def _check_both(self, migration: Migration) -> None:
        there, here = await truths(self._drive, migration)
        name = migration.server_name
        if side_of(there) not in {Side.ABSENT, Side.SHUT_OFF}:
            raise Occupied(f"{migration.target_host_name} already holds {name} ({there.state})")
        _check_stopped(migration, here)

    async def _begin(self, local: tuple[StorageFile, ...]) -> Migration:
        """Journal what will be left behind, before anything is made anywhere."""

        def begun(known: Migration) -> Migration:
            started = known.started_at_ms or now_ms()
            return with_source_paths(msgspec.structs.replace(known, started_at_ms=started), local)

        return await self._drive.journal.advance(self._id, begun)

    async def _prepared(self, migration: Migration, local: tuple[StorageFile, ...]) -> Incoming:
        command = PrepareCommand(
            migration_id=self._id,
            server_id=migration.server_id,
            server_name=migration.server_name,
            generation=migration.generation,
            kind="cold",
            files=local,
        )
        return await insist(
            Patience(self._drive, migration),
            lambda: self._drive.target(migration).prepare(command),
            cancellable=True,
        )

    async def _storage(self, migration: Migration, *, cancellable: bool) -> ServerStorage:
        return await insist(
            Patience(self._drive, migration),
            lambda: self._drive.source(migration).storage(migration.server_id),
            cancellable=cancellable,
        )

    async def _define(self, migration: Migration) -> None:
        """Define the server on the target, if the source's files are still what was copied."""
        patience = Patience(self._drive, migration)
        source, server_id = self._drive.source(migration), migration.server_id
        storage = await self._storage(migration, cancellable=False)
        if _local(storage):
            export = await insist(
                patience, lambda: source.close_export(self._id), cancellable=False
            )
            if export.changed:
                raise NotBegun(export.changed)
        here = await insist(patience, lambda: source.truth(server_id), cancellable=False)
        _check_stopped(migration, here)
        command = DefineCommand(
            server_id=server_id,
            generation=migration.generation,
            definition=storage.definition,
            snapshots=storage.snapshots,
        )
        await insist(
            patience,
            lambda: self._drive.target(migration).define(self._id, command),
            cancellable=False,
        )

    async def _give_up(self, reason: NotBegun) -> None:
        """Take back all that was made, and write that the server is where it was."""
        migration = await self._drive.reread(self._id)
        final = ending.not_begun(migration, str(reason))
        if migration.state.rank >= MigrationState.PREPARING.rank:
            final = await self._cleared(final, reason)
        here, _ = await side_on(
            self._drive,
            final.server_id,
            final.source_host_id,
            final.source_host_name,
        )
        outcome = ending.at_rest(final.server_name, here, final.source_host_name)
        final = msgspec.structs.replace(final, outcome=outcome, statistics=self._figures(final))
        final = await self._drive.journal.advance_with_owner(final, ending.unlocked)
        self._drive.jobs.forget(self._id)
        _log.info("%s: %s: %s %s", self._id, final.state, final.outcome, final.error)

    def _figures(self, final: Migration) -> Statistics:
        """What was copied, and how long it took from its first step on."""
        job = self._drive.jobs.latest(self._id)
        copied = (job.statistics if job else None) or Statistics()
        took_ms = final.finished_at_ms - final.started_at_ms if final.started_at_ms else 0
        return msgspec.structs.replace(copied, total_ms=max(0, took_ms))

    async def _cleared(self, final: Migration, reason: NotBegun) -> Migration:
        await self._stop_copy(await self._drive.reread(self._id))
        if isinstance(reason, Occupied):
            return final
        cleared = await clear_target(self._drive, final, generation=final.generation)
        return noted(final, cleared.error) if cleared.error else final

    async def _stop_copy(self, migration: Migration) -> None:
        """End the pull and close the files, if the agents can be asked; both end by themselves."""
        command = JobCommand(server_id=migration.server_id, generation=migration.generation)
        try:
            if self._drive.jobs.latest(self._id) is not None:
                await self._drive.target(migration).cancel(self._id, command)
        except GodwitError as error:
            _log.info("%s: copy not ended: %s", self._id, error.message)
        try:
            if migration.state.rank >= MigrationState.COPYING_DISKS.rank:
                await self._drive.source(migration).close_export(self._id)
        except GodwitError as error:
            _log.info("%s: files not closed: %s", self._id, error.message)


def _local(storage: ServerStorage) -> tuple[StorageFile, ...]:
    return tuple(one for one in storage.files if not one.shared)


def _check_stopped(migration: Migration, here: GuestTruth) -> None:
    name, source = migration.server_name, migration.source_host_name
    if here.state is PowerState.ABSENT:
        raise NotBegun(f"{source} no longer has {name}")
    if side_of(here) is not Side.SHUT_OFF:
        raise NotBegun(
            f"{name} is {here.state} on {source}: somebody started it meanwhile, so it stays there"
        )
