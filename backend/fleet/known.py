"""All that the backend knows: what etcd holds, beside what agents report.

Everything here changes in the event loop's thread only. A change marks the views that it may touch;
:mod:`backend.publish` makes those anew.
"""

import asyncio
from typing import TypeVar

from backend.fleet.reported import Reported
from backend.forecast.past import Past
from backend.forecast.traffic import Traffic
from backend.health.transitions import Transitions
from wire import keys
from wire.audit import AuditEntry
from wire.evacuation import Evacuation
from wire.fleet import HostFacts, HostPolicy, OwnerPhase, ServerPolicy, ServerRecord
from wire.life import HealthValue, HostShutdown
from wire.migration import Migration
from wire.rescue import Incident, RescueGuard

ValueT = TypeVar("ValueT")

UNREADABLE_HEALTH = HealthValue(boot_id="", epoch=0, fence_detail="its health key is unreadable")
"""Stands for a health key or a life whose value cannot be read: no life has an empty boot id."""
NO_LIFE = HealthValue(boot_id="", epoch=0)
"""Of a host that has never told one."""


class Fleet(Reported):
    """The facts, by id. See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.etcd_errors: dict[str, str] = {}
        """For each prefix that cannot be followed now, why."""
        self.facts: dict[str, HostFacts] = {}
        self.health: dict[str, HealthValue] = {}
        self.key_lost = asyncio.Event()
        """Set whenever a health key has vanished."""
        self.late: set[str] = set()
        """Hosts whose health keys are there, and have missed refreshes."""
        self.transitions = Transitions()
        self.lives: dict[str, HealthValue] = {}
        """host_id → its last life as it wrote it itself; stays when the health key is gone."""
        self.shutdowns: dict[str, HostShutdown] = {}
        self.policies: dict[str, HostPolicy] = {}
        self.server_policies: dict[str, ServerPolicy] = {}
        self.records: dict[str, ServerRecord] = {}
        self.migrations: dict[str, Migration] = {}
        self.waiting: dict[str, str] = {}
        """migration_id → what its end waits for, of those that this backend drives."""
        self.incidents: dict[str, Incident] = {}
        self.guard = RescueGuard()
        self.incidents_changed = asyncio.Event()
        """Set whenever an incident or the guard has changed."""
        self.evacuations: dict[str, Evacuation] = {}
        self.evacuation_waits: dict[str, dict[str, str]] = {}
        """evacuation_id → server_id → what it waits for, of those that this backend drives."""
        self.evacuation_moves: dict[str, set[str]] = {}
        """evacuation_id → ids of its migrations, under way and ended."""
        self.audit: dict[str, AuditEntry] = {}
        self.audit_listed = False
        """Whether etcd has told all that stands in the audit, since this backend started."""
        self.moves_changed = asyncio.Event()
        """Set whenever a migration's record has changed."""
        self.past = Past()
        self.traffic = Traffic()
        self.written: dict[str, int] = {}
        """etcd key → revision at which this backend wrote it: a watch's older one is behind."""
        self.leader_name = ""
        """Of the backend that leads; empty for none."""

    @property
    def etcd_error(self) -> str:
        """One sentence when etcd does not answer; empty when it does.

        The audit alone does not count: nothing is decided by it.
        """
        errors = self.etcd_errors.items()
        return next((reason for prefix, reason in errors if prefix != keys.AUDIT), "")

    def put_etcd_error(self, prefix: str, reason: str) -> None:
        """Note that a prefix can (empty reason) or cannot be followed."""
        before = self.etcd_error
        if reason:
            self.etcd_errors[prefix] = reason
        else:
            self.etcd_errors.pop(prefix, None)
            self.audit_listed = self.audit_listed or prefix == keys.AUDIT
        if self.etcd_error != before:
            self.changes.placement = self.changes.status = True
            self.changes.of(hosts=self.facts, servers=self.records)

    def put_facts(self, host_id: str, facts: HostFacts | None) -> None:
        """Note a host's facts, or with None that the host was removed."""
        if facts is None:
            self.facts.pop(host_id, None)
            self.links.pop(host_id, None)
            self.reports.pop(host_id, None)
            self.transitions.forget(host_id)
        else:
            self.facts[host_id] = facts
        self.host_changed(host_id)

    def put_health(self, host_id: str, health: HealthValue | None) -> None:
        """Note a host's health key, or with None its absence."""
        self.transitions.saw_health(host_id, self.health.get(host_id), health)
        if health is None:
            self.health.pop(host_id, None)
            self.late.discard(host_id)
            self.key_lost.set()
        else:
            self.health[host_id] = health
        self.host_changed(host_id)

    def put_late(self, host_id: str, late: str | None) -> None:
        """Note that a health key missed refreshes, with what it has left, or None that it is fine.

        A host without a health key is lost, not late.
        """
        if host_id not in self.health or (late is not None) == (host_id in self.late):
            return
        if late is None:
            self.late.discard(host_id)
        else:
            self.late.add(host_id)
        self.transitions.saw_late(host_id, late)
        self.changes.of(hosts=[host_id])

    def put_life(self, host_id: str, life: HealthValue | None) -> None:
        """Note a host's last life as it wrote it itself."""
        _put(self.lives, host_id, life)
        self.changes.of(hosts=[host_id])

    def put_shutdown(self, host_id: str, shutdown: HostShutdown | None) -> None:
        """Note that a host is being shut down in order, or with None that it is not any more."""
        _put(self.shutdowns, host_id, shutdown)
        self.host_changed(host_id)

    def put_policy(self, host_id: str, policy: HostPolicy | None) -> None:
        """Note what operators decided about a host."""
        _put(self.policies, host_id, policy)
        self.host_changed(host_id)

    def put_server_policy(self, server_id: str, policy: ServerPolicy | None) -> None:
        """Note what operators decided about a server."""
        _put(self.server_policies, server_id, policy)
        self.server_changed(server_id)

    def put_incident(self, incident_id: str, incident: Incident | None) -> None:
        """Note the report of one lost host, or with None that it is forgotten."""
        known = self.incidents.pop(incident_id, None)
        if incident is not None:
            self.incidents[incident_id] = incident
        self.changes.incidents.add(incident_id)
        self.incidents_changed.set()
        if (told := incident or known) is not None:
            self.changes.hosts.add(told.host_id)
            self.changes.servers.update(self.owned.get(told.host_id, ()))
        self.changes.wake.set()

    def put_evacuation(self, evacuation_id: str, evacuation: Evacuation | None) -> None:
        """Note an evacuation, or with None that it is forgotten."""
        known = self.evacuations.pop(evacuation_id, None)
        if evacuation is not None:
            self.evacuations[evacuation_id] = evacuation
        self.changes.evacuations.add(evacuation_id)
        if (told := evacuation or known) is not None:
            self.changes.hosts.add(told.host_id)
        self.changes.wake.set()

    def put_audit(self, entry_id: str, entry: AuditEntry | None) -> None:
        """Note what a person did, or with None that it is forgotten.

        What stood there before this backend started is no news: consoles ask for it.
        """
        if entry == self.audit.get(entry_id):
            return
        _put(self.audit, entry_id, entry)
        if self.audit_listed:
            self.changes.audit.add(entry_id)
            self.changes.wake.set()

    def put_waits(self, evacuation_id: str, waits: dict[str, str]) -> None:
        """Note what servers of an evacuation wait for, by server id; nothing for none."""
        if waits == self.evacuation_waits.get(evacuation_id, {}):
            return
        self.evacuation_waits[evacuation_id] = waits
        if not waits:
            del self.evacuation_waits[evacuation_id]
        self.changes.evacuations.add(evacuation_id)
        self.changes.wake.set()

    def put_guard(self, guard: RescueGuard) -> None:
        """Note whether anything is rescued without being asked."""
        if guard != self.guard:
            self.guard = guard
            self.incidents_changed.set()
            self.changes.status = True
            self.changes.wake.set()

    def put_record(self, server_id: str, record: ServerRecord | None) -> None:
        """Note a server's record, or with None that it is gone."""
        before = self.records.pop(server_id, None)
        if before is not None:
            self.owned.get(before.owner.host_id, set()).discard(server_id)
            self.changes.hosts.add(before.owner.host_id)
        if record is None:
            self.dirtying.pop(server_id, None)
            self.past.forget(server_id)
        else:
            self.records[server_id] = record
            self.owned.setdefault(record.owner.host_id, set()).add(server_id)
            self.changes.hosts.add(record.owner.host_id)
        self.server_changed(server_id)

    def put_migration(self, migration_id: str, migration: Migration | None) -> None:
        """Note a journal record; one that is behind what is known is ignored."""
        known = self.migrations.get(migration_id)
        if migration is None:
            self.migrations.pop(migration_id, None)
            if known is not None and known.evacuation_id:
                self.evacuation_moves[known.evacuation_id].discard(migration_id)
        elif known is not None and known.state.rank > migration.state.rank:
            return
        else:
            self.migrations[migration_id] = migration
            if migration.evacuation_id:
                moves = self.evacuation_moves.setdefault(migration.evacuation_id, set())
                moves.add(migration_id)
            if migration.state.ended and (known is None or not known.state.ended):
                self.past.ended(migration)
                self.traffic.ended(migration)
        self.moves_changed.set()
        self.changes.migrations.add(migration_id)
        self.changes.placement = True
        if (told := migration or known) is not None:
            self.server_changed(told.server_id)

    def put_waiting(self, migration_id: str, reason: str) -> None:
        """Note what the end of a migration under way waits for; empty for nothing."""
        if reason != self.waiting.pop(migration_id, ""):
            self.changes.migrations.add(migration_id)
            if (known := self.migrations.get(migration_id)) is not None:
                self.server_changed(known.server_id)
        if reason:
            self.waiting[migration_id] = reason

    def move_under_way(self, record: ServerRecord) -> Migration | None:
        """The migration that a record says is under way, if its journal is known."""
        if record.owner.phase is not OwnerPhase.MIGRATING:
            return None
        return self.migrations.get(record.owner.migration_id)

    def open_incident(self, host_id: str) -> Incident | None:
        """The incident that is open about a host; None while it is not lost."""
        return next(
            (one for one in self.incidents.values() if one.host_id == host_id and one.open), None
        )

    def open_evacuation(self, host_id: str) -> Evacuation | None:
        """The evacuation or return that is open about a host; None if none is."""
        return next(
            (one for one in self.evacuations.values() if one.host_id == host_id and one.open), None
        )


def _put(known: dict[str, ValueT], key: str, value: ValueT | None) -> None:
    """Note a value, or with None that there is none any more."""
    if value is None:
        known.pop(key, None)
    else:
        known[key] = value
