"""The journal in etcd: a migration's record and its server's ownership, changed together.

Every write compares what it changes with what was read, and holds only while this backend leads.
Reads and writes are repeated until etcd answers, except at a migration's beginning, where the
person who asked is told instead.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from backend.fleet.known import NO_LIFE, UNREADABLE_HEALTH, Fleet
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites, persist, unchanged
from backend.migrations.holding import check_settled, locked, still
from backend.migrations.notes import merged
from wire import keys
from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Condition, Etcd, EtcdUnreachable, KeyValue, Write
from wire.fleet import Owner, OwnerPhase, ServerRecord
from wire.life import HealthValue
from wire.migration import Migration

_DOUBT_S = 5.0
"""How long a beginning whose answer was lost is looked for."""
_BEGIN_TRIES = 5
"""An agent may refresh its record while we begin: so often it is read again."""


class Journal:
    """Reads and writes of migrations. Successful writes are put into the fleet model at once."""

    def __init__(self, etcd: Etcd, leadership: Leadership, fleet: Fleet) -> None:
        self._etcd = LeaderWrites(etcd, leadership)
        self._fleet = fleet

    async def begin(self, migration: Migration) -> Migration:
        """Record a new migration and mark its server as migrating: the lock against a second one.

        Raises:
            GodwitError: CONFLICT if the server changed hands or migrates already; NOT_FOUND;
                NOT_LEADING; ETCD_UNREACHABLE.
        """
        for _ in range(_BEGIN_TRIES):
            item, record = await self.server(migration.server_id)
            if record is None or item is None:
                raise GodwitError(
                    ErrorCode.NOT_FOUND, f"no server has the id {migration.server_id!r} any more"
                )
            check_settled(record, migration)
            migration = msgspec.structs.replace(migration, generation=record.owner.generation)
            owner = msgspec.structs.replace(
                record.owner,
                phase=OwnerPhase.MIGRATING,
                migration_id=migration.migration_id,
                target_host_id="",
            )
            try:
                done = await self._etcd.transact(
                    [unchanged(item), Condition(key=migration_key(migration), mod_revision=0)],
                    [_put_owner(item, record, owner), put_migration(migration)],
                )
            except EtcdUnreachable as error:
                return await self._begun_unseen(migration, error)
            if done:
                self.tell(migration, record, owner, revision=done)
                return migration
            await self._etcd.check_leading()
        raise conflict(
            f"{migration.server_name} keeps changing in etcd; nothing was begun, try again",
        )

    async def _begun_unseen(self, migration: Migration, error: EtcdUnreachable) -> Migration:
        """Find out whether a beginning was done although its answer was lost."""
        try:
            async with asyncio.timeout(_DOUBT_S):
                item, known = await persist(self._migration, migration.migration_id)
                server, record = await persist(self.server, migration.server_id)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"{error.message}; whether {migration.server_name} began to migrate will show "
                "once it does",
            ) from None
        if item is None or known is None:
            raise error
        self.tell(known, None, None, revision=item.mod_revision)
        if server is not None and record is not None:
            self.tell(None, record, record.owner, revision=server.mod_revision)
        return known

    async def read(self, migration_id: str) -> Migration | None:
        """Read a migration, linearizably, as soon as etcd answers."""
        return (await persist(self._migration, migration_id))[1]

    async def advance(
        self, migration_id: str, change: Callable[[Migration], Migration]
    ) -> Migration:
        """Change a migration's record as soon as etcd answers; its state never goes back.

        Args:
            migration_id: whose.
            change: from the record as it is to what it should be; may be called again.
        """
        while True:
            item, known = await persist(self._migration, migration_id)
            if item is None or known is None:
                raise GodwitError(ErrorCode.NOT_FOUND, f"no migration has the id {migration_id!r}")
            wanted = change(known)
            if wanted == known or wanted.state.rank < known.state.rank:
                return known
            done = await persist(self._etcd.transact, [unchanged(item)], [put_migration(wanted)])
            if done:
                self.tell(wanted, None, None, revision=done)
                return wanted
            await self._etcd.check_leading()

    async def advance_with_owner(
        self, migration: Migration, own: Callable[[Owner], Owner]
    ) -> Migration:
        """Write a migration's record and its server's owner in one transaction.

        What persons asked for meanwhile stays in the record. A server that no longer has a record,
        or that belongs to another migration, is left as it is.
        """
        while True:
            item, known = await persist(self._migration, migration.migration_id)
            if item is None or known is None or known.state.ended:
                return known or migration
            wanted = msgspec.structs.replace(
                migration,
                cancel_requested_by=known.cancel_requested_by,
                parameters=known.parameters,
                notes=merged(migration.notes, known.notes),
            )
            when, then = [unchanged(item)], [put_migration(wanted)]
            server, record = await persist(self.server, migration.server_id)
            owner = None
            if server is not None and record is not None and locked(record, migration):
                owner = own(record.owner)
                when.append(unchanged(server))
                then.append(_put_owner(server, record, owner))
            done = await persist(self._etcd.transact, when, then)
            if done:
                self.tell(wanted, record, owner, revision=done)
                return wanted
            await self._etcd.check_leading()

    async def settle(
        self,
        server_id: str,
        seen: Owner,
        owner: Owner,
        migration: Migration | None,
        *,
        away: Mapping[str, int] | None = None,
        stopped: bool = False,
    ) -> None:
        """Change a server's owner outside of any migration, and the record that tells of it.

        Args:
            server_id: whose.
            seen: the owner that the decision was made on.
            owner: the new one.
            migration: the record of its last migration with a note of this; None if there is none.
            away: hosts that must hold no health key for this to be right, by id, each with the
                revision of the life that it has to be (:meth:`life`).
            stopped: nobody wants it on from here on, so that no agent starts it by itself.

        Raises:
            GodwitError: CONFLICT, the owner is another one by now; NOT_LEADING; ETCD_UNREACHABLE.
        """
        for _ in range(_BEGIN_TRIES):
            item, record = await self.server(server_id)
            if item is None or record is None or not still(record.owner, seen):
                raise conflict(
                    f"the server {server_id} has just changed hands; look again, then ask again",
                )
            if stopped:
                record = msgspec.structs.replace(record, wanted_on=False)
            then = [_put_owner(item, record, owner)]
            if migration is not None:
                then.append(put_migration(migration))
            when = [unchanged(item), *still_away(away or {})]
            done = await self._etcd.transact(when, then)
            if done:
                self.tell(migration, record, owner, revision=done)
                return
            await self._etcd.check_leading()
        raise conflict(f"the server {server_id} keeps changing in etcd; try again")

    async def life(self, host_id: str) -> tuple[HealthValue, int]:
        """The last life that a host wrote, and the revision of that.

        ``UNREADABLE_HEALTH`` stands for one that cannot be read.

        Raises:
            EtcdUnreachable: nobody answers.
        """
        item = await self._etcd.get(keys.LIVES + host_id)
        if item is None:
            return NO_LIFE, 0
        try:
            return msgspec.json.decode(item.value, type=HealthValue), item.mod_revision
        except msgspec.DecodeError:
            return UNREADABLE_HEALTH, item.mod_revision

    async def definition(self, server_id: str) -> str:
        """Read the definition that etcd keeps of a server; empty if it keeps none."""
        item = await self._etcd.get(keys.DEFINITIONS + server_id)
        return item.text if item else ""

    async def trim(self, migrations: list[Migration]) -> None:
        """Delete ended records; the fleet model follows.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        writes = [Write(key=migration_key(one), value=None) for one in migrations]
        await self._etcd.write(writes)
        for one in migrations:
            self._fleet.written.pop(migration_key(one), None)
            self._fleet.put_migration(one.migration_id, None)

    def tell(
        self,
        migration: Migration | None,
        record: ServerRecord | None,
        owner: Owner | None,
        *,
        revision: int,
    ) -> None:
        """Put into the fleet model what etcd has taken, ahead of the watch."""
        if migration is not None:
            self._fleet.written[migration_key(migration)] = revision
            self._fleet.put_migration(migration.migration_id, migration)
        if record is not None and owner is not None:
            told = msgspec.structs.replace(record, owner=owner)
            self._fleet.written[keys.SERVERS + record.server_id] = revision
            self._fleet.put_record(record.server_id, told)

    async def server(self, server_id: str) -> tuple[KeyValue | None, ServerRecord | None]:
        """A server's key as etcd has it now, and the record in it; None without one.

        Raises:
            GodwitError: ETCD_UNREACHABLE.
        """
        item = await self._etcd.get(keys.SERVERS + server_id)
        return item, msgspec.json.decode(item.value, type=ServerRecord) if item else None

    async def _migration(self, migration_id: str) -> tuple[KeyValue | None, Migration | None]:
        item = await self._etcd.get(keys.MIGRATIONS + migration_id)
        return item, msgspec.json.decode(item.value, type=Migration) if item else None


def migration_key(migration: Migration) -> str:
    """The etcd key of a migration's record."""
    return keys.MIGRATIONS + migration.migration_id


def put_migration(migration: Migration) -> Write:
    """Write a migration's record."""
    return Write(key=migration_key(migration), value=msgspec.json.encode(migration))


def put_record(item: KeyValue, record: ServerRecord) -> Write:
    """Write a server's record where it was read."""
    return Write(key=item.key, value=msgspec.json.encode(record))


def still_away(lives: Mapping[str, int]) -> list[Condition]:
    """Hold while none of these hosts, each with the revision of its last life, has come back."""
    return [
        condition
        for host_id, revision in lives.items()
        for condition in (
            Condition(key=keys.HEALTH + host_id, mod_revision=0),
            Condition(key=keys.LIVES + host_id, mod_revision=revision),
        )
    ]


def _put_owner(item: KeyValue, record: ServerRecord, owner: Owner) -> Write:
    return put_record(item, msgspec.structs.replace(record, owner=owner))
