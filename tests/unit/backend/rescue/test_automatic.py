"""From the loss of a host to its servers on others, without anybody asking."""

from typing import Any

import msgspec
import pytest

from backend.moments import now_ms
from backend.rescue import incidents, rescuer, starting
from backend.rescue.definition import read_definition
from backend.rescue.storm import CUT_OFF_S
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy, OwnerPhase, RescuePriority, ServerPolicy
from wire.life import Fence, HostShutdown
from wire.rescue import DeclareOff, IncidentState, RescueState

GIB = 1 << 30

BOUND = "vda lies on this host alone (/local/db-1.img)"


async def test_running_servers_on_shared_disks_start_elsewhere(scene):
    scene.add("web-1")
    scene.add("web-2")
    scene.cut("kvm-01")
    await scene.settle()
    for name in ("web-1", "web-2"):
        owner = scene.record(name).owner
        assert [scene.running(name)] == [[host_name(scene, owner.host_id)]]
        assert (owner.generation, owner.phase) == (2, OwnerPhase.SETTLED)
        assert owner.host_id in {"host-2", "host-3"}
        assert scene.line(name).state is RescueState.RESCUED
    incident = scene.incident()
    assert incident.state is IncidentState.RESCUED
    assert incident.dead_at_ms >= incident.lost_at_ms > 0
    assert incident.first_running_at_ms > 0
    assert "watchdog" in incident.proof
    assert incident.held_reason == ""


def host_name(scene, host_id: str) -> str:
    return scene.agents[host_id].facts.name


