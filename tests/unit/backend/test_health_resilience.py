"""Health while etcd breaks: hosts may be unknown, and never offline unless their keys are gone."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from backend.events import Broadcaster
from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.follow.store import Follower
from backend.health.leases import Leases
from backend.health.report import Reporter
from backend.migrations.jobs import Jobs
from backend.publish import Publisher
from wire import keys
from wire.etcd import ChangeStream, Etcd, Lease, Write
from wire.fleet import HostFacts, HostStatus, HostView
from wire.lease import HeldKey
from wire.life import HealthValue

TTL_S = 5
HOSTS = 2
SEVERAL_ROUNDS_S = 2 * TTL_S + 1


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


class Host:
    """An agent's way of holding its health key, with a connection of its own."""

    def __init__(self, config, facts: HostFacts) -> None:
        self.facts = facts
        self._etcd = Etcd(config)
        self._epoch = 0
        self._etcd.put(keys.FACTS + facts.host_id, msgspec.json.encode(facts))
        self._held = HeldKey(
            self._etcd,
            keys.HEALTH + facts.host_id,
            ttl_s=TTL_S,
            put=self._put,
            refresh_s=TTL_S / 6,
        )
        self._held.start()

    def _put(self, lease: Lease, _: float) -> bool:
        self._epoch += 1
        value = msgspec.json.encode(HealthValue(boot_id="b", epoch=self._epoch, ttl_s=lease.ttl_s))
        key, life = keys.HEALTH + self.facts.host_id, keys.LIVES + self.facts.host_id
        writes = [
            Write(key=key, value=value, lease_id=lease.lease_id),
            Write(key=life, value=value),
        ]
        return bool(self._etcd.transact(when=[], then=writes))

    def die(self) -> None:
        self._held.stop(revoke=False)
        self._etcd.close()


class Watched(Fleet):
    """Remembers each status that any host ever had."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[HostStatus]] = {}

    def begin(self) -> None:
        """Forget how the hosts came up."""
        self.seen.clear()
        self.note()

    def note(self) -> None:
        for facts in self.facts.values():
            status, _ = host_status(self, facts)
            ring = self.seen.setdefault(facts.host_id, [])
            if not ring or ring[-1] is not status:
                ring.append(status)

    def put_health(self, host_id: str, health: HealthValue | None) -> None:
        super().put_health(host_id, health)
        self.note()

    def put_etcd_error(self, prefix: str, reason: str) -> None:
        super().put_etcd_error(prefix, reason)
        self.note()


@asynccontextmanager
async def following(etcd: Etcd, fleet: Fleet) -> AsyncIterator[Leases]:
    """What the backend does about health, until all hosts' keys are there."""
    leases = Leases(etcd, fleet)
    tasks = [asyncio.create_task(one.run()) for one in (Follower(etcd, fleet), leases)]
    try:
        await until(lambda: not fleet.etcd_error and len(fleet.health) == HOSTS)
        if isinstance(fleet, Watched):
            fleet.begin()
        yield leases
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def start_hosts(make_host) -> Iterator[Callable[..., list[Host]]]:
    started: list[Host] = []

    def start(config) -> list[Host]:
        started.extend(Host(config, make_host(number + 1)) for number in range(HOSTS))
        return started

    yield start
    for host in started:
        host.die()


@pytest.fixture
def both(cluster) -> Iterator[Etcd]:
    connection = Etcd(cluster.config)
    yield connection
    connection.close()


ALIVE = {HostStatus.UNKNOWN, HostStatus.UNREACHABLE}
"""No agent is there to be reached."""


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_another_member_leads_and_no_host_was_lost(cluster, both, start_hosts, fault):
    fleet = Watched()
    await asyncio.to_thread(start_hosts, cluster.config)
    async with following(both, fleet):
        leader, _ = await asyncio.to_thread(cluster.roles)
        if fault == "killed":
            leader.kill()
        else:
            await asyncio.to_thread(leader.send, signal.SIGSTOP)
        next_leader, _ = await asyncio.to_thread(cluster.roles)
        assert next_leader is not leader
        await asyncio.sleep(SEVERAL_ROUNDS_S)
        await until(lambda: not fleet.etcd_error)
        assert sorted(fleet.health) == ["host-1", "host-2"]
        assert all(set(statuses) <= ALIVE for statuses in fleet.seen.values()), fleet.seen
        if fault == "frozen":
            leader.send(signal.SIGCONT)
            await asyncio.sleep(SEVERAL_ROUNDS_S)
            await until(lambda: not fleet.etcd_error)
            # etcd before 3.4.28 may revoke leases as it wakes (its issue 15247); hosts come back
            await until(lambda: sorted(fleet.health) == ["host-1", "host-2"])


