"""The health report, asked of a real etcd."""

import asyncio
import signal

import msgspec

from backend.health import report as report_module
from backend.health.report import Reporter
from wire import keys
from wire.etcd import Etcd
from wire.fleet import HostPolicy
from wire.life import Fence, HealthValue
from wire.rescue import Incident

LIFE = HealthValue(boot_id="b", epoch=4, fence=Fence.WATCHDOG, ttl_s=100)


async def test_each_host_is_told_by_name_with_what_its_lease_has_left(two, etcd):
    lease = etcd.grant_lease(100)
    etcd.put(keys.HEALTH + "host-1", msgspec.json.encode(LIFE), lease_id=lease.lease_id)
    two.fleet.put_health("host-1", LIFE)
    two.fleet.put_policy("host-1", HostPolicy(auto_migrate_on_host_down=True))
    two.fleet.put_health("host-2", None)
    two.fleet.put_life("host-2", msgspec.structs.replace(LIFE, epoch=9))
    report = await Reporter(etcd, two.fleet).report()
    here, there = report.hosts
    assert (here.host_name, here.present, here.life, here.fence) == (
        "kvm-01",
        True,
        LIFE,
        Fence.WATCHDOG,
    )
    assert here.left_s is not None
    assert 0 < here.left_s <= 100
    assert here.policy.auto_migrate_on_host_down
    assert (there.present, there.left_s, there.life.epoch) == (False, None, 9)
    assert there.transitions[-1].text == "lost"
    assert [one.error for one in report.members] == [""]


async def test_what_was_seen_of_a_host_ends_with_its_death(two, etcd):
    two.fleet.put_health("host-2", LIFE)
    two.fleet.put_health("host-2", None)
    lost = Incident(
        incident_id="i1",
        host_id="host-2",
        host_name="kvm-02",
        life=LIFE,
        lost_at_ms=1,
        dead_at_ms=two.fleet.transitions.of("host-2")[-1].at_ms + 5,
        declared_off_by="alice",
    )
    two.fleet.put_incident("i1", lost)
    here, there = (await Reporter(etcd, two.fleet).report()).hosts
    assert [one.text for one in there.transitions][-2:] == [
        "lost",
        "dead: alice declared it off",
    ]
    assert here.transitions == two.fleet.transitions.of("host-1")


async def test_all_who_ask_within_a_moment_share_one_answer(two, etcd, monkeypatch):
    now_s, asked, members = [1_000.0], [], etcd.members

    def ask():
        asked.append(now_s[0])
        return members()

    monkeypatch.setattr(report_module, "boot_clock_s", lambda: now_s[0])
    monkeypatch.setattr(etcd, "members", ask)
    reporter = Reporter(etcd, two.fleet)
    await asyncio.gather(*(reporter.report() for _ in range(5)))
    now_s[0] += 1.0
    await asyncio.gather(*(reporter.report() for _ in range(5)))
    assert asked == [1_000.0, 1_001.0]


async def test_a_host_that_never_lived_is_told_too(two, etcd):
    two.fleet.put_health("host-1", None)
    report = await Reporter(etcd, two.fleet).report()
    assert report.hosts[0].life.fence is Fence.NONE
    assert report.hosts[0].life.fence_detail


async def test_without_etcd_the_members_say_why_and_hosts_are_as_last_known(two, server, etcd):
    server.send(signal.SIGSTOP)
    report = await Reporter(etcd, two.fleet).report()
    server.send(signal.SIGCONT)
    assert [one.endpoint for one in report.members] == [server.endpoint]
    assert report.members[0].error
    assert [(one.present, one.left_s) for one in report.hosts] == [(True, None), (True, None)]


async def test_one_dead_member_hides_neither_hosts_nor_the_others(two, server, etcd):
    etcd.put(keys.HEALTH + "host-1", msgspec.json.encode(LIFE))
    config = msgspec.structs.replace(server.config, endpoints=("127.0.0.1:1", server.endpoint))
    both = Etcd(config)
    report = await Reporter(both, two.fleet).report()
    both.close()
    dead, alive = report.members
    assert dead.error
    assert alive.leader
    assert [one.present for one in report.hosts] == [True, False]