async def test_nothing_is_claimed_before_the_guard_has_passed(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(20.0)  # this backend has watched for longer than a lease
    scene.put_life("kvm-01")
    scene.sync()
    await scene.look()
    scene.cut("kvm-01")
    await scene.pass_(0.9)
    assert scene.incident().state is IncidentState.PROVING
    assert "guard" in scene.incident().held_reason
    await scene.pass_(0.2)
    assert scene.record("web-1").owner.host_id != "host-1"


async def test_nothing_is_claimed_while_the_lease_may_live(scene):
    scene.add("web-1")
    scene.leases.bounds_s["host-1"] = scene.now_s + 100
    scene.cut("kvm-01")
    await scene.pass_(99.0)
    assert scene.incident().state is IncidentState.PROVING
    scene.leases.bounds_s["host-1"] = None
    await scene.pass_(99.0)
    assert scene.incident().state is IncidentState.PROVING
    assert scene.record("web-1").owner.generation == 1


async def test_a_backend_that_had_lost_etcd_waits_for_a_whole_lease(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    scene.leases.bounds_s["host-1"] = 0.0
    await scene.pass_(10.0)
    scene.fleet.put_etcd_error("x", "etcd is away")
    await scene.look()
    scene.fleet.put_etcd_error("x", "")
    await scene.pass_(10.5)
    assert scene.incident().state is IncidentState.PROVING
    assert "a whole lease of 10 s" in scene.incident().held_reason
    await scene.pass_(0.6)
    assert scene.incident().dead_at_ms


async def test_what_stays_is_listed_with_its_reason(scene):
    scene.add("old-1", wanted_on=False)
    scene.add("db-1", bound_by=BOUND)
    scene.add("nap-1", suspended=True)
    scene.add("gone-1", definition="")
    scene.add("lost-1", phase=OwnerPhase.LOST)
    tied = "<domain><devices><hostdev type='pci'/></devices></domain>"
    scene.add("gpu-1", definition=tied)
    scene.cut("kvm-01")
    await scene.settle()
    incident = scene.incident()
    assert incident.state is IncidentState.RESCUED
    assert {one.state for one in incident.servers} == {RescueState.SKIPPED}
    reasons = {one.server_name: one.reason for one in incident.servers}
    assert reasons["old-1"] == "stopped, stays stopped"
    assert (
        reasons["db-1"]
        == "vda lies on kvm-01 alone (/local/db-1.img); it starts when kvm-01 is back"
    )
    assert "paused by a person" in reasons["nap-1"]
    assert "no definition" in reasons["gone-1"]
    assert "server-settle" in reasons["lost-1"]
    assert "pci device" in reasons["gpu-1"]
    assert scene.migrations() == []


async def test_an_unfenced_host_is_held_until_somebody_declares_it_off(scene):
    scene.put_life("kvm-01", fence=Fence.NONE)
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.settle()
    incident = scene.incident()
    assert (incident.state, incident.dead_at_ms) == (IncidentState.HELD, 0)
    assert "godwit host-declare-off kvm-01" in incident.held_reason
    assert scene.line("web-1").reason == incident.held_reason
    await scene.desk.declare_off("kvm-01", DeclareOff(host_name="kvm-01"), requested_by="ann")
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED
    assert scene.incident().declared_off_by == "ann"
    assert [note.by for note in scene.incident().notes].count("ann") == 1


async def test_a_host_that_nobody_wants_rescued_is_held(scene):
    scene.put_policy("kvm-01", down=False)
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.settle()
    incident = scene.incident()
    assert incident.state is IncidentState.HELD
    assert incident.dead_at_ms
    assert "auto_migrate_on_host_down" in incident.held_reason
    assert "godwit host-evacuate kvm-01" in incident.held_reason
    scene.put_policy("kvm-01", down=True)
    scene.sync()
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED


@pytest.mark.parametrize("asked", [False, True])
async def test_a_host_shut_down_in_order_is_rescued_only_if_that_is_asked_for(scene, asked):
    scene.put_policy("kvm-01", down=True, shutdown=asked)
    scene.add("web-1")
    scene.fleet.put_shutdown("host-1", HostShutdown(boot_id="b", asked_at_ms=1, within_s=60))
    scene.cut("kvm-01")
    await scene.settle()
    assert scene.incident().shut_down
    assert scene.incident().state is (IncidentState.RESCUED if asked else IncidentState.HELD)
    assert scene.record("web-1").owner.generation == (2 if asked else 1)


async def test_the_word_of_an_earlier_life_is_no_shutdown(scene):
    scene.add("web-1")
    scene.fleet.put_shutdown("host-1", HostShutdown(boot_id="a", asked_at_ms=1, within_s=60))
    scene.cut("kvm-01")
    await scene.settle()
    assert not scene.incident().shut_down
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_nothing_is_rescued_while_disarmed(scene):
    scene.add("web-1")
    await scene.desk.disarm("switch maintenance", requested_by="ann")
    scene.cut("kvm-01")
    await scene.settle()
    assert scene.incident().state is IncidentState.HELD
    assert "switch maintenance" in scene.incident().held_reason
    await scene.desk.arm(requested_by="bob")
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED
    assert ("rescues are armed", "bob") in [(one.text, one.by) for one in scene.incident().notes]


async def test_half_of_the_hosts_gone_together_disarms(scene):
    scene.add("web-1")
    scene.cut("kvm-01", "kvm-02")
    await scene.settle()
    assert not scene.fleet.guard.armed
    assert scene.fleet.guard.reason == "2 of 3 hosts were lost together: kvm-01, kvm-02"
    for host in ("kvm-01", "kvm-02"):
        assert scene.incident(host).notes[-1].text.startswith(("rescues are disarmed", "counts as"))
    assert scene.record("web-1").owner.generation == 1


async def test_a_clock_that_jumps_between_two_losses_hides_no_storm(scene, monkeypatch):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    await scene.run_rescues()
    assert scene.incident().state is not IncidentState.PROVING
    hour_ms = 3_600_000
    monkeypatch.setattr("backend.rescue.storm_guard.now_ms", lambda: now_ms() + hour_ms)
    scene.cut("kvm-02")
    await scene.pass_(1.0)
    assert scene.fleet.guard.reason == "2 of 3 hosts were lost together: kvm-01, kvm-02"


async def test_hosts_that_are_shut_down_in_order_are_no_storm(scene):
    for host_id in ("host-1", "host-2"):
        word = HostShutdown(boot_id="b", asked_at_ms=1, within_s=60)
        scene.fleet.put_shutdown(host_id, word)
    scene.cut("kvm-01", "kvm-02")
    await scene.pass_(12.0)
    assert [one.shut_down for one in scene.fleet.incidents.values()] == [True, True]
    assert scene.fleet.guard.armed


@pytest.mark.parametrize(
    "fault", [KeyError("x"), GodwitError(ErrorCode.CONFLICT, "it cannot be read")], ids=repr
)
async def test_a_case_that_cannot_be_looked_at_stops_no_other(scene, monkeypatch, fault):
    scene.add("web-1")
    account, failed = rescuer.account, []

    def fails(incident, given):
        if incident.host_name == "kvm-02":
            failed.append(incident)
            raise fault
        return account(incident, given)

    monkeypatch.setattr(rescuer, "account", fails)
    scene.cut("kvm-01", "kvm-02")
    await scene.settle()
    await scene.desk.arm(requested_by="ann")
    await scene.settle()
    assert failed
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_a_case_that_cannot_be_looked_at_starts_nothing_meanwhile(scene, monkeypatch):
    """Disarming stops what begins by itself, and only a look obeys it."""
    for number in range(starting.AT_ONCE_ON_A_TARGET * 2 + 1):
        scene.add(f"web-{number}")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    begun = len(scene.under_way())
    assert begun

    def fails(incident, given):
        raise KeyError("x")

    monkeypatch.setattr(rescuer, "account", fails)
    await scene.look()
    await scene.run_rescues()
    await scene.desk.disarm("", requested_by="ann")
    await scene.pass_(1.0)
    assert not scene.under_way()


async def test_a_late_host_counts_beside_a_lost_one(scene):
    scene.add("web-1")
    await scene.look()
    scene.fleet.put_late("host-2", "3 s left of 10")
    scene.cut("kvm-01")
    await scene.settle()
    assert "kvm-01 lost, kvm-02 late" in scene.fleet.guard.reason
    assert scene.record("web-1").owner.generation == 1


async def test_a_backend_that_reaches_no_agents_rescues_nothing(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    for host_id in ("host-2", "host-3"):
        scene.fleet.agent_lost(host_id, "no route", silent=True)
    await scene.settle()
    assert not scene.fleet.guard.armed
    assert "0 of 2 hosts" in scene.fleet.guard.reason
    for host in scene.hosts[1:]:
        scene.report(host)
    await scene.settle()
    assert scene.incident().state is IncidentState.HELD
    assert scene.record("web-1").owner.generation == 1
    await scene.desk.arm(requested_by="ann")
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_streams_that_break_for_a_moment_disarm_nothing(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(12.0 - CUT_OFF_S)
    for host_id in ("host-2", "host-3"):
        scene.fleet.agent_lost(host_id, "no route", silent=True)
    await scene.pass_(CUT_OFF_S - 0.1)
    assert scene.incident().dead_at_ms
    assert scene.record("web-1").owner.generation == 1
    for host in scene.hosts[1:]:
        scene.report(host)
    await scene.settle()
    assert scene.fleet.guard.armed
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_a_backend_that_is_cut_off_with_nothing_left_to_rescue_stays_armed(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.settle()
    for host_id in ("host-2", "host-3"):
        scene.fleet.agent_lost(host_id, "no route", silent=True)
    await scene.pass_(2 * CUT_OFF_S)
    assert scene.fleet.guard.armed


async def test_a_host_that_returns_before_keeps_its_servers(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(2.0)
    scene.put_life("kvm-01", epoch=4)
    scene.sync()
    await scene.look()
    incident = scene.incident()
    assert (incident.state, incident.open) == (IncidentState.ENDED, False)
    assert incident.ended_at_ms
    assert scene.line("web-1").state is RescueState.RETURNED
    assert scene.record("web-1").owner.generation == 1


async def test_a_rescue_under_way_goes_on_although_the_host_returns(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    assert scene.line("web-1").state in {RescueState.WAITING, RescueState.STARTING}
    assert scene.record("web-1").owner.generation == 2
    scene.put_life("kvm-01", epoch=4)
    scene.sync()
    await scene.look()
    await scene.run_rescues()
    await scene.look()
    assert not scene.incident().open
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_a_life_that_nobody_saw_begins_a_new_incident(scene):
    scene.add("web-1")
    scene.put_policy("kvm-01", down=False)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    first = scene.incident()
    assert first.dead_at_ms
    scene.put_life("kvm-01", epoch=4, fence=Fence.NONE)
    scene.cut("kvm-01")  # the key came and went between two looks
    await scene.settle()
    second = scene.incident()
    assert second.incident_id != first.incident_id
    assert (second.life.epoch, second.dead_at_ms) == (4, 0)


async def test_a_loss_that_was_written_and_not_told_yet_gets_no_second_incident(scene):
    scene.cut("kvm-01")
    await scene.look()
    written = scene.incident()
    scene.fleet.put_incident(written.incident_id, None)  # the watch is behind
    await scene.look()
    assert [one.incident_id for one in scene.fleet.incidents.values()] == [written.incident_id]
    scene.sync()
    assert len(scene.fleet.incidents) == 1


async def test_a_life_that_is_lost_twice_has_two_incidents(scene):
    for _ in range(2):
        scene.cut("kvm-01")
        await scene.look()
        scene.put_life("kvm-01")
        scene.sync()
        await scene.look()
    scene.sync()
    assert [one.life.epoch for one in scene.fleet.incidents.values()] == [3, 3]
    assert not any(one.open for one in scene.fleet.incidents.values())


async def test_a_host_that_was_removed_stops_no_rescue(scene, monkeypatch):
    scene.add("web-1")
    monkeypatch.setattr(starting, "AT_ONCE", 0)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    rescuing = scene.incident()
    assert rescuing.state is IncidentState.RESCUING
    monkeypatch.setattr(starting, "AT_ONCE", 8)
    scene.etcd.delete(keys.FACTS + "host-1")
    scene.sync()
    await scene.starting.start([rescuing])
    assert scene.migrations() == []
    await scene.look()
    ended = scene.incident()
    assert not ended.open
    assert "no facts of kvm-01" in ended.held_reason
    line = scene.line("web-1")
    assert (line.state, line.reason) == (RescueState.SKIPPED, ended.held_reason)


async def test_a_server_that_fits_nowhere_waits_and_is_tried_again(scene):
    scene.add("big-1", memory_bytes=15 * GIB + 1)
    scene.cut("kvm-01")
    await scene.settle()
    line = scene.line("big-1")
    assert line.state is RescueState.WAITING
    assert "kvm-02 has 15360 MiB free" in line.reason
    assert "kvm-03 has 15360 MiB free" in line.reason
    assert scene.incident().state is IncidentState.RESCUING
    scene.report(scene.hosts[2], used_bytes=GIB // 2)
    await scene.settle()
    assert scene.running("big-1") == ["kvm-03"]


async def test_memory_that_is_promised_is_not_given_twice(scene):
    for number in range(3):
        scene.add(f"big-{number}", memory_bytes=8 * GIB + 1)
    scene.cut("kvm-01")
    await scene.settle()
    states = [scene.line(f"big-{number}").state for number in range(3)]
    assert states.count(RescueState.RESCUED) == 2
    assert states.count(RescueState.WAITING) == 1


async def test_a_definition_is_parsed_once_and_dropped_with_its_rescue(scene, monkeypatch):
    parsed = []

    def read(server_name, xml):
        parsed.append(server_name)
        return read_definition(server_name, xml)

    monkeypatch.setattr(starting, "read_definition", read)
    scene.put_policy("kvm-01", down=False)
    tied = "<domain><devices><hostdev type='pci'/></devices></domain>"
    scene.add("gpu-1", definition=tied)
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.settle()
    assert sorted(parsed) == ["gpu-1", "web-1"]
    scene.put_policy("kvm-01", down=True)
    scene.sync()
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED
    assert scene.starting.definitions.keys() == {"id-gpu-1"}
    scene.put_life("kvm-01", epoch=4)
    scene.sync()
    await scene.look()
    assert not scene.starting.definitions


async def test_eight_are_started_at_once_and_four_on_one_host(scene):
    for number in range(12):
        scene.add(f"web-{number:02}")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    targets = [one.target_host_id for one in scene.migrations()]
    assert sorted(targets) == ["host-2"] * 4 + ["host-3"] * 4
    await scene.settle()
    assert len({one.server_id for one in scene.migrations()}) == 12
    assert scene.incident().state is IncidentState.RESCUED


@pytest.mark.parametrize("second_try", [False, True])
async def test_starts_that_wait_for_a_lost_host_keep_no_other_from_its_turn(
    scene, second_try, monkeypatch
):
    monkeypatch.setattr(starting, "AT_ONCE", 1)
    scene.add("a-1")
    scene.add("b-1")
    scene.report(scene.hosts[2], used_bytes=16 * GIB)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    (stuck,) = scene.migrations()
    assert (stuck.server_name, stuck.target_host_name) == ("a-1", "kvm-02")
    scene.put_life("kvm-02", fence=Fence.NONE)
    scene.cut("kvm-02")
    scene.report(scene.hosts[2])
    if second_try:
        # kvm-02 may have started it, and has to end that before kvm-03 may
        hosts = {"source_host_id": "host-2", "target_host_id": "host-3"}
        scene.fleet.put_migration(stuck.migration_id, msgspec.structs.replace(stuck, **hosts))
    await scene.look()
    await scene.desk.arm(requested_by="ann")
    await scene.pass_(12.0)
    assert stuck.migration_id in scene.under_way()
    assert scene.record("b-1").owner.host_id == "host-3"


@pytest.mark.parametrize(("cpu_count", "at_once"), [(2, 2), (64, starting.AT_ONCE_ON_A_TARGET)])
async def test_no_server_is_judged_while_every_host_starts_as_many_as_it_may(
    scene, monkeypatch, cpu_count, at_once
):
    judged = []

    async def judge(fleet, comparisons, record, source, **rest: Any):
        judged.append(record.name)
        return await starting_judged(fleet, comparisons, record, source, **rest)

    starting_judged = starting.judged
    monkeypatch.setattr(starting, "judged", judge)
    for number in range(6):
        scene.add(f"web-{number}")
    scene.cut("kvm-01")
    for host in scene.hosts:
        scene.fleet.put_facts(host.host_id, msgspec.structs.replace(host, cpu_count=cpu_count))
    scene.fleet.put_policy("host-3", HostPolicy(maintenance=True))
    await scene.pass_(12.0)
    await scene.look()
    assert judged == [f"web-{number}" for number in range(at_once)]


async def test_priority_comes_before_size_and_size_before_name(scene):
    scene.add("a-small", memory_bytes=GIB)
    scene.add("b-large", memory_bytes=2 * GIB)
    scene.add("c-high", memory_bytes=GIB)
    policy = ServerPolicy(rescue_priority=RescuePriority.HIGH)
    scene.fleet.put_server_policy("id-c-high", policy)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    began = sorted(
        scene.fleet.migrations.values(),
        key=lambda one: scene.fleet.written["/godwit/migrations/" + one.migration_id],
    )
    assert [one.server_name for one in began] == ["c-high", "b-large", "a-small"]
    assert scene.incident().servers[0].server_name == "c-high"


async def test_a_server_that_migrates_waits_for_the_end_of_that(scene):
    scene.add("web-1", phase=OwnerPhase.MIGRATING, migration_id="m1")
    scene.cut("kvm-01")
    await scene.settle()
    assert scene.line("web-1").state is RescueState.WAITING
    assert "m1" in scene.line("web-1").reason
    record = scene.record("web-1")
    owner = msgspec.structs.replace(record.owner, phase=OwnerPhase.SETTLED, migration_id="")
    scene.put_record(msgspec.structs.replace(record, owner=owner))
    await scene.settle()
    assert scene.line("web-1").state is RescueState.RESCUED


async def test_old_incidents_are_forgotten(scene, monkeypatch):
    monkeypatch.setattr(incidents, "KEPT", 2)
    for epoch in range(4, 8):
        scene.cut("kvm-01")
        await scene.look()
        scene.put_life("kvm-01", epoch=epoch)
        scene.sync()
        await scene.look()
    scene.cut("kvm-01")
    await scene.look()
    await scene.incidents.trim()
    left = [one.life.epoch for one in scene.fleet.incidents.values()]
    scene.sync()
    assert sorted(left) == [6, 7]
