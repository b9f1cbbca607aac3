"""Servers that left and are on their host again by another road than a return."""

import msgspec
import pytest

from tests.unit.backend.evacuations.conftest import refused
from wire.evacuation import EvacuationState, MoveState, ReturnRequest
from wire.fleet import ServerRecord
from wire.migration import Migration, MigrationState

LEFT, MOVING, WAITING = MoveState.LEFT, MoveState.MOVING, MoveState.WAITING


def by_hand(scene, name: str, host: str, *, journaled: bool = True) -> ServerRecord:
    """Carol moves a server; or nobody knows who, since virsh did."""
    record = scene.fleet.records[f"id-{name}"]
    if journaled:
        moved = Migration(
            migration_id=f"m-{record.owner.generation}",
            server_id=record.server_id,
            server_name=name,
            source_host_id=record.owner.host_id,
            source_host_name="?",
            target_host_id=scene.host_id(host),
            target_host_name=host,
            state=MigrationState.SUCCEEDED,
            requested_by="carol",
            finished_at_ms=1 << 50,
        )
        scene.fleet.put_migration(moved.migration_id, moved)
    owner = msgspec.structs.replace(
        record.owner, host_id=scene.host_id(host), generation=record.owner.generation + 1
    )
    record = msgspec.structs.replace(record, owner=owner)
    scene.put(record)
    scene.carry(name, host)
    return record


async def left(scene, *names: str):
    """An evacuation by which servers have left kvm-01; ``stays-open`` keeps it open."""
    for name in names:
        scene.add(name)
    evacuation = await scene.start()
    for _ in names:
        await scene.look()
        for name in tuple(scene.under_way()):
            if name in names:
                await scene.end(name)
    await scene.look()
    return evacuation


async def test_what_comes_back_while_the_host_is_emptied_leaves_again(scene):
    scene.add("z-open")
    evacuation = await left(scene, "a")
    assert scene.states(evacuation) == {"a": LEFT, "z-open": MOVING}
    by_hand(scene, "a", "kvm-01")
    async with scene.evacuator.lock:
        seen = await scene.evacuator.note_moves(evacuation.evacuation_id)
    line = next(one for one in seen.servers if one.plan.server_name == "a")
    assert (line.state, line.plan.target_host_id) == (WAITING, "")
    assert line.reason == "carol moved a back to kvm-01 (migration m-2)"
    assert line.reason in [note.text for note in seen.notes]
    await scene.look()
    await scene.end("z-open")
    await scene.look()
    assert scene.states(evacuation)["a"] is MOVING
    await scene.end("a")
    await scene.look()
    assert scene.states(evacuation) == {"a": LEFT, "z-open": LEFT}
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_a_record_of_before_the_move_is_no_sign_of_coming_back(scene):
    scene.add("z-open")
    scene.add("a")
    before = scene.fleet.records["id-a"]
    evacuation = await left(scene, "b")
    for name in tuple(scene.under_way()):
        if name == "a":
            await scene.end("a")
    await scene.look()
    assert scene.states(evacuation)["a"] is LEFT
    scene.fleet.put_record("id-a", before)
    await scene.look()
    assert scene.states(evacuation)["a"] is LEFT


@pytest.mark.parametrize("journaled", [True, False])
async def test_what_came_back_after_the_end_is_told_and_not_offered_for_a_return(scene, journaled):
    evacuation = await left(scene, "a", "b")
    assert scene.known(evacuation).state is EvacuationState.ENDED
    await scene.desk.set_maintenance("kvm-01", on=False, requested_by="alice")
    by_hand(scene, "a", "kvm-01", journaled=journaled)
    await scene.look()
    line = scene.line(evacuation, "a")
    how = "carol moved a back to kvm-01 (migration m-2)" if journaled else "a is on kvm-01 again"
    assert (line.state, line.returned, line.reason) == (LEFT, True, how)
    assert scene.line(evacuation, "b").reason == ""
    # somebody moves it away again: that was no evacuation, so that a return leaves it there
    by_hand(scene, "a", "kvm-02")
    await scene.look()
    offered = await scene.desk.plan_return("kvm-01", ReturnRequest(), asked_by="alice")
    assert [one.server_name for one in offered.moves] == ["b"]
    assert scene.line(evacuation, "a").reason == how


async def test_what_came_back_can_be_tried_again(scene):
    evacuation = await left(scene, "a", "b")
    sentence = await refused(
        scene.steering.retry(evacuation.evacuation_id, ["a"], requested_by="alice")
    )
    assert "a is left" in sentence
    by_hand(scene, "a", "kvm-01")
    await scene.look()
    told = await scene.steering.retry(evacuation.evacuation_id, ["a"], requested_by="alice")
    assert told.state is EvacuationState.RUNNING
    assert not scene.line(evacuation, "a").returned
    await scene.look()
    await scene.end("a")
    await scene.look()
    assert scene.states(evacuation) == {"a": LEFT, "b": LEFT}
