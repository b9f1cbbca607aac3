"""Lines that wait on a host which died end by themselves, with what has become of the servers."""

import msgspec
import pytest

from tests.unit.backend.evacuations.test_evacuator import DEFINITION, a_move_of, dead
from wire import keys
from wire.evacuation import EvacuationChange, EvacuationState, MoveState, PlanEdit
from wire.fleet import PowerState
from wire.rescue import IncidentServer, IncidentState, RescueState

LEFT, FAILED, STAYED, WAITING = (
    MoveState.LEFT,
    MoveState.FAILED,
    MoveState.STAYED,
    MoveState.WAITING,
)


def accounted(scene, state: IncidentState, **servers: tuple[RescueState, str]) -> None:
    """The incident of kvm-01, with what became of each server."""
    known = scene.fleet.incidents["i1"]
    told = tuple(
        IncidentServer(server_id=f"id-{name}", server_name=name, state=state_, reason=reason)
        for name, (state_, reason) in servers.items()
    )
    scene.fleet.put_incident("i1", msgspec.structs.replace(known, state=state, servers=told))


def rescued(scene, name: str) -> None:
    """The automatic rescue starts a server on kvm-03."""
    record = scene.fleet.records[f"id-{name}"]
    moved = msgspec.structs.replace(
        a_move_of(record), migration_id=f"m-{name}", kind="rescue", requested_by=""
    )
    scene.fleet.put_migration(moved.migration_id, moved)
    there = msgspec.structs.replace(record.owner, host_id="host-3", generation=2)
    scene.put(msgspec.structs.replace(record, owner=there))


async def begun(scene, *names: str):
    for name in names:
        scene.add(name)
    evacuation = await scene.start()
    dead(scene)
    return evacuation


async def test_what_the_incident_rescues_has_left_and_what_it_skips_has_failed(scene):
    evacuation = await begun(scene, "a", "local")
    accounted(
        scene,
        IncidentState.RESCUING,
        a=(RescueState.WAITING, "its turn comes"),
        local=(RescueState.SKIPPED, "vda is on kvm-01 alone; it starts when kvm-01 is back"),
    )
    await scene.look()
    assert scene.states(evacuation) == {"a": WAITING, "local": WAITING}
    rescued(scene, "a")
    accounted(
        scene,
        IncidentState.RESCUED,
        a=(RescueState.RESCUED, ""),
        local=(RescueState.SKIPPED, "vda is on kvm-01 alone; it starts when kvm-01 is back"),
    )
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.target_host_name) == (LEFT, "kvm-03")
    assert line.reason == "a was rescued to kvm-03 (migration m-a)"
    line = scene.line(evacuation, "local")
    assert line.state is FAILED
    assert line.reason == (
        "kvm-01 died before it left, and incident i1 has not started it elsewhere: "
        "vda is on kvm-01 alone; it starts when kvm-01 is back"
    )
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_one_that_a_person_has_to_decide_about_waits(scene):
    evacuation = await begun(scene, "a")
    accounted(scene, IncidentState.HELD, a=(RescueState.WAITING, "nobody has asked for it"))
    await scene.look()
    assert scene.states(evacuation) == {"a": WAITING}


async def test_a_host_that_comes_back_is_emptied_on(scene):
    evacuation = await begun(scene, "a")
    life = scene.fleet.lives["host-1"]
    await scene.look()
    assert scene.states(evacuation) == {"a": WAITING}
    assert scene.under_way() == {}
    scene.fleet.put_health("host-1", msgspec.structs.replace(life, epoch=4))
    scene.fleet.put_incident("i1", None)
    await scene.look()
    assert set(scene.under_way()) == {"a"}


async def test_a_guest_that_is_gone_and_a_host_that_is_removed(scene):
    evacuation = await begun(scene, "a", "b")
    scene.etcd.delete(keys.SERVERS + "id-a")
    scene.fleet.put_record("id-a", None)
    scene.fleet.put_facts("host-1", None)
    await scene.look()
    told = {one.plan.server_name: one.reason for one in scene.known(evacuation).servers}
    assert told == {
        "a": "a was deleted meanwhile",
        "b": "kvm-01 was removed from the fleet before it left",
    }
    assert scene.states(evacuation) == {"a": LEFT, "b": FAILED}
    assert scene.known(evacuation).state is EvacuationState.ENDED


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (PowerState.RUNNING, "kvm-01 is back, and starts it itself"),
        (PowerState.SHUT_OFF, "kvm-01 is back, where it is stopped as it was before"),
    ],
)
async def test_what_was_to_be_rescued_is_its_own_hosts_again(scene, state, reason):
    scene.add("a", state=state)
    scene.etcd.put(keys.DEFINITIONS + "id-a", DEFINITION)
    life = scene.fleet.health["host-1"]
    dead(scene)
    evacuation = await scene.start()
    scene.fleet.put_health("host-1", msgspec.structs.replace(life, epoch=4))
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.reason) == (STAYED, reason)
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_one_whose_chosen_target_was_lost_asks_for_another_and_it_is_noted_once(scene):
    scene.add("a")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-03"),))
    scene.drop_host("kvm-03")
    told = (
        "an operator chose kvm-03, which is lost; choose another: "
        "godwit evacuation-change --move a=HOST kvm-01"
    )
    for _ in range(2):
        await scene.look()
        line = scene.line(evacuation, "a")
        assert (line.state, line.reason) == (WAITING, told)
        scene.evacuator.replanner._attempts.clear()
    texts = [note.text for note in scene.known(evacuation).notes[1:]]
    assert texts == [f"a waits: {told}"]
    edit = EvacuationChange(edits=(PlanEdit(server="a", target="kvm-02"),))
    await scene.steering.change(evacuation.evacuation_id, edit, requested_by="bob")
    await scene.look()
    assert scene.under_way()["a"].options.prefer_host == scene.host_id("kvm-02")


async def test_one_whose_chosen_target_is_taken_out_of_service_says_so(scene, set_maintenance):
    scene.add("a")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-03"),))
    set_maintenance("kvm-03")
    await scene.look()
    assert scene.line(evacuation, "a").reason.startswith(
        "an operator chose kvm-03, and kvm-03 is in maintenance; choose another: "
    )
