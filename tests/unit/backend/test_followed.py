"""What the backend follows of hosts that die: lives, shutdowns, policies, incidents, the guard."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from backend.fleet.dead import is_dead
from backend.fleet.host_view import host_status
from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from backend.follow.store import Follower
from wire import keys
from wire.audit import AuditEntry
from wire.etcd import Etcd
from wire.fleet import HostStatus, RescuePriority, ServerPolicy
from wire.life import Fence, HealthValue, HostShutdown
from wire.rescue import Incident, IncidentState, RescueGuard
from wire.role import Role

LIFE = HealthValue(boot_id="b", epoch=7, fence=Fence.WATCHDOG, ttl_s=10)
INCIDENT = Incident(incident_id="i1", host_id="h1", host_name="kvm-01", life=LIFE, lost_at_ms=1)


async def put(etcd: Etcd, key: str, value: msgspec.Struct) -> None:
    await asyncio.to_thread(etcd.put, key, msgspec.json.encode(value))


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.02)


@pytest.fixture
async def fleet(etcd: Etcd) -> AsyncIterator[Fleet]:
    """Follows etcd, in which a life and an incident are from the start."""
    await put(etcd, keys.LIVES + "h1", LIFE)
    await put(etcd, keys.INCIDENTS + "i1", INCIDENT)
    fleet = Fleet()
    task = asyncio.create_task(Follower(etcd, fleet).run())
    await until(lambda: not fleet.etcd_error)
    yield fleet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_each_prefix_is_listed_and_then_watched(etcd: Etcd, fleet: Fleet):
    assert fleet.lives == {"h1": LIFE}
    assert fleet.open_incident("h1") == INCIDENT
    shutdown = HostShutdown(boot_id="b", asked_at_ms=5, within_s=60)
    low = ServerPolicy(rescue_priority=RescuePriority.LOW)
    ended = msgspec.structs.replace(INCIDENT, state=IncidentState.ENDED)
    await put(etcd, keys.SHUTDOWNS + "h1", shutdown)
    await put(etcd, keys.SERVER_POLICIES + "s1", low)
    await put(etcd, keys.INCIDENTS + "i1", ended)
    await until(lambda: fleet.shutdowns == {"h1": shutdown})
    await until(lambda: fleet.server_policies == {"s1": low})
    await until(lambda: fleet.incidents == {"i1": ended})
    assert fleet.open_incident("h1") is None
    for key in (keys.LIVES + "h1", keys.SHUTDOWNS + "h1", keys.INCIDENTS + "i1"):
        await asyncio.to_thread(etcd.delete, key)
    await until(lambda: not (fleet.lives or fleet.shutdowns or fleet.incidents))


async def test_a_health_key_that_cannot_be_read_is_there_all_the_same(etcd: Etcd, two):
    two.fleet.health.clear()
    await asyncio.to_thread(etcd.put, keys.HEALTH + "host-1", b"?")
    await put(etcd, keys.HEALTH + "host-2", LIFE)
    dead = msgspec.structs.replace(INCIDENT, host_id="host-1", dead_at_ms=1)
    await put(etcd, keys.INCIDENTS + "i1", dead)
    for host in two.hosts:
        await put(etcd, keys.FACTS + host.host_id, host)
    task = asyncio.create_task(Follower(etcd, two.fleet).run())
    sentence = "what etcd holds as kvm-01's health key cannot be read"
    await until(lambda: not two.fleet.etcd_error)
    assert host_status(two.fleet, two.hosts[0]) == (HostStatus.UNKNOWN, sentence)
    assert not is_dead(two.fleet, "host-1")
    await put(etcd, keys.HEALTH + "host-1", LIFE)
    await until(lambda: two.fleet.health["host-1"] == LIFE)
    await asyncio.to_thread(etcd.put, keys.HEALTH + "host-1", b"")
    await until(lambda: host_status(two.fleet, two.hosts[0])[0] is HostStatus.UNKNOWN)
    await asyncio.to_thread(etcd.delete, keys.HEALTH + "host-1")
    await until(lambda: host_status(two.fleet, two.hosts[0])[0] is HostStatus.OFFLINE)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_life_that_cannot_be_read_takes_the_place_of_the_one_before(
    etcd: Etcd, fleet: Fleet
):
    dead = msgspec.structs.replace(INCIDENT, dead_at_ms=1)
    await put(etcd, keys.INCIDENTS + "i1", dead)
    await until(lambda: is_dead(fleet, "h1"))
    await asyncio.to_thread(etcd.put, keys.LIVES + "h1", b"?")
    await until(lambda: not is_dead(fleet, "h1"))
    assert fleet.lives == {"h1": UNREADABLE_HEALTH}


async def test_the_guard_is_armed_unless_etcd_says_otherwise(etcd: Etcd, fleet: Fleet):
    assert fleet.guard.armed
    disarmed = RescueGuard(armed=False, reason="works on the switch", by="alice", at_ms=3)
    await put(etcd, keys.RESCUE_GUARD, disarmed)
    await until(lambda: fleet.guard == disarmed)
    await asyncio.to_thread(etcd.delete, keys.RESCUE_GUARD)
    await until(lambda: fleet.guard.armed)


async def test_a_guard_that_cannot_be_read_counts_as_disarmed(etcd: Etcd, fleet: Fleet):
    await asyncio.to_thread(etcd.put, keys.RESCUE_GUARD, b"yes")
    await until(lambda: not fleet.guard.armed)
    assert keys.RESCUE_GUARD in fleet.guard.reason


async def test_what_was_written_here_is_not_undone_by_an_older_guard(etcd: Etcd, fleet: Fleet):
    fleet.written[keys.RESCUE_GUARD] = etcd.list(keys.INCIDENTS).revision + 2
    fleet.put_guard(RescueGuard(armed=False, by="alice"))
    await put(etcd, keys.RESCUE_GUARD, RescueGuard(by="bob"))
    await put(etcd, keys.RESCUE_GUARD, RescueGuard(armed=False, by="carol"))
    await until(lambda: fleet.guard.by != "alice")
    assert fleet.guard.by == "carol"


async def test_of_the_audit_only_what_is_new_is_told(etcd: Etcd):
    def entry(entry_id: str) -> AuditEntry:
        return AuditEntry(
            entry_id=entry_id, at_ms=1, user="alice", role=Role.OPERATOR, verb="rescue-arm"
        )

    for entry_id in ("a1", "a2"):
        await put(etcd, keys.AUDIT + entry_id, entry(entry_id))
    fleet = Fleet()
    task = asyncio.create_task(Follower(etcd, fleet).run())
    await until(lambda: fleet.audit.keys() == {"a1", "a2"})
    await until(lambda: not fleet.etcd_errors)
    await put(etcd, keys.AUDIT + "a3", entry("a3"))
    await until(lambda: "a3" in fleet.audit)
    assert fleet.changes.audit == {"a3"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
