"""The console's copy of the fleet: what the stream said so far, and what changed since."""

import time
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from tui.client import Connected, ConsoleEvent, Disconnected, Event
from wire.audit import KEPT, AuditEntry
from wire.console import (
    BackendStatus,
    FleetSnapshot,
    HostGone,
    MigrationSample,
    ServerRemoved,
)
from wire.evacuation import Evacuation
from wire.fleet import HostView, ServerView
from wire.migration import Migration, MigrationDetail, Sample
from wire.rescue import Incident, RescueGuard
from wire.role import Role


class Link(StrEnum):
    """State of the stream from the backend."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of what changed since the last look; ``everything`` after a snapshot."""

    everything: bool = False
    hosts: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()
    migrations: frozenset[str] = frozenset()
    """Those whose record or curve changed."""
    incidents: frozenset[str] = frozenset()
    evacuations: frozenset[str] = frozenset()
    audit: frozenset[str] = frozenset()


class Store:
    """Hosts, servers, migrations and their curves, by id. Plain data; nothing is drawn here."""

    def __init__(self) -> None:
        self.status: BackendStatus | None = None
        self.hosts: dict[str, HostView] = {}
        self.servers: dict[str, ServerView] = {}
        self.migrations: dict[str, Migration] = {}
        self.incidents: dict[str, Incident] = {}
        self.evacuations: dict[str, Evacuation] = {}
        self.audit: dict[str, AuditEntry] = {}
        """What the stream told that people did, and all that is kept once it was asked for."""
        self.samples: dict[str, list[Sample]] = {}
        """The curve of each migration seen, in the order of time."""
        self.snapshots = 0
        """How many whole fleets were received."""
        self.link = Link.CONNECTING
        self.link_reason = ""
        """Why the stream is not live; empty if nobody knows yet."""
        self._lost_at_s = 0.0
        self._everything = True
        self._changed: dict[str, set[str]] = {
            "hosts": set(),
            "servers": set(),
            "migrations": set(),
            "incidents": set(),
            "evacuations": set(),
            "audit": set(),
        }

    @property
    def role(self) -> Role | None:
        """What our token may do; None until the backend has said it."""
        return self.status.role if self.status else None

    @property
    def guard(self) -> RescueGuard:
        """Whether servers of dead hosts are started elsewhere without being asked."""
        return self.status.rescue_guard if self.status else RescueGuard()

    @property
    def complete(self) -> bool:
        """Whether a whole fleet was received at least once."""
        return self.snapshots > 0

    @property
    def trouble(self) -> str:
        """Why what is shown may be stale, in one sentence; empty if it is not."""
        if self.link is Link.LOST:
            return self.link_reason
        return self.status.etcd_error if self.status and not self.status.etcd_ok else ""

    def lost_for_s(self) -> int:
        """Seconds since the stream broke; 0 while it is up."""
        return int(time.monotonic() - self._lost_at_s) if self.link is Link.LOST else 0

    def apply(self, item: Connected | Disconnected | Event) -> None:
        """Take in what the stream said."""
        match item:
            case Connected():
                self.link, self.link_reason = Link.LIVE, ""
            case Disconnected(reason=reason):
                if self.link is not Link.LOST:
                    self._lost_at_s = time.monotonic()
                self.link, self.link_reason = Link.LOST, reason
            case Event(payload=payload):
                self._take(payload)

    def load(self, detail: MigrationDetail) -> None:
        """Add a migration's curve so far to what the stream brought meanwhile."""
        migration = detail.migration
        self.put(migration)
        self._add_samples(migration.migration_id, detail.samples)

    def load_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Add entries to those that are known; no more stay than the backend keeps."""
        told = {each.entry_id: each for each in entries}
        self.audit |= told
        oldest = sorted(self.audit.values(), key=lambda each: each.at_ms)
        gone = {each.entry_id for each in oldest[: max(0, len(oldest) - KEPT)]}
        for entry_id in gone:
            del self.audit[entry_id]
        self._changed["audit"] |= told.keys() | gone

    def put(self, migration: Migration) -> None:
        """Take a migration from an answer, unless the stream has already told more of it."""
        known = self.migrations.get(migration.migration_id)
        if known is None or known.state.rank <= migration.state.rank:
            self._put_migration(migration)

    def begin(self, evacuation: Evacuation) -> None:
        """Take an evacuation that just began from the answer, unless the stream told it already."""
        if evacuation.evacuation_id not in self.evacuations:
            self._take_record(evacuation)

    def changes(self) -> Changes:
        """Say what changed since the last call."""
        changed = Changes(
            everything=self._everything,
            hosts=frozenset(self._changed["hosts"]),
            servers=frozenset(self._changed["servers"]),
            migrations=frozenset(self._changed["migrations"]),
            incidents=frozenset(self._changed["incidents"]),
            evacuations=frozenset(self._changed["evacuations"]),
            audit=frozenset(self._changed["audit"]),
        )
        self._everything = False
        for ids in self._changed.values():
            ids.clear()
        return changed

    def migrations_of(self, server_id: str) -> list[Migration]:
        """List a server's migrations, newest first."""
        found = [each for each in self.migrations.values() if each.server_id == server_id]
        return sorted(found, key=lambda each: each.created_at_ms, reverse=True)

    def open_incident(self, host_id: str) -> Incident | None:
        """Give the case of a host that is away; None if it has none."""
        found = [each for each in self.incidents.values() if each.host_id == host_id and each.open]
        return max(found, key=lambda each: each.lost_at_ms, default=None)

    def evacuation_of(self, host: HostView) -> Evacuation | None:
        """Give the evacuation or return that is open about a host; None if it has none."""
        found = self.evacuations.get(host.evacuation_id)
        return found if found is not None and found.open else None

    def open_evacuations(self) -> list[Evacuation]:
        """List the evacuations and returns that have not ended, the oldest first."""
        found = [each for each in self.evacuations.values() if each.open]
        return sorted(found, key=lambda each: each.created_at_ms)

    def under_way(self) -> list[Migration]:
        """List the migrations that have not ended."""
        return [each for each in self.migrations.values() if not each.state.ended]

    def last_sample(self, migration_id: str) -> Sample | None:
        """Give the newest point of a curve."""
        samples = self.samples.get(migration_id)
        return samples[-1] if samples else None

    def _take(self, payload: ConsoleEvent) -> None:
        match payload:
            case FleetSnapshot():
                self._replace(payload)
            case BackendStatus():
                self.status = payload
            case HostView():
                self.hosts[payload.facts.host_id] = payload
                self._changed["hosts"].add(payload.facts.host_id)
            case HostGone(host_id=host_id):
                self.hosts.pop(host_id, None)
                self._changed["hosts"].add(host_id)
            case ServerView():
                self.servers[payload.server_id] = payload
                self._changed["servers"].add(payload.server_id)
            case ServerRemoved(server_id=server_id):
                self.servers.pop(server_id, None)
                self._changed["servers"].add(server_id)
            case Migration():
                self._put_migration(payload)
            case Incident() | Evacuation() | AuditEntry():
                self._take_record(payload)
            case MigrationSample():
                self._add_samples(payload.migration_id, (payload.sample,))

    def _take_record(self, payload: Incident | Evacuation | AuditEntry) -> None:
        match payload:
            case Incident():
                self.incidents[payload.incident_id] = payload
                self._changed["incidents"].add(payload.incident_id)
            case Evacuation():
                self.evacuations[payload.evacuation_id] = payload
                self._changed["evacuations"].add(payload.evacuation_id)
            case AuditEntry():
                self.load_audit([payload])

    def _replace(self, snapshot: FleetSnapshot) -> None:
        self.snapshots += 1
        self.status = snapshot.status
        self.hosts = {host.facts.host_id: host for host in snapshot.hosts}
        self.servers = {server.server_id: server for server in snapshot.servers}
        self.migrations = {each.migration_id: each for each in snapshot.migrations}
        self.incidents = {each.incident_id: each for each in snapshot.incidents}
        self.evacuations = {each.evacuation_id: each for each in snapshot.evacuations}
        self.samples = {key: curve for key, curve in self.samples.items() if key in self.migrations}
        self._everything = True

    def _put_migration(self, migration: Migration) -> None:
        self.migrations[migration.migration_id] = migration
        self._changed["migrations"].add(migration.migration_id)

    def _add_samples(self, migration_id: str, samples: Iterable[Sample]) -> None:
        curve = self.samples.setdefault(migration_id, [])
        self._changed["migrations"].add(migration_id)
        late = []
        for sample in samples:
            if not curve or sample.elapsed_ms > curve[-1].elapsed_ms:
                curve.append(sample)
            else:
                late.append(sample)
        if late:
            # A curve that is loaded has thousands of points: look them up, and sort once.
            known = {each.elapsed_ms for each in curve}
            curve += [each for each in late if each.elapsed_ms not in known]
            curve.sort(key=lambda each: each.elapsed_ms)
