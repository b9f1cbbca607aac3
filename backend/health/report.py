"""Every host's health and etcd's own, asked of etcd at this moment."""

import asyncio
import logging

from backend.fleet.dead import is_dead
from backend.fleet.known import Fleet
from backend.migrations.notes import now_ms
from wire import keys
from wire.etcd import Etcd, EtcdUnreachable, KeyValue
from wire.fleet import HealthValue, HostFacts, HostPolicy
from wire.rescue import HealthReport, HostHealth

_log = logging.getLogger(__name__)

_BATCH = 64
"""Leases asked for at once."""
_NEVER_SEEN = HealthValue(boot_id="", epoch=0, fence_detail="it never held a health key")


class Reporter:
    """Asks etcd, and puts beside it what the fleet model knows."""

    def __init__(self, etcd: Etcd, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet

    async def report(self) -> HealthReport:
        """Ask now.

        Without etcd the report says of the hosts what was known last, with nothing left of any
        lease; the members say why.
        """
        members, found = await asyncio.gather(
            asyncio.to_thread(self._etcd.members), asyncio.to_thread(self._look)
        )
        return HealthReport(
            at_ms=now_ms(), guard=self._fleet.guard, members=members, hosts=self._hosts(found)
        )

    def _look(self) -> dict[str, int | None] | None:
        """host_id → what its health key's lease has left; None when etcd does not answer."""
        try:
            listing = self._etcd.list(keys.HEALTH)
            left_s = self._left_s(listing.items)
        except EtcdUnreachable as error:
            _log.warning("a health report without etcd: %s", error.message)
            return None
        return {
            item.key.removeprefix(keys.HEALTH): left_s.get(item.lease_id) for item in listing.items
        }

    def _left_s(self, items: tuple[KeyValue, ...]) -> dict[int, int]:
        leases = [item.lease_id for item in items if item.lease_id]
        batches = [leases[start : start + _BATCH] for start in range(0, len(leases), _BATCH)]
        return {
            life.lease_id: life.left_s
            for batch in batches
            for life in self._etcd.lease_lives(batch)
            if not life.gone
        }

    def _hosts(self, found: dict[str, int | None] | None) -> tuple[HostHealth, ...]:
        named = sorted(self._fleet.facts.values(), key=lambda facts: facts.name)
        return tuple(self._host(facts, found) for facts in named)

    def _host(self, facts: HostFacts, found: dict[str, int | None] | None) -> HostHealth:
        fleet, host_id = self._fleet, facts.host_id
        present = host_id in (fleet.health if found is None else found)
        return HostHealth(
            host_id=host_id,
            host_name=facts.name,
            present=present,
            left_s=found.get(host_id) if found else None,
            life=fleet.health.get(host_id) or fleet.lives.get(host_id) or _NEVER_SEEN,
            late=host_id in fleet.late,
            dead=is_dead(fleet, host_id),
            policy=fleet.policies.get(host_id, HostPolicy()),
            transitions=fleet.transitions.of(host_id),
        )
