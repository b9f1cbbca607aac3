"""Every host's health and etcd's own, asked of etcd at this moment."""

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor

import msgspec

from backend.fleet.dead import is_dead
from backend.fleet.known import Fleet
from backend.moments import now_ms
from wire import keys
from wire.etcd import Etcd, EtcdUnreachable, KeyValue
from wire.fleet import HostFacts, HostPolicy
from wire.lease import boot_clock_s
from wire.life import HealthValue
from wire.rescue import EtcdMember, HealthReport, HostHealth, Incident, Transition

_log = logging.getLogger(__name__)

_BATCH = 64
"""Leases asked for at once."""
_SHARED_S = 0.9
"""Whoever asks within this time gets the same answer: each console asks once a second."""
_NEVER_SEEN = HealthValue(boot_id="", epoch=0, fence_detail="it never held a health key")


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd said at one moment."""

    asked_s: float = -math.inf
    """On CLOCK_BOOTTIME."""
    at_ms: int = 0
    members: tuple[EtcdMember, ...] = ()
    left_s: dict[str, int | None] | None = None
    """As :meth:`Reporter._look` gives it."""


class Reporter:
    """Asks etcd, and puts beside it what the fleet model knows."""

    def __init__(self, etcd: Etcd, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet
        # others' calls do not wait behind a report of an etcd that hangs
        self._threads = ThreadPoolExecutor(2, "health-report")
        self._lock = asyncio.Lock()
        self._answer = _Answer()

    async def report(self) -> HealthReport:
        """Ask now, or take what was asked for a moment ago.

        Without etcd the report says of the hosts what was known last, with nothing left of any
        lease; the members say why.
        """
        async with self._lock:
            if boot_clock_s() - self._answer.asked_s >= _SHARED_S:
                self._answer = await self._ask()
            answer = self._answer
        return HealthReport(
            at_ms=answer.at_ms,
            guard=self._fleet.guard,
            members=answer.members,
            hosts=self._hosts(answer.left_s),
        )

    async def _ask(self) -> _Answer:
        loop, asked_s = asyncio.get_running_loop(), boot_clock_s()
        members, left_s = await asyncio.gather(
            loop.run_in_executor(self._threads, self._etcd.members),
            loop.run_in_executor(self._threads, self._look),
        )
        return _Answer(asked_s=asked_s, at_ms=now_ms(), members=members, left_s=left_s)

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
            transitions=tuple(_with_deaths(fleet, host_id)),
        )


def _with_deaths(fleet: Fleet, host_id: str) -> list[Transition]:
    """What was seen of a host, and when its incidents took it for dead, oldest first."""
    deaths = [
        Transition(at_ms=one.dead_at_ms, text=_death_text(one))
        for one in fleet.incidents.values()
        if one.host_id == host_id and one.dead_at_ms
    ]
    return sorted([*fleet.transitions.of(host_id), *deaths], key=lambda one: one.at_ms)


def _death_text(incident: Incident) -> str:
    declared = incident.declared_off_by
    return f"dead: {declared} declared it off" if declared else "dead"
