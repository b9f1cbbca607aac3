"""Following etcd: each prefix into its part of the fleet model."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from wire import keys
from wire.audit import AuditEntry
from wire.etcd import Etcd, KeyValue, Listing
from wire.evacuation import Evacuation
from wire.fleet import HostFacts, HostPolicy, ServerPolicy, ServerRecord
from wire.life import HealthValue, HostShutdown
from wire.migration import Migration
from wire.rescue import Incident, RescueGuard
from wire.watch import Changed, Listed, Lost, watch

_log = logging.getLogger(__name__)

_HEALTH_POLL_S = 1.0
"""Listing the health keys this often notices a frozen etcd, whose watch merely falls silent."""

UNREADABLE_GUARD = RescueGuard(
    armed=False, reason=f"what etcd holds at {keys.RESCUE_GUARD} cannot be read"
)

ValueT = TypeVar("ValueT", bound=msgspec.Struct)


class Follower:
    """Keeps a fleet model equal to etcd for as long as :meth:`run` runs."""

    def __init__(self, etcd: Etcd, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet
        for prefix in (
            keys.HEALTH,
            keys.FACTS,
            keys.LIVES,
            keys.SHUTDOWNS,
            keys.POLICIES,
            keys.SERVER_POLICIES,
            keys.SERVERS,
            keys.MIGRATIONS,
            keys.EVACUATIONS,
            keys.INCIDENTS,
            keys.RESCUE_GUARD,
            keys.AUDIT,
            keys.LEADER,
        ):
            fleet.put_etcd_error(prefix, "etcd has not answered since this backend started")

    async def run(self) -> None:
        """Follow every prefix for ever."""
        fleet = self._fleet
        async with asyncio.TaskGroup() as group:
            for coroutine in (
                self._follow(
                    keys.HEALTH, HealthValue, fleet.health, fleet.put_health, _HEALTH_POLL_S
                ),
                self._follow(keys.FACTS, HostFacts, fleet.facts, fleet.put_facts),
                self._follow(keys.LIVES, HealthValue, fleet.lives, fleet.put_life),
                self._follow(keys.SHUTDOWNS, HostShutdown, fleet.shutdowns, fleet.put_shutdown),
                self._follow(keys.POLICIES, HostPolicy, fleet.policies, fleet.put_policy),
                self._follow(
                    keys.SERVER_POLICIES,
                    ServerPolicy,
                    fleet.server_policies,
                    fleet.put_server_policy,
                ),
                self._follow(keys.SERVERS, ServerRecord, fleet.records, fleet.put_record),
                self._follow(keys.MIGRATIONS, Migration, fleet.migrations, fleet.put_migration),
                self._follow(keys.EVACUATIONS, Evacuation, fleet.evacuations, fleet.put_evacuation),
                self._follow(keys.INCIDENTS, Incident, fleet.incidents, fleet.put_incident),
                self._follow(keys.AUDIT, AuditEntry, fleet.audit, fleet.put_audit),
                self._follow_guard(),
                self._follow_leader(),
            ):
                group.create_task(coroutine)

    async def _follow(
        self,
        prefix: str,
        kind: type[ValueT],
        known: dict[str, ValueT],
        put: Callable[[str, ValueT | None], None],
        poll_s: float | None = None,
    ) -> None:
        async for seen in watch(self._etcd, prefix, poll_s=poll_s):
            match seen:
                case Lost(reason=reason):
                    self._fleet.put_etcd_error(prefix, reason)
                case Changed(key=key, revision=revision, item=item):
                    if revision < self._fleet.written.get(key, 0):
                        continue
                    value = None if item is None else taken(item, kind)
                    if value is not None or item is None:
                        put(key.removeprefix(prefix), value)
                case Listed(listing=listing):
                    self._replace(prefix, kind, known, put, listing)
                    self._fleet.put_etcd_error(prefix, "")

    def _replace(
        self,
        prefix: str,
        kind: type[ValueT],
        known: dict[str, ValueT],
        put: Callable[[str, ValueT | None], None],
        listing: Listing,
    ) -> None:
        """Make what is known equal to a listing, touching only what differs."""
        written = self._fleet.written
        fresh = {
            key: item
            for item in listing.items
            if (key := item.key.removeprefix(prefix)) not in known
            or item.mod_revision >= written.get(item.key, 0)
        }
        listed = {item.key.removeprefix(prefix) for item in listing.items}
        for key in known.keys() - listed:
            if listing.revision >= written.get(prefix + key, 0):
                put(key, None)
        for key, item in fresh.items():
            value = taken(item, kind)
            if value is not None and known.get(key) != value:
                put(key, value)

    async def _follow_guard(self) -> None:
        async for seen in watch(self._etcd, keys.RESCUE_GUARD):
            match seen:
                case Lost(reason=reason):
                    self._fleet.put_etcd_error(keys.RESCUE_GUARD, reason)
                case Changed(revision=revision, item=item):
                    self._take_guard(item, revision)
                case Listed(listing=listing):
                    self._take_guard(next(iter(listing.items), None), listing.revision)
                    self._fleet.put_etcd_error(keys.RESCUE_GUARD, "")

    def _take_guard(self, item: KeyValue | None, revision: int) -> None:
        if revision < self._fleet.written.get(keys.RESCUE_GUARD, 0):
            return
        guard = RescueGuard() if item is None else decoded(item, RescueGuard)
        self._fleet.put_guard(guard or UNREADABLE_GUARD)

    async def _follow_leader(self) -> None:
        async for seen in watch(self._etcd, keys.LEADER):
            match seen:
                case Lost(reason=reason):
                    self._fleet.put_etcd_error(keys.LEADER, reason)
                case Changed(item=item):
                    self._fleet.leader_name = item.text if item else ""
                case Listed(listing=listing):
                    names = [item.text for item in listing.items]
                    self._fleet.leader_name = names[0] if names else ""
                    self._fleet.put_etcd_error(keys.LEADER, "")


def taken(item: KeyValue, kind: type[ValueT]) -> ValueT | None:
    """What is believed of a value: a health key that nobody can read is there all the same."""
    value = decoded(item, kind)
    if value is None and isinstance(UNREADABLE_HEALTH, kind):
        return UNREADABLE_HEALTH
    return value


def decoded(item: KeyValue, kind: type[ValueT]) -> ValueT | None:
    """Decode a value; None, with a line in the log, when it is not of this kind."""
    try:
        return msgspec.json.decode(item.value, type=kind)
    except msgspec.DecodeError as error:
        _log.error("%s in etcd cannot be read and is ignored: %s", item.key, error)
        return None
