"""What the leader does all the time about hosts that are lost: see, prove, report, rescue."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from backend.duties import Duty, Faults
from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.drive import Drive
from backend.migrations.notes import noted
from backend.moments import now_ms
from backend.rescue import course
from backend.rescue.account import Given, account
from backend.rescue.automatic import held_reason
from backend.rescue.claims import Claims
from backend.rescue.incidents import Incidents
from backend.rescue.proof import Proof, prove
from backend.rescue.sight import Sight
from backend.rescue.sorting import obstacle, unwanted
from backend.rescue.starting import Starting
from backend.rescue.storm_guard import StormGuard
from wire.errors import GodwitError
from wire.fleet import HostPolicy, ServerRecord
from wire.lease import boot_clock_s
from wire.migration import Migration
from wire.rescue import Incident, IncidentServer, IncidentState

_log = logging.getLogger(__name__)

_LOOK_S = 0.25
_TRIM_EVERY = 400
"""Looks between two trims."""
_SKIPPED_S = 10.0
"""So long a case is left alone that cannot be looked at."""


class Rescuer:
    """Keeps one open incident for each absent host, and has its servers started elsewhere.

    Only the leading backend runs it. Everything that a look decides on is in etcd, so that another
    leader's first look goes on where this one's last ended.
    """

    def __init__(
        self,
        drive: Drive,
        incidents: Incidents,
        claims: Claims,
        sight: Sight,
        starting: Starting,
        *,
        faults: Faults,
    ) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._incidents = incidents
        self._claims = claims
        self._sight = sight
        self._starting = starting
        self._faults = faults
        self._storm_guard = StormGuard(self._fleet, incidents)
        self.lock = asyncio.Lock()
        """Held while an incident is looked at, or changed by a person."""
        self._not_before_s: dict[str, float] = {}
        """incident_id, or host_id without one → when it is looked at again after a fault."""

    async def lead(self) -> None:
        """Look for ever."""
        self._sight.begin(boot_clock_s())
        self._storm_guard = StormGuard(self._fleet, self._incidents)
        told, looks = "", 0
        while True:
            try:
                async with self.lock:
                    await self.look()
                    if looks % _TRIM_EVERY == 0:
                        await self._incidents.trim()
                    self._faults.keep_parts(Duty.RESCUES, self._not_before_s)
                told = ""
            except GodwitError as error:
                self._faults.add_part(Duty.RESCUES, "", error)
                if error.message != told:
                    _log.warning("incidents not looked at: %s", error.message)
                told = error.message
            looks += 1
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look at every host once; the caller holds the lock.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE; the next look goes on.
        """
        fleet = self._fleet
        self._sight.look(fleet, boot_clock_s())
        if fleet.etcd_error:
            return
        self._forget()
        await self._end_what_is_over()
        for host_id in self._sight.absent:
            if fleet.open_incident(host_id) is None:
                facts = fleet.facts.get(host_id)
                name = facts.name if facts else host_id
                await self._apart(host_id, name, partial(self._open, host_id, name))
        lost = [one.host_id for one in fleet.incidents.values() if one.open]
        self._starting.keep({one for host_id in lost for one in fleet.owned.get(host_id, ())})
        await self._storm_guard.look()
        for incident in tuple(fleet.incidents.values()):
            if course.goes_on(incident):
                await self._case_apart(incident, self._advance)
        ready = [
            one
            for one in fleet.incidents.values()
            if one.state is IncidentState.RESCUING and one.incident_id not in self._not_before_s
        ]
        if ready:
            await self._starting.start(ready)

    def _forget(self) -> None:
        """Forget the faults of what is not looked at any more."""
        cases = {one.incident_id for one in self._fleet.incidents.values() if course.goes_on(one)}
        for over in self._not_before_s.keys() - cases - set(self._sight.absent):
            del self._not_before_s[over]

    async def _end_what_is_over(self) -> None:
        for incident in [one for one in self._fleet.incidents.values() if one.open]:
            await self._case_apart(incident, self._end_if_over)

    async def _end_if_over(self, incident: Incident) -> None:
        name = incident.host_name
        if incident.host_id not in self._fleet.facts:
            await self._end(incident, f"etcd keeps no facts of {name} any more")
        elif self._is_back(incident):
            await self._end(incident)
        elif self._is_readable_again(incident):
            await self._end(incident, f"the last life of {name} is told anew")

    def proof(self, incident: Incident) -> Proof:
        """Whether the host of an incident is dead now, or what is missing."""
        now_s = boot_clock_s()
        evidence = self._sight.evidence(self._fleet, incident)
        return prove(evidence, now_s=now_s)

    def left_s(self, host_id: str) -> int | None:
        """What the lease of a host's health key had left when last looked at."""
        return self._sight.left_s(host_id)

    def _is_back(self, incident: Incident) -> bool:
        """Whether a host holds its health key, or held it meanwhile in a newer life."""
        host_id = incident.host_id
        if host_id in self._fleet.health:
            return True
        life = self._fleet.lives.get(host_id)
        return life is not None and life.epoch > incident.life.epoch

    def _is_readable_again(self, incident: Incident) -> bool:
        """Whether the life that could not be read has made way for one that can, or for none."""
        life = self._fleet.lives.get(incident.host_id)
        return incident.life == UNREADABLE_HEALTH and life != UNREADABLE_HEALTH

    async def _open(self, host_id: str, name: str) -> None:
        life, _ = await self._drive.journal.life(host_id)
        word = self._fleet.shutdowns.get(host_id)
        shut_down = word is not None and word.boot_id == life.boot_id
        text = "the health key is gone"
        if shut_down:
            text += ", after the host said that it was being shut down in order"
        incident = Incident(
            incident_id="",
            host_id=host_id,
            host_name=name,
            life=life,
            lost_at_ms=now_ms(),
            shut_down=shut_down,
        )
        await self._incidents.open(noted(incident, text))
        _log.warning("%s is lost (epoch %d, fence %s)", name, life.epoch, life.fence)

    async def _end(self, incident: Incident, removed: str = "") -> None:
        """End a case as the host is back, or for the reason that it was removed."""
        text = removed or f"{incident.host_name} is back"

        def end(known: Incident) -> Incident:
            ended = msgspec.structs.replace(
                known,
                state=IncidentState.ENDED,
                ended_at_ms=now_ms(),
                held_reason=removed,
                servers=course.left_where_they_are(known, removed) if removed else known.servers,
            )
            return noted(msgspec.structs.replace(ended, servers=self._account(ended)), text)

        await self._incidents.change(incident.incident_id, end)
        _log.info("%s", text)

    async def _case_apart(
        self, incident: Incident, act: Callable[[Incident], Awaitable[None]]
    ) -> None:
        await self._apart(incident.incident_id, incident.host_name, partial(act, incident))

    async def _apart(self, case: str, name: str, act: Callable[[], Awaitable[None]]) -> None:
        """Do something for one case; what fails there must not stop the others' rescues.

        Args:
            case: the incident's id; the host's while it has none.
            name: of the host.
            act: what is done.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        now_s = boot_clock_s()
        if now_s < self._not_before_s.get(case, 0.0):
            return
        try:
            await act()
        except Exception as error:
            if isinstance(error, GodwitError) and error.code in NOTHING_IS_WRITTEN:
                raise
            _log.exception("the case of %s is not looked at now", name)
            self._not_before_s[case] = now_s + _SKIPPED_S
            self._faults.add_part(Duty.RESCUES, case, error, of=name)
        else:
            self._not_before_s.pop(case, None)

    async def _advance(self, incident: Incident) -> None:
        """Write what has become of an incident, if anything has."""
        if incident.open:
            await self._starting.read_definitions(self._owned(incident))
        proof = self.proof(incident)

        def change(known: Incident) -> Incident:
            if not known.open:
                return course.with_times(
                    msgspec.structs.replace(known, servers=self._account(known))
                )
            known = course.with_proof(known, proof)
            because = self._held(known) if known.dead_at_ms else course.missing(known, proof)
            known = msgspec.structs.replace(known, held_reason=because)
            servers = self._account(known)
            state = course.state_of(known, proof, servers)
            return course.with_times(
                msgspec.structs.replace(
                    known,
                    state=state,
                    held_reason="" if state is IncidentState.RESCUED else because,
                    servers=servers,
                )
            )

        await self._incidents.change(incident.incident_id, change)

    def _held(self, incident: Incident) -> str:
        fleet = self._fleet
        return held_reason(
            incident,
            policy=fleet.policies.get(incident.host_id, HostPolicy()),
            guard=fleet.guard,
            cut_off=self._storm_guard.cut_off,
        )

    def _account(self, incident: Incident) -> tuple[IncidentServer, ...]:
        return account(
            incident,
            Given(
                records=self._owned(incident),
                rescues=rescues_of(self._fleet, incident),
                policies=self._fleet.server_policies,
                stalls=self._fleet.waiting,
                skips=lambda record: self._skips(record, incident.host_name),
                waits=lambda record: (
                    incident.held_reason or self._starting.no_room.get(record.server_id, "")
                ),
            ),
        )

    def _skips(self, record: ServerRecord, host_name: str) -> str:
        unasked = unwanted(record)
        if unasked:
            return unasked
        definition = self._starting.definitions.get(record.server_id)
        because = obstacle(record, definition, host_name)
        return f"{because}; it starts when {host_name} is back" if because else ""

    def _owned(self, incident: Incident) -> tuple[ServerRecord, ...]:
        owned = self._fleet.owned.get(incident.host_id, ())
        return tuple(self._fleet.records[one] for one in owned)


def rescues_of(fleet: Fleet, incident: Incident) -> tuple[Migration, ...]:
    """List the tries that belong to an incident."""
    return tuple(
        one for one in fleet.migrations.values() if one.incident_id == incident.incident_id
    )
