"""A host puts itself in order after it was away while a migration ended.

Compares what this agent noted with the records in etcd. A migration that is under way, or of which
nobody can say how it ended, is left alone.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from hostagent.copies.clearing import Clearing
from hostagent.copies.incoming import IncomingRecord
from hostagent.copies.leaving import Outgoing
from hostagent.copies.room import Room
from hostagent.copies.source import Source
from hostagent.copies.target import Target
from wire.errors import GodwitError
from wire.etcd import Etcd
from wire.fleet import OwnerPhase, ServerRecord
from wire.keys import MIGRATIONS
from wire.migration import Migration, MigrationState
from wire.storage import DiscardCommand, ReleaseCommand

_log = logging.getLogger(__name__)


class Healing:
    """Settles what is left of migrations that are over."""

    def __init__(
        self, etcd: Etcd, room: Room, *, source: Source, target: Target, clearing: Clearing
    ) -> None:
        self._etcd = etcd
        self._room = room
        self._ownership = room.here.ownership
        self._source = source
        self._target = target
        self._clearing = clearing

    async def run_once(self, host_id: str) -> bool:
        """Look at everything once; False if something could not be settled yet."""
        done = True
        for migration_id, record in (await self._room.all()).items():
            if not record.kept:
                done &= await self._tried(self._arrival(migration_id, record, host_id))
        for migration_id, outgoing in (await self._source.outgoing()).items():
            done &= await self._tried(self._departure(migration_id, outgoing, host_id))
        return done

    async def _tried(self, settling: Coroutine[Any, Any, None]) -> bool:
        try:
            await settling
        except (GodwitError, OSError) as error:
            _log.warning("not settled yet: %s", error)
            return False
        return True

    async def _arrival(self, migration_id: str, record: IncomingRecord, host_id: str) -> None:
        server = await self._ownership.record(record.command.server_id)
        migration = await self._ended(migration_id, server)
        if migration is None:
            return
        if server is not None and server.owner.phase is not OwnerPhase.SETTLED:
            return  # of a server that was lost these may be the newest disks: a person settles it
        came = server is not None and server.owner.host_id == host_id
        if came or migration.state is MigrationState.SUCCEEDED:
            _log.info("%s: %r has come here", migration_id, record.command.server_name)
            await self._target.complete(migration_id)
            return
        _log.info("%s: %r has not come", migration_id, record.command.server_name)
        keep = migration.options.keep_dest_guest_on_failed
        command = DiscardCommand(
            server_id=record.command.server_id,
            generation=record.command.generation if server is None else server.owner.generation,
            keep=keep,
            job_record=msgspec.json.encode(migration).decode() if keep else "",
        )
        await self._clearing.discard(migration_id, command)

    async def _departure(self, migration_id: str, outgoing: Outgoing, host_id: str) -> None:
        server = await self._ownership.record(outgoing.server_id)
        migration = await self._ended(migration_id, server)
        if migration is None:
            return
        if server is None or server.owner.host_id == host_id or not _moved(migration, server):
            await self._source.forget(migration_id)
            return
        if server.owner.phase is OwnerPhase.SETTLED:
            _log.info("%s: %r has left", migration_id, outgoing.server_name)
            command = ReleaseCommand(
                migration_id=migration_id,
                generation=server.owner.generation,
                paths=outgoing.paths,
            )
            await self._source.release(outgoing.server_id, command)

    async def _ended(self, migration_id: str, server: ServerRecord | None) -> Migration | None:
        """The migration if it is over; one that nobody remembers is, unless it holds the server."""
        if server is not None and server.owner.migration_id == migration_id:
            return None
        stored = await asyncio.to_thread(self._etcd.get, MIGRATIONS + migration_id)
        if stored is None:
            return _forgotten(migration_id, server)
        try:
            migration = msgspec.json.decode(stored.value, type=Migration)
        except msgspec.DecodeError as error:
            _log.error("%s holds no migration: %s", stored.key, error)
            return None
        return migration if migration.state.ended else None


def _moved(migration: Migration, server: ServerRecord) -> bool:
    """Whether the server left by this migration, and not by being defined again elsewhere."""
    handed_over = (migration.target_host_id, migration.generation + 1)
    owner = server.owner
    return (
        migration.state is MigrationState.SUCCEEDED
        or (owner.host_id, owner.generation) == handed_over
    )


def _forgotten(migration_id: str, server: ServerRecord | None) -> Migration:
    """A record of a migration that is no longer in the journal: nothing of it was asked to stay."""
    return Migration(
        migration_id=migration_id,
        server_id="" if server is None else server.server_id,
        server_name="" if server is None else server.name,
        source_host_id="",
        source_host_name="",
        state=MigrationState.FAILED,
    )
