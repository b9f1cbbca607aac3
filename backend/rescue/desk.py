"""Where rescues are asked for by hand, hosts declared to be off, and rescues armed and disarmed."""

import logging

import msgspec

from backend.audit.act import unasked
from backend.fleet.names import find_host, find_server
from backend.leader import Leadership
from backend.migrations.acting import check_acting
from backend.migrations.choice import pick
from backend.migrations.drive import Drive
from backend.migrations.notes import noted
from backend.moments import now_ms
from backend.rescue.definition import read_definition
from backend.rescue.incidents import ARMED, Incidents
from backend.rescue.rescuer import Rescuer
from backend.rescue.sorting import obstacle
from backend.rescue.starting import Starting
from wire.candidates import Candidate
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.fleet import HostFacts, OwnerPhase, ServerRecord
from wire.migration import Migration, MigrationOptions
from wire.rescue import DeclareOff, Incident, RescueGuard, RescueOptions

_log = logging.getLogger(__name__)


class RescueDesk:
    """Takes requests from the API. Only the leading backend acts."""

    def __init__(
        self,
        drive: Drive,
        leadership: Leadership,
        rescuer: Rescuer,
        incidents: Incidents,
        starting: Starting,
    ) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._leadership = leadership
        self._rescuer = rescuer
        self._incidents = incidents
        self._starting = starting

    async def rescue(
        self,
        server: str,
        options: RescueOptions,
        *,
        requested_by: str,
        evacuation_id: str = "",
    ) -> Migration:
        """Bring a server of a dead host to another one.

        Args:
            server: the server's name or id.
            options: what the operator asked for.
            requested_by: name of the operator's token.
            evacuation_id: the evacuation that it belongs to; empty for none.

        Raises:
            GodwitError: NOT_PROVEN_DEAD with all that is missing; CONFLICT when the server cannot
                be brought elsewhere; NO_TARGET with every candidate; BAD_REQUEST for a name in
                ``host_is_off`` that is not the host's.
        """
        check_acting(self._fleet, self._leadership)
        record = find_server(self._fleet, server)
        host = find_host(self._fleet, record.owner.host_id)
        prefer = find_host(self._fleet, options.prefer_host) if options.prefer_host else None
        if options.host_is_off:
            _check_name(options.host_is_off, host)
        async with self._rescuer.lock:
            await self._look()
            incident = self._lost(host)
            await self._check_movable(record, host)
            if options.host_is_off:
                await self._declare(incident, requested_by)
                await self._look()
            incident = self._proven(host)
            record = find_server(self._fleet, record.server_id)
            judged = await self._starting.candidates(record, auto_start=options.auto_start)
            target = pick(record.name, judged, prefer.host_id if prefer else "")
            wanted = MigrationOptions(
                prefer_host=options.prefer_host, auto_start=options.auto_start
            )
            return await self._starting.claim(
                incident, record, target, wanted, by=requested_by, evacuation_id=evacuation_id
            )

    async def candidates(self, server: str) -> tuple[Candidate, ...]:
        """Judge every host for a rescue of a server that would be started there.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT when it could be rescued nowhere.
        """
        record = find_server(self._fleet, server)
        await self._check_movable(record, find_host(self._fleet, record.owner.host_id))
        return await self._starting.candidates(record, auto_start=True)

    async def declare_off(self, host: str, word: DeclareOff, *, requested_by: str) -> Incident:
        """Take an operator's word that a host is switched off, for its life that is over.

        Raises:
            GodwitError: BAD_REQUEST for another name; NOT_PROVEN_DEAD while it holds its key.
        """
        check_acting(self._fleet, self._leadership)
        facts = find_host(self._fleet, host)
        _check_name(word.host_name, facts)
        async with self._rescuer.lock:
            await self._look()
            incident = self._lost(facts)
            await self._declare(incident, requested_by)
            await self._look()
            return self._lost(facts)

    async def arm(self, *, requested_by: str) -> RescueGuard:
        """Let servers of dead hosts be started elsewhere without being asked."""
        check_acting(self._fleet, self._leadership)
        return await self._put_guard(RescueGuard(armed=True, by=requested_by, at_ms=now_ms()))

    async def disarm(self, reason: str, *, requested_by: str) -> RescueGuard:
        """Stop that until armed again; rescues that have begun go on."""
        check_acting(self._fleet, self._leadership)
        return await self._put_guard(
            RescueGuard(armed=False, reason=reason, by=requested_by, at_ms=now_ms())
        )

    async def _put_guard(self, guard: RescueGuard) -> RescueGuard:
        async with self._rescuer.lock:
            known = self._fleet.guard
            if guard.armed == known.armed:
                if guard.armed or not guard.reason or guard.reason in known.reason:
                    return known
                # whoever arms again has to know of both
                both = f"{guard.reason}; before that: {known.reason}" if known.reason else ""
                guard = msgspec.structs.replace(guard, reason=both or guard.reason)
            told = await self._incidents.put_guard(guard)
            text = ARMED if guard.armed else "rescues are disarmed"
            if guard.reason:
                text += f": {guard.reason}"
            for one in [one for one in self._fleet.incidents.values() if one.open]:
                await self._incidents.change(
                    one.incident_id, lambda known: noted(known, text, by=guard.by)
                )
            _log.warning("%s: %s", guard.by, text)
            return told

    async def _look(self) -> None:
        """Have what is known be up to date; what follows from it is the backend's own act."""
        with unasked():
            await self._rescuer.look()

    async def _declare(self, incident: Incident, by: str) -> None:
        def declare(known: Incident) -> Incident:
            if known.declared_off_by:
                return known
            declared = msgspec.structs.replace(known, declared_off_by=by)
            return noted(declared, f"{known.host_name} is declared to be switched off", by=by)

        await self._incidents.change(incident.incident_id, declare)
        _log.warning("%s declares that %s is switched off", by, incident.host_name)

    def _lost(self, host: HostFacts) -> Incident:
        """The incident of a host that holds no health key."""
        incident = self._fleet.open_incident(host.host_id)
        if incident is None or host.host_id in self._fleet.health:
            left_s = self._rescuer.left_s(host.host_id)
            left = "" if left_s is None else f", with {left_s} s left"
            raise GodwitError(
                ErrorCode.NOT_PROVEN_DEAD,
                f"{host.name} is not down: it still holds its health key in etcd{left}",
            )
        return incident

    def _proven(self, host: HostFacts) -> Incident:
        incident = self._lost(host)
        if incident.dead_at_ms:
            return incident
        missing = self._rescuer.proof(incident).missing
        raise GodwitError(
            ErrorCode.NOT_PROVEN_DEAD,
            f"nobody knows yet that {host.name} is dead, and a second copy of a guest would "
            f"destroy its disk: {missing}",
        )

    async def _check_movable(self, record: ServerRecord, host: HostFacts) -> None:
        """Refuse a server that no other host can start, or that something holds."""
        xml = await self._drive.journal.definition(record.server_id)
        because = obstacle(record, read_definition(record.name, xml), host.name)
        if because:
            raise conflict(f"{record.name} cannot be started on another host: {because}")
        if record.owner.phase is OwnerPhase.MIGRATING:
            raise conflict(
                f"{record.name} is held by migration {record.owner.migration_id}, which ends first"
            )


def _check_name(typed: str, host: HostFacts) -> None:
    if typed != host.name:
        raise bad_request(
            f"{typed!r} was given as the host that is switched off, and the host is called "
            f"{host.name!r}",
        )
