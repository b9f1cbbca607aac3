"""Which servers of dead hosts are started next, and where: order, limits, and another try later."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from backend.fleet.host_view import host_status
from backend.fleet.names import find_host
from backend.migrations.drive import Drive
from backend.moments import now_ms
from backend.rescue.account import turn
from backend.rescue.claims import Claims
from backend.rescue.definition import Definition, read_definition
from backend.rescue.placing import best, judged, summary, takers
from wire.candidates import Candidate
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostStatus, OwnerPhase, ServerRecord
from wire.lease import boot_clock_s
from wire.migration import Migration, MigrationOptions, MigrationState
from wire.rescue import Incident, RescueState

_log = logging.getLogger(__name__)

AT_ONCE = 8
"""Servers that are being started at one moment, in the whole fleet. One whose new host does not
answer does not count: it may stay like that until a person comes, and loads nothing meanwhile."""
AT_ONCE_ON_A_TARGET = 4
"""Or as many as it has CPUs, if those are fewer: a QEMU that starts takes one, so that more begin
together only run later, the first among them."""
_AGAIN_S = 3.0
"""A server that fits nowhere is tried again so often: room may have been made."""


class _Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A server whose turn may have come."""

    record: ServerRecord
    incident: Incident


class Starting:
    """Begins rescues: claims a server for a target, and wakes whoever runs migrations."""

    def __init__(self, drive: Drive, claims: Claims, wake: asyncio.Event) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._claims = claims
        self._wake = wake
        self._again_s: dict[str, float] = {}
        self.no_room: dict[str, str] = {}
        """server_id → why no host fits it now."""
        self.definitions: dict[str, Definition] = {}
        """server_id → its definition as etcd keeps it, while a host that is absent owns it."""

    async def read_definitions(self, records: Iterable[ServerRecord]) -> None:
        """Read the definitions that are not known yet; nobody changes them while the host is away.

        Raises:
            EtcdUnreachable: nobody answers.
        """
        missing = [one for one in records if one.server_id not in self.definitions]
        read = await asyncio.gather(*(self._definition(one) for one in missing))
        self.definitions.update(
            (record.server_id, definition) for record, definition in zip(missing, read, strict=True)
        )

    async def _definition(self, record: ServerRecord) -> Definition:
        xml = await self._drive.journal.definition(record.server_id)
        return read_definition(record.name, xml)

    def keep(self, server_ids: Collection[str]) -> None:
        """Drop what was noted of all servers but these, which hosts that are absent own."""
        for noted in (self.definitions, self.no_room, self._again_s):
            for server_id in noted.keys() - server_ids:
                del noted[server_id]

    async def start(self, incidents: Iterable[Incident]) -> None:
        """Claim what may be started now, the most important first.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        under_way = [
            one
            for one in self._fleet.migrations.values()
            if one.kind == "rescue" and not one.state.ended and self._goes_on(one)
        ]
        slots = AT_ONCE - len(under_way)
        busy = Counter(one.target_host_id for one in under_way)
        for waiting in self._in_turn(incidents):
            if slots <= 0:
                return
            full = {host_id for host_id, count in busy.items() if count >= self._limit(host_id)}
            if full and takers(self._fleet) <= full:
                return
            target = await self._target(waiting, full)
            if target is None:
                continue
            options = MigrationOptions(auto_start=True)
            try:
                await self.claim(waiting.incident, waiting.record, target, options, by="")
            except GodwitError as error:
                if error.code is not ErrorCode.CONFLICT:
                    raise
                _log.info("%s not claimed: %s", waiting.record.name, error.message)
                self._again_s[waiting.record.server_id] = boot_clock_s() + 1.0
                continue
            slots -= 1
            busy[target.host_id] += 1

    def _limit(self, host_id: str) -> int:
        facts = self._fleet.facts.get(host_id)
        return min(AT_ONCE_ON_A_TARGET, facts.cpu_count) if facts else AT_ONCE_ON_A_TARGET

    async def claim(
        self,
        incident: Incident,
        record: ServerRecord,
        target: Candidate,
        options: MigrationOptions,
        *,
        by: str,
        evacuation_id: str = "",
    ) -> Migration:
        """Take a server over for a target, and have its start run.

        Raises:
            GodwitError: as of :meth:`backend.rescue.claims.Claims.claim`.
        """
        at_ms = now_ms()
        migration = Migration(
            migration_id=secrets.token_hex(6),
            kind="rescue",
            server_id=record.server_id,
            server_name=record.name,
            source_host_id=incident.host_id,
            source_host_name=incident.host_name,
            target_host_id=target.host_id,
            target_host_name=target.host_name,
            state=MigrationState.PREPARING,
            options=options,
            requested_by=by,
            created_at_ms=at_ms,
            started_at_ms=at_ms,
            incident_id=incident.incident_id,
            evacuation_id=evacuation_id,
        )
        migration = await self._claims.claim(incident, migration)
        self.no_room.pop(record.server_id, None)
        self._wake.set()
        _log.warning(
            "%s of %s is claimed for %s: rescue %s",
            record.name,
            incident.host_name,
            target.host_name,
            migration.migration_id,
        )
        return migration

    async def candidates(self, record: ServerRecord, *, auto_start: bool) -> tuple[Candidate, ...]:
        """Judge every host as the new one of a server whose host is or might be dead."""
        source = find_host(self._fleet, record.owner.host_id)
        definition = self.definitions.get(record.server_id) or await self._definition(record)
        return await judged(
            self._fleet,
            self._drive.comparisons,
            record,
            source,
            definition=definition,
            auto_start=auto_start,
        )

    def _goes_on(self, rescue: Migration) -> bool:
        """Whether a try waits for no host that does not answer: its own, or the one before."""
        at_work = {rescue.target_host_id}
        incident = self._fleet.incidents.get(rescue.incident_id)
        if incident is not None and rescue.source_host_id != incident.host_id:
            at_work.add(rescue.source_host_id)
        known = [self._fleet.facts.get(one) for one in at_work]
        return all(
            one is not None and host_status(self._fleet, one)[0] is HostStatus.ONLINE
            for one in known
        )

    def _in_turn(self, incidents: Iterable[Incident]) -> list[_Waiting]:
        now_s, found = boot_clock_s(), []
        for incident in incidents:
            for line in incident.servers:
                record = self._fleet.records.get(line.server_id)
                if (
                    line.state is RescueState.WAITING
                    and incident.host_id in self._fleet.facts
                    and record is not None
                    and record.owner.host_id == incident.host_id
                    and record.owner.phase is OwnerPhase.SETTLED
                    and self._again_s.get(line.server_id, 0.0) <= now_s
                ):
                    found.append(_Waiting(record=record, incident=incident))
        policies = self._fleet.server_policies
        return sorted(found, key=lambda one: turn(one.record, policies))

    async def _target(self, waiting: _Waiting, full: set[str]) -> Candidate | None:
        record = waiting.record
        hosts = await self.candidates(record, auto_start=True)
        target = best(self._fleet, hosts, apart_from=full)
        if target is None and best(self._fleet, hosts) is None:
            self._again_s[record.server_id] = boot_clock_s() + _AGAIN_S
            apart_from = waiting.incident.host_id
            self.no_room[record.server_id] = summary(record.name, hosts, apart_from=apart_from)
        return target