async def test_one_member_of_three_lost_is_told_and_changes_nothing(cluster, both, start_hosts):
    fleet = Watched()
    await asyncio.to_thread(start_hosts, cluster.config)
    async with following(both, fleet):
        leader, (lost, other) = await asyncio.to_thread(cluster.roles)
        lost.kill()
        await asyncio.sleep(SEVERAL_ROUNDS_S)
        await until(lambda: not fleet.etcd_error)
        report = await Reporter(both, fleet).report()
        members = {one.endpoint: one for one in report.members}
        assert members[lost.endpoint].error
        assert [members[one.endpoint].error for one in (leader, other)] == ["", ""]
        assert members[leader.endpoint].leader
        assert [one.present for one in report.hosts] == [True, True]
        await until(lambda: "host-1" not in fleet.late)
    assert all(set(statuses) <= ALIVE for statuses in fleet.seen.values()), fleet.seen


async def test_without_a_majority_hosts_are_unknown_and_none_is_lost(cluster, both, start_hosts):
    fleet = Watched()
    await asyncio.to_thread(start_hosts, cluster.config)
    async with following(both, fleet):
        leader, (follower, _) = await asyncio.to_thread(cluster.roles)
        for member in (leader, follower):
            member.kill()
        await until(lambda: fleet.etcd_error)
        await asyncio.sleep(SEVERAL_ROUNDS_S)
        assert [statuses[-1] for statuses in fleet.seen.values()] == [HostStatus.UNKNOWN] * 2
        assert sorted(fleet.health) == ["host-1", "host-2"]
        for member in (leader, follower):
            await asyncio.to_thread(member.launch)
        await until(lambda: not fleet.etcd_error)
        await until(lambda: sorted(fleet.health) == ["host-1", "host-2"])


async def test_an_etcd_that_was_frozen_for_long_makes_hosts_unknown_meanwhile(
    server, etcd, start_hosts
):
    fleet = Watched()
    await asyncio.to_thread(start_hosts, server.config)
    async with following(etcd, fleet):
        server.send(signal.SIGSTOP)
        await until(lambda: fleet.etcd_error)
        before = {host_id: len(statuses) for host_id, statuses in fleet.seen.items()}
        await asyncio.sleep(SEVERAL_ROUNDS_S)
        assert {host_id: len(statuses) for host_id, statuses in fleet.seen.items()} == before
        assert [statuses[-1] for statuses in fleet.seen.values()] == [HostStatus.UNKNOWN] * 2
        server.send(signal.SIGCONT)
        await until(lambda: not fleet.etcd_error)
        await until(lambda: sorted(fleet.health) == ["host-1", "host-2"])


class Breaking(Etcd):
    """Its first watch of a prefix begins at a revision that is compacted by then."""

    def __init__(self, config, prefix: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(config)
        self._prefix = prefix
        self._meanwhile = [meanwhile]

    def changes(self, prefix: str, *, since_revision: int) -> ChangeStream:
        if prefix == self._prefix and self._meanwhile:
            self._meanwhile.pop()()
        return super().changes(prefix, since_revision=since_revision)


@pytest.mark.parametrize("prefix", [keys.HEALTH, keys.LIVES])
async def test_what_a_compacted_watch_missed_is_listed(server, etcd, prefix):
    life = msgspec.json.encode(HealthValue(boot_id="b", epoch=1))
    for name in ("stays", "goes"):
        etcd.put(prefix + name, life)

    def meanwhile() -> None:
        etcd.delete(prefix + "goes")
        etcd.put(prefix + "comes", life)
        etcd.put("/elsewhere", b"")
        server.compact(etcd.list("/elsewhere").revision)

    breaking, fleet = Breaking(server.config, prefix, meanwhile), Fleet()
    known = fleet.health if prefix == keys.HEALTH else fleet.lives
    follower = asyncio.create_task(Follower(breaking, fleet).run())
    await until(lambda: sorted(known) == ["comes", "stays"])
    await asyncio.to_thread(etcd.put, prefix + "later", life)
    await until(lambda: "later" in known)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    breaking.close()


async def test_a_host_is_told_as_late_before_it_is_told_as_lost(server, etcd, start_hosts):
    fleet, broadcaster = Fleet(), Broadcaster("1")
    dying, _ = await asyncio.to_thread(start_hosts, server.config)

    class NoTargets:
        answered = 0

    async with following(etcd, fleet):
        publisher = Publisher(fleet, Jobs(), broadcaster, NoTargets())
        publisher.flush()
        listener = broadcaster.listen()
        publishing = asyncio.create_task(publisher.run())
        dying.die()
        told: list[tuple[bool, HostStatus]] = []
        while not told or told[-1][1] is not HostStatus.OFFLINE:
            event = await listener.next(30)
            assert event is not None
            if event.name != "host":
                continue
            view = msgspec.json.decode(event.data, type=HostView)
            if view.facts == dying.facts:
                told.append((view.late, view.status))
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    assert told == [(True, HostStatus.UNREACHABLE), (False, HostStatus.OFFLINE)]
