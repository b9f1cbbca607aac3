"""Making views anew when facts change, and telling every console what differs."""

import asyncio
import contextlib
import time

import msgspec

from backend.evacuations.timing.deadline import Verdicts
from backend.evacuations.view import evacuation_view
from backend.events import Broadcaster
from backend.fleet.cpus import Comparisons
from backend.fleet.host_view import host_view
from backend.fleet.known import Fleet
from backend.fleet.server_view import server_view
from backend.fleet.stalled import stalled_reason
from backend.fleet.targets import Targets
from backend.migrations.jobs import Jobs
from backend.moments import now_ms
from wire.audit import AuditEntry
from wire.console import HostGone, ServerRemoved
from wire.evacuation import Evacuation
from wire.fleet import HostView, ServerView
from wire.forecast import LinkRate
from wire.migration import Migration
from wire.rescue import Incident

ENDED_SHOWN = 200
"""Ended migrations in lists and snapshots; older ones are found by their id."""
ENDED_INCIDENTS_SHOWN = 50
"""The same for incidents, whose reports are larger."""
ENDED_EVACUATIONS_SHOWN = 50
_GATHER_S = 0.05
"""Changes that arrive this close together become one event for each thing."""
_AGE_S = 5.0
"""How often it is told anew since when the source of a migration has been silent."""
_EVACUATIONS_S = 1.0
"""How often finishing times and rates of open evacuations are reckoned anew."""
_FINISH_MOVED_MS = 5_000
_RATE_MOVED = 0.2
"""Figures that differ by less are not told anew: a record with its servers is large."""


