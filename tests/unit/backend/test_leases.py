"""The leases of health keys in a real etcd: who is late, and until when a lost one may live."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from backend.fleet.known import Fleet
from backend.follow.store import Follower
from backend.health.leases import Leases
from wire import keys
from wire.etcd import Etcd, Lease
from wire.lease import boot_clock_s
from wire.life import HealthValue

TTL_S = 5


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


class Host:
    """A health key under a lease, refreshed only when told."""

    def __init__(self, etcd: Etcd, host_id: str, *, epoch: int = 1, ttl_s: int = TTL_S) -> None:
        self._etcd, self.host_id = etcd, host_id
        self.lease: Lease = etcd.grant_lease(ttl_s)
        value = msgspec.json.encode(HealthValue(boot_id="b", epoch=epoch, ttl_s=self.lease.ttl_s))
        etcd.put(keys.LIVES + host_id, value)
        etcd.put(keys.HEALTH + host_id, value, lease_id=self.lease.lease_id)

    async def refresh(self) -> None:
        await asyncio.to_thread(self._etcd.refresh_in_term, self.lease.lease_id)

    async def keep(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(TTL_S / 6)


@pytest.fixture
async def fleet(etcd: Etcd) -> AsyncIterator[Fleet]:
    fleet = Fleet()
    task = asyncio.create_task(Follower(etcd, fleet).run())
    await until(lambda: not fleet.etcd_error)
    yield fleet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_life_that_was_not_seen_is_not_counted_by_the_lease_of_the_one_before(
    etcd: Etcd, fleet: Fleet, leases: Leases
):
    Host(etcd, "h1", epoch=1)
    unseen = msgspec.json.encode(HealthValue(boot_id="b", epoch=2, ttl_s=TTL_S))
    etcd.put(keys.LIVES + "h1", unseen)
    await until(lambda: "h1" in fleet.lives and "h1" in fleet.late)
    await until(lambda: "h1" not in fleet.health)
    gone_s = boot_clock_s()
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert leases.cannot_live_before("h1") > gone_s + TTL_S - 1


@pytest.fixture
async def leases(etcd: Etcd, fleet: Fleet) -> AsyncIterator[Leases]:
    leases = Leases(etcd, fleet)
    task = asyncio.create_task(leases.run())
    yield leases
    assert not task.done(), task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def texts(fleet: Fleet, host_id: str) -> list[str]:
    return [
        one.text.partition(" with ")[0].partition(":")[0] for one in fleet.transitions.of(host_id)
    ]


async def test_a_host_that_stops_refreshing_is_late_before_it_is_lost(etcd, fleet, leases):
    other = await asyncio.to_thread(Host, etcd, "h2")
    await asyncio.to_thread(Host, etcd, "h1")
    keeping = asyncio.create_task(other.keep())
    await until(lambda: {"h1", "h2"} <= fleet.health.keys())
    await until(lambda: "h1" not in fleet.health)
    assert texts(fleet, "h1") == ["present", "late", "lost"]
    assert texts(fleet, "h2") == ["present"]
    assert "h1" not in fleet.late
    keeping.cancel()


async def test_a_late_host_that_refreshes_is_in_time_again(etcd, fleet, leases):
    host = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: "h1" in fleet.late)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: "h1" not in fleet.late)
    assert texts(fleet, "h1") == ["present", "late", "in time again"]
    keeping.cancel()


async def test_a_lease_that_runs_out_cannot_live_once_etcd_has_dropped_it(etcd, fleet, leases):
    refreshed_s = boot_clock_s()
    host = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: leases.left_s("h1") is not None)
    assert leases.cannot_live_before("h1") is None
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert "h1" not in fleet.health
    bound_s = leases.cannot_live_before("h1")
    assert bound_s >= refreshed_s + host.lease.ttl_s


async def test_a_revoked_lease_counts_as_if_it_had_just_been_refreshed(etcd, fleet, leases):
    host = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: leases.left_s("h1") is not None)
    await host.refresh()
    refreshed_s = boot_clock_s()
    await asyncio.to_thread(etcd.revoke_lease, host.lease.lease_id)
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert leases.cannot_live_before("h1") >= refreshed_s + host.lease.ttl_s


async def test_a_key_deleted_by_hand_bounds_nothing_while_its_lease_lives(etcd, fleet, leases):
    host = await asyncio.to_thread(Host, etcd, "h1")
    keeping = asyncio.create_task(host.keep())
    await until(lambda: leases.left_s("h1") is not None)
    await asyncio.to_thread(etcd.delete, keys.HEALTH + "h1")
    await until(lambda: "h1" not in fleet.health)
    for _ in range(30):
        assert leases.cannot_live_before("h1") is None
        await asyncio.sleep(0.1)
    keeping.cancel()
    stopped_s = boot_clock_s()
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert boot_clock_s() > stopped_s + host.lease.ttl_s - TTL_S / 6 - 1
    assert "h1" not in fleet.late


async def test_who_was_lost_before_this_backend_began_is_given_a_whole_ttl(etcd, fleet, leases):
    host = await asyncio.to_thread(Host, etcd, "h1")
    await asyncio.to_thread(etcd.revoke_lease, host.lease.lease_id)
    began_s = boot_clock_s()
    later = Leases(etcd, fleet)
    await until(lambda: "h1" in fleet.lives)
    task = asyncio.create_task(later.run())
    await until(lambda: later.cannot_live_before("h1") is not None)
    assert later.cannot_live_before("h1") >= began_s + host.lease.ttl_s
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_life_that_nobody_saw_is_given_a_whole_ttl(etcd, fleet, leases):
    first = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: "h1" in fleet.health)
    await until(lambda: leases.cannot_live_before("h1") is not None and "h1" not in fleet.health)
    past_s = leases.cannot_live_before("h1")
    await until(lambda: boot_clock_s() > past_s)
    unseen = msgspec.structs.replace(fleet.lives["h1"], epoch=2)
    put_s = boot_clock_s()
    await asyncio.to_thread(etcd.put, keys.LIVES + "h1", msgspec.json.encode(unseen))
    await until(lambda: fleet.lives["h1"].epoch == 2)
    bound_s = leases.cannot_live_before("h1")
    assert bound_s is None or bound_s >= put_s + first.lease.ttl_s
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert leases.cannot_live_before("h1") >= put_s + first.lease.ttl_s


async def test_a_frozen_etcd_makes_nobody_late_and_gives_a_whole_ttl_afterwards(
    server, etcd, fleet, leases
):
    host = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: leases.left_s("h1") is not None)
    server.send(signal.SIGSTOP)
    await until(lambda: fleet.etcd_error)
    for _ in range(2 * TTL_S * 10):
        assert "h1" not in fleet.late
        assert "h1" in fleet.health
        await asyncio.sleep(0.1)
    server.send(signal.SIGCONT)
    back_s = boot_clock_s()
    await until(lambda: leases.cannot_live_before("h1") is not None)
    assert leases.cannot_live_before("h1") >= back_s + host.lease.ttl_s
    await until(lambda: texts(fleet, "h1")[-1] == "lost")


async def test_a_host_that_comes_back_is_told_with_its_epoch(etcd, fleet, leases):
    first = await asyncio.to_thread(Host, etcd, "h1")
    await until(lambda: leases.left_s("h1") is not None)
    await asyncio.to_thread(etcd.revoke_lease, first.lease.lease_id)
    await until(lambda: leases.cannot_live_before("h1") is not None)
    await asyncio.to_thread(Host, etcd, "h1", epoch=2)
    await until(lambda: "h1" in fleet.health and leases.cannot_live_before("h1") is None)
    assert [one.text for one in fleet.transitions.of("h1")] == [
        "present with epoch 1, not fenced",
        "lost",
        "back with epoch 2, not fenced",
    ]
