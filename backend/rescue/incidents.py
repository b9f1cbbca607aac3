"""Incidents and the rescue guard in etcd, written by the leading backend alone."""

import hashlib
from collections.abc import Callable

import msgspec

from backend.fleet.known import Fleet
from backend.leader_writes import TRIM_BATCH, LeaderWrites
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Condition, Write
from wire.rescue import Incident, RescueGuard

KEPT = 1_000
"""Incidents that stay in etcd: the newest ones, and all that are open."""
ARMED = "rescues are armed"
"""The note of incidents that were open when a person armed: these hosts disarm nothing again."""


class Incidents:
    """What is done to them. Successful writes are put into the fleet model at once.

    Every call raises GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
    """

    def __init__(self, etcd: LeaderWrites, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet

    async def open(self, incident: Incident) -> Incident:
        """Write a new incident, or take the one that is open about the same loss.

        That one may be written and not told yet: by an earlier leader, or by a transaction whose
        answer was lost. Hence the id follows from the life that is over; here it is given.
        """
        losses = 0
        while True:
            incident = msgspec.structs.replace(incident, incident_id=_id(incident, losses))
            item, known = await self._etcd.read(_key(incident), Incident)
            if item is not None and known is not None:
                if known.open:
                    self._tell(known, item.mod_revision)
                    return known
                # the key was deleted by hand, put back by the same life, and is gone once more
                losses += 1
                continue
            when = [Condition(key=_key(incident), mod_revision=0)]
            done = await self._etcd.transact(when, [_put(incident)])
            if done:
                self._tell(incident, done)
                return incident
            await self._etcd.check_leading()

    async def change(self, incident_id: str, change: Callable[[Incident], Incident]) -> Incident:
        """Change an incident; nothing is read or written if it stays as it is.

        Raises:
            GodwitError: NOT_FOUND besides, and CONFLICT when it changes all the time, or cannot be
                read.
        """
        shown = self._fleet.incidents.get(incident_id)
        if shown is not None and change(shown) == shown:
            return shown
        missing = GodwitError(ErrorCode.NOT_FOUND, f"no incident has the id {incident_id!r}")
        told = await self._etcd.change(
            keys.INCIDENTS + incident_id, Incident, change, absent=missing
        )
        self._tell(told.record, told.revision)
        return told.record

    async def put_guard(self, guard: RescueGuard) -> RescueGuard:
        """Arm or disarm rescues that nobody asks for."""
        write = Write(key=keys.RESCUE_GUARD, value=msgspec.json.encode(guard))
        self._fleet.written[keys.RESCUE_GUARD] = await self._etcd.write([write])
        self._fleet.put_guard(guard)
        return guard

    async def trim(self) -> None:
        """Delete the oldest ended incidents beyond :data:`KEPT`."""
        old = too_old(tuple(self._fleet.incidents.values()))[:TRIM_BATCH]
        if not old:
            return
        await self._etcd.write([Write(key=_key(one), value=None) for one in old])
        for one in old:
            self._fleet.written.pop(_key(one), None)
            self._fleet.put_incident(one.incident_id, None)

    def _tell(self, incident: Incident, revision: int) -> None:
        self._fleet.written[_key(incident)] = revision
        self._fleet.put_incident(incident.incident_id, incident)


def too_old(incidents: tuple[Incident, ...]) -> list[Incident]:
    """List the ended incidents beyond those that stay, oldest first."""
    ended = sorted((one for one in incidents if not one.open), key=lambda one: one.lost_at_ms)
    return ended[: max(0, len(incidents) - KEPT)]


def _id(incident: Incident, losses: int) -> str:
    """The id of an incident about a life that was lost so often before."""
    life = incident.life
    loss = f"{incident.host_id} {life.boot_id} {life.epoch} {losses}"
    return hashlib.sha256(loss.encode()).hexdigest()[:12]


def _key(incident: Incident) -> str:
    return keys.INCIDENTS + incident.incident_id


def _put(incident: Incident) -> Write:
    return Write(key=_key(incident), value=msgspec.json.encode(incident))