class Publisher:
    """Holds the views as last told; API answers and events come from the same."""

    def __init__(
        self, fleet: Fleet, jobs: Jobs, broadcaster: Broadcaster, comparisons: Comparisons
    ) -> None:
        self._fleet = fleet
        self._jobs = jobs
        self._broadcaster = broadcaster
        self._targets = Targets(comparisons)
        self._stalled: set[str] = set()
        self.hosts: dict[str, HostView] = {}
        self.servers: dict[str, ServerView] = {}
        self.migrations: dict[str, Migration] = {}
        self.incidents: dict[str, Incident] = {}
        self.evacuations: dict[str, Evacuation] = {}
        self._reckoned_s = 0.0
        self._verdicts = Verdicts()

    async def run(self) -> None:
        """Publish changes for ever, gathered over a short time."""
        while True:
            # wait_for of Python 3.11 can swallow a cancellation that comes with the event
            open_ones = any(one.open for one in self._fleet.evacuations.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVACUATIONS_S if open_ones else _AGE_S):
                    await self._fleet.changes.wake.wait()
            await asyncio.sleep(_GATHER_S)
            self.flush()

    def flush(self) -> None:
        """Make every changed view anew now, and publish those that differ."""
        changes = self._fleet.changes
        changes.wake.clear()
        placement, changes.placement = changes.placement, False
        if self._targets.refresh(self._fleet, placement_changed=placement):
            changes.servers.update(self._fleet.records)
        self._mark_stalled()
        self._mark_evacuations()
        servers, changes.servers = changes.servers, set()
        hosts, changes.hosts = changes.hosts, set()
        migrations, changes.migrations = changes.migrations, set()
        incidents, changes.incidents = changes.incidents, set()
        evacuations, changes.evacuations = changes.evacuations, set()
        audit, changes.audit = changes.audit, set()
        if changes.status:
            changes.status = False
            self._broadcaster.publish("status", None)
        for server_id in servers:
            self._flush_server(server_id, hosts)
        for host_id in hosts:
            self._flush_host(host_id)
        for migration_id in migrations:
            self._flush_migration(migration_id)
        for incident_id in incidents:
            self._flush_incident(incident_id)
        for evacuation_id in evacuations:
            self._flush_evacuation(evacuation_id)
        for entry_id in audit & self._fleet.audit.keys():
            self._broadcaster.publish("audit", self._fleet.audit[entry_id])

    def migration_view(self, record: Migration) -> Migration:
        """A journal record with what is known beside it: progress, and why it stalls."""
        stalled = stalled_reason(self._fleet, record)
        return msgspec.structs.replace(self._jobs.with_progress(record), stalled_reason=stalled)

    def evacuation_view(self, record: Evacuation) -> Evacuation:
        """An evacuation's record with what is known beside it."""
        return evacuation_view(self._fleet, self._jobs, record, now_ms(), self._verdicts)

    def newest_migrations(self) -> tuple[Migration, ...]:
        """Migrations as last told, newest first: those under way and the latest ended ones."""
        newest = sorted(self.migrations.values(), key=lambda one: one.created_at_ms, reverse=True)
        ended = [one for one in newest if one.state.ended]
        left_out = {one.migration_id for one in ended[ENDED_SHOWN:]}
        return tuple(one for one in newest if one.migration_id not in left_out)

    def newest_incidents(self) -> tuple[Incident, ...]:
        """Incidents as last told, newest first: those that are open and the latest ended ones."""
        newest = sorted(self.incidents.values(), key=lambda one: one.lost_at_ms, reverse=True)
        ended = [one for one in newest if not one.open]
        left_out = {one.incident_id for one in ended[ENDED_INCIDENTS_SHOWN:]}
        return tuple(one for one in newest if one.incident_id not in left_out)

    def newest_evacuations(self) -> tuple[Evacuation, ...]:
        """Evacuations as last told, newest first: those that are open and the latest ended."""
        newest = sorted(self.evacuations.values(), key=lambda one: one.created_at_ms, reverse=True)
        ended = [one for one in newest if not one.open]
        left_out = {one.evacuation_id for one in ended[ENDED_EVACUATIONS_SHOWN:]}
        return tuple(one for one in newest if one.evacuation_id not in left_out)

    def newest_audit(self) -> tuple[AuditEntry, ...]:
        """What people did and the audit still has, newest first."""
        return tuple(sorted(self._fleet.audit.values(), key=lambda one: one.at_ms, reverse=True))

    def _mark_evacuations(self) -> None:
        """Have open evacuations made anew, once their figures are old."""
        if time.monotonic() - self._reckoned_s < _EVACUATIONS_S:
            return
        self._reckoned_s = time.monotonic()
        self._fleet.changes.evacuations.update(
            one.evacuation_id for one in self._fleet.evacuations.values() if one.open
        )

    def _mark_stalled(self) -> None:
        """Have views made anew that tell how long a source has been silent, or did before."""
        changes, before = self._fleet.changes, self._stalled
        under_way = [one for one in self._fleet.migrations.values() if not one.state.ended]
        stalled = [one for one in under_way if stalled_reason(self._fleet, one)]
        self._stalled = {one.migration_id for one in stalled}
        changes.migrations.update(before | self._stalled)
        changes.servers.update(
            one.server_id for one in under_way if one.migration_id in before | self._stalled
        )

    def _flush_server(self, server_id: str, hosts: set[str]) -> None:
        record = self._fleet.records.get(server_id)
        known = self.servers.get(server_id)
        if record is None:
            if known is not None:
                del self.servers[server_id]
                self._broadcaster.publish("server_gone", ServerRemoved(server_id=server_id))
            return
        view = server_view(self._fleet, record, self._targets.names(self._fleet, record))
        if view == known:
            return
        self.servers[server_id] = view
        if known is None or known.status is not view.status or known.host_id != view.host_id:
            hosts.add(view.host_id)
        self._broadcaster.publish("server", view)

    def _flush_host(self, host_id: str) -> None:
        facts = self._fleet.facts.get(host_id)
        known = self.hosts.get(host_id)
        if facts is None:
            if known is not None:
                del self.hosts[host_id]
                self._broadcaster.publish("host_gone", HostGone(host_id=host_id))
            return
        owned = self._fleet.owned.get(host_id, set())
        servers = [self.servers[one] for one in owned if one in self.servers]
        view = host_view(self._fleet, facts, servers)
        if view != known:
            self.hosts[host_id] = view
            self._broadcaster.publish("host", view)

    def _flush_migration(self, migration_id: str) -> None:
        record = self._fleet.migrations.get(migration_id)
        if record is None:
            self.migrations.pop(migration_id, None)
            return
        view = self.migration_view(record)
        if view != self.migrations.get(migration_id):
            self.migrations[migration_id] = view
            self._broadcaster.publish("migration", view)

    def _flush_incident(self, incident_id: str) -> None:
        incident = self._fleet.incidents.get(incident_id)
        if incident is None:
            self.incidents.pop(incident_id, None)
        elif incident != self.incidents.get(incident_id):
            self.incidents[incident_id] = incident
            self._broadcaster.publish("incident", incident)

    def _flush_evacuation(self, evacuation_id: str) -> None:
        record = self._fleet.evacuations.get(evacuation_id)
        if record is None:
            self.evacuations.pop(evacuation_id, None)
            self._verdicts.forget(evacuation_id)
            return
        view, known = self.evacuation_view(record), self.evacuations.get(evacuation_id)
        if known is None or _differs(known, view):
            self.evacuations[evacuation_id] = view
            self._broadcaster.publish("evacuation", view)


def _differs(known: Evacuation, now: Evacuation) -> bool:
    """Whether an evacuation is to be told again: more has changed than its figures by a little."""
    with_known_figures = msgspec.structs.replace(
        now,
        finish_at_ms=known.finish_at_ms,
        finish_low_ms=known.finish_low_ms,
        finish_high_ms=known.finish_high_ms,
        sending_bytes_per_s=known.sending_bytes_per_s,
        link=known.link,
    )
    return (
        with_known_figures != known
        or bool(known.finish_at_ms) is not bool(now.finish_at_ms)
        or abs(known.finish_at_ms - now.finish_at_ms) > _FINISH_MOVED_MS
        or _moved(known.sending_bytes_per_s, now.sending_bytes_per_s)
        or _basis(known.link) != _basis(now.link)
        or _moved(_rate(known.link), _rate(now.link))
    )


def _moved(before: float, now: float) -> bool:
    return abs(before - now) > _RATE_MOVED * max(before, now)


def _basis(link: LinkRate | None) -> bool | None:
    """Whether moves have shown a link's rate; None if nobody knows it."""
    return None if link is None else bool(link.measured_at_ms)


def _rate(link: LinkRate | None) -> int:
    return 0 if link is None else link.bytes_per_s
