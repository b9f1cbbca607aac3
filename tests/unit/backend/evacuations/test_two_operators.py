"""Two operators, or three, who act on the same at one moment: nothing is done twice."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    EvacuationState,
    MoveState,
    PlanEdit,
)
from wire.migration import MigrationOptions, MigrationState


async def at_once(*acts: Awaitable[Any]) -> tuple[list[Any], list[str]]:
    """Do all at one moment: what came of those that were done, and how the others were refused."""
    came = await asyncio.gather(*acts, return_exceptions=True)
    done = [one for one in came if not isinstance(one, BaseException)]
    refusals = [one for one in came if isinstance(one, BaseException)]
    for one in refusals:
        assert isinstance(one, GodwitError), repr(one)
        assert one.code is ErrorCode.CONFLICT
        assert "\n" not in one.message
    return done, [str(one.message) for one in refusals]


async def moving(scene, *names: str) -> Evacuation:
    for name in names or ("a",):
        scene.add(name)
    evacuation = await scene.start()
    await scene.look()
    return evacuation


async def test_a_server_is_cancelled_once(scene):
    evacuation = await moving(scene)
    id_ = evacuation.evacuation_id
    done, refusals = await at_once(
        *(scene.steering.cancel(id_, ("a",), requested_by=by) for by in ("alice", "bob"))
    )
    by = scene.under_way()["a"].cancel_requested_by
    assert len(done) == 1
    assert refusals == [f"a is being cancelled already, as {by} asked for"]
    told = [note for note in scene.known(evacuation).notes if "cancelled for a" in note.text]
    assert [note.by for note in told] == [by]


async def test_what_failed_is_tried_again_once(scene):
    evacuation = await moving(scene)
    for _ in range(2):
        await scene.end("a", MigrationState.FAILED, error="no disk there")
        await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED
    id_, before = evacuation.evacuation_id, len(scene.fleet.migrations)
    done, refusals = await at_once(
        scene.steering.retry(id_, ("a",), requested_by="alice"),
        scene.steering.retry(id_, (), requested_by="bob"),
        scene.look(),
    )
    assert len(done) == 2  # the look is one of them
    assert len(refusals) == 1
    assert "failed" in refusals[0]
    await scene.look()
    assert len(scene.fleet.migrations) == before + 1


async def test_whoever_edits_a_server_last_is_heard_and_both_are_noted(scene):
    scene.add("a")
    evacuation = await scene.start()
    wanted = {
        by: EvacuationChange(edits=(PlanEdit(server="a", target=target),))
        for by, target in (("alice", "kvm-02"), ("bob", "kvm-03"))
    }
    done, refusals = await at_once(
        *(
            scene.steering.change(evacuation.evacuation_id, one, requested_by=by)
            for by, one in wanted.items()
        )
    )
    assert (len(done), refusals) == (2, [])
    notes = [note for note in scene.known(evacuation).notes if note.text.startswith("a: target ")]
    heard = {"alice": "kvm-02", "bob": "kvm-03"}[notes[-1].by]
    assert {(note.by, note.text) for note in notes} == {
        ("alice", "a: target kvm-02"),
        ("bob", "a: target kvm-03"),
    }
    assert scene.line(evacuation, "a").plan.target_host_name == heard
    await scene.look()
    assert [one.options.prefer_host for one in scene.fleet.migrations.values()] == [
        scene.host_id(heard)
    ]


async def test_whoever_edits_what_has_just_begun_is_told(scene):
    scene.add("a")
    evacuation = await scene.start()
    edit = EvacuationChange(edits=(PlanEdit(server="a", target="kvm-03"),))
    _, refusals = await at_once(
        scene.look(),
        scene.steering.change(evacuation.evacuation_id, edit, requested_by="bob"),
    )
    assert refusals == ["a is moving: its plan cannot be changed any more"]
    assert len(scene.fleet.migrations) == 1


async def test_nothing_begins_once_it_is_cancelled_whatever_else_is_asked_for(scene):
    evacuation = await moving(scene, "a", "b", "c")
    id_, begun = evacuation.evacuation_id, set(scene.under_way())
    steering = scene.steering
    done, refusals = await at_once(
        steering.cancel(id_, (), requested_by="alice"),
        steering.resume(id_, requested_by="bob"),
        steering.pause(id_, requested_by="bob"),
        steering.replan(id_, requested_by="carol"),
        steering.retry(id_, (), requested_by="carol"),
        steering.change(id_, EvacuationChange(empty_by_ms=1 << 42), requested_by="dave"),
        steering.cancel(id_, (), requested_by="erin"),
        scene.look(),
    )
    assert len(done) == 3  # twice cancelled, which is one and the same, and the look
    assert len(refusals) == 5
    assert all("cancel" in one for one in refusals)
    assert set(scene.under_way()) == begun
    states = scene.states(evacuation)
    assert {states[name] for name in states if name not in begun} <= {MoveState.CANCELLED}
    told = [note for note in scene.known(evacuation).notes if note.text == "cancelled"]
    assert [note.by for note in told] == ["alice"]


async def test_a_move_by_hand_and_the_evacuation_do_not_both_take_a_server(scene):
    scene.add("a")
    await scene.start()
    _, refusals = await at_once(
        scene.look(),
        scene.migrations.migrate(
            "live", "a", MigrationOptions(), requested_by="carol", evacuation_id=""
        ),
    )
    assert len(scene.under_way()) == 1
    assert len(scene.fleet.migrations) == 1
    by = scene.under_way()["a"].requested_by
    assert refusals == [] or by in {"alice", "carol"}


@pytest.mark.parametrize("first", ["maintenance", "start"])
async def test_maintenance_is_not_ended_under_an_evacuation_that_begins(scene, first):
    scene.add("a")
    acts = [
        scene.desk.set_maintenance("kvm-01", on=False, requested_by="bob"),
        scene.start(by="alice"),
    ]
    await at_once(*(acts if first == "maintenance" else reversed(acts)))
    assert len(scene.fleet.evacuations) == 1
    assert scene.fleet.policies["host-1"].maintenance


async def test_two_hosts_that_are_emptied_at_once_end_on_neither(scene):
    scene.add("a")
    scene.add("b", "kvm-02")
    done, refusals = await at_once(
        scene.start("kvm-01", by="alice"), scene.start("kvm-02", by="bob")
    )
    assert (len(done), refusals) == (2, [])
    for _ in range(4):
        scene.evacuator.replanner._attempts.clear()
        await scene.look()
        for name in tuple(scene.under_way()):
            await scene.end(name)
    await scene.look()
    owners = {name: scene.fleet.records[f"id-{name}"].owner.host_id for name in ("a", "b")}
    assert owners == {"a": "host-3", "b": "host-3"}
    assert {scene.known(one).state for one in done} == {EvacuationState.ENDED}
