"""Taking a server over from a host that is dead, in one transaction each.

A claim holds only if the record is as it was read, the dead host holds no health key, its life is
the one that was proven to be over, the new host holds its own key, and this backend leads: an old
host that came back, an old leader and a second claim all fail on it.
"""

import msgspec

from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from backend.leader_writes import LeaderWrites, persist, unchanged
from backend.migrations.holding import locked
from backend.migrations.journal import Journal, migration_key, put_migration, put_record
from backend.rescue.sight import unreadable_life
from backend.rescue.sorting import unwanted
from wire import keys
from wire.errors import conflict
from wire.etcd import Condition
from wire.fleet import Owner, OwnerPhase
from wire.migration import Migration
from wire.rescue import Incident


class Claims:
    """Writes claims as the leading backend, and tells the fleet model of them."""

    def __init__(self, etcd: LeaderWrites, journal: Journal, fleet: Fleet) -> None:
        self._etcd = etcd
        self._journal = journal
        self._fleet = fleet

    async def claim(self, incident: Incident, migration: Migration) -> Migration:
        """Take a server over from its dead host for a rescue whose target is chosen.

        Returns:
            The rescue as journaled; its generation is that of the new owner.

        Raises:
            GodwitError: CONFLICT with the reason, nothing was changed; NOT_LEADING;
                ETCD_UNREACHABLE, and the journal will show whether it was done.
        """
        name, host = migration.server_name, incident.host_name
        item, record = await self._journal.server(migration.server_id)
        if item is None or record is None:
            raise conflict(f"{name} has no record any more")
        if record.owner.host_id != incident.host_id:
            raise conflict(f"{name} does not belong to {host} any more")
        if record.owner.phase is not OwnerPhase.SETTLED:
            raise conflict(f"{name} is held by migration {record.owner.migration_id}")
        unfit = record.bound_by or ("" if migration.requested_by else unwanted(record))
        if unfit:
            raise conflict(f"{name} is not started elsewhere any more: {unfit}")
        life, life_revision = await self._journal.life(incident.host_id)
        if life == UNREADABLE_HEALTH:
            raise conflict(unreadable_life(incident))
        if life != incident.life:
            raise conflict(f"{host} has been back since it was lost")
        alive = await self._etcd.get(keys.HEALTH + migration.target_host_id)
        if alive is None:
            raise conflict(f"{migration.target_host_name} has just lost its health key")
        owner = self._next(record.owner, migration)
        migration = msgspec.structs.replace(migration, generation=owner.generation)
        claimed = msgspec.structs.replace(
            record, owner=owner, wanted_on=migration.options.auto_start, suspended=False
        )
        done = await self._etcd.transact(
            [
                unchanged(item),
                Condition(key=keys.HEALTH + incident.host_id, mod_revision=0),
                Condition(key=keys.LIVES + incident.host_id, mod_revision=life_revision),
                unchanged(alive),
                Condition(key=migration_key(migration), mod_revision=0),
            ],
            [put_record(item, claimed), put_migration(migration)],
        )
        if not done:
            await self._etcd.check_leading()
            raise conflict(f"{name} was not claimed: it changed in etcd, or {host} is back")
        self._journal.tell(migration, claimed, owner, revision=done)
        return migration

    async def pass_on(self, ended: Migration, again: Migration) -> Migration | None:
        """End a try and begin the next one on another host, the server never being without either.

        Returns:
            The next try as journaled; None if the first one does not hold the server any more.

        Raises:
            GodwitError: NOT_LEADING.
        """
        while True:
            journaled = await persist(self._etcd.get, migration_key(ended))
            item, record = await persist(self._journal.server, ended.server_id)
            if journaled is None or item is None or record is None or not locked(record, ended):
                return None
            owner = self._next(record.owner, again)
            again = msgspec.structs.replace(again, generation=owner.generation)
            done = await persist(
                self._etcd.transact,
                [
                    unchanged(journaled),
                    unchanged(item),
                    Condition(key=migration_key(again), mod_revision=0),
                ],
                [
                    put_migration(ended),
                    put_migration(again),
                    put_record(item, msgspec.structs.replace(record, owner=owner)),
                ],
            )
            if done:
                self._journal.tell(ended, None, None, revision=done)
                self._journal.tell(again, record, owner, revision=done)
                return again
            await self._etcd.check_leading()

    def _next(self, owner: Owner, migration: Migration) -> Owner:
        health = self._fleet.health.get(migration.target_host_id)
        return Owner(
            host_id=migration.target_host_id,
            epoch=health.epoch if health else 0,
            generation=owner.generation + 1,
            phase=OwnerPhase.MIGRATING,
            target_host_id=migration.target_host_id,
            migration_id=migration.migration_id,
        )
