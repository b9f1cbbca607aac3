"""What people do to evacuations: start, pause, cancel, try again, change; and every refusal."""

import asyncio
from typing import Any

import msgspec
import pytest

from backend.audit.entries import Audit
from backend.evacuations.running import evacuator, replanner
from backend.leader_writes import LeaderWrites
from backend.moments import now_ms
from tests.unit.backend.evacuations.conftest import refused
from wire import keys
from wire.audit import AuditEntry
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    EvacuationState,
    MoveOptions,
    MoveState,
    PlanEdit,
    PlanRequest,
    Way,
)
from wire.migration import MigrationState
from wire.role import Role

MIB = 1 << 20
WAITING, MOVING, LEFT = MoveState.WAITING, MoveState.MOVING, MoveState.LEFT
FAILED, STAYED, CANCELLED = MoveState.FAILED, MoveState.STAYED, MoveState.CANCELLED
RUNNING, PAUSED, ENDED = EvacuationState.RUNNING, EvacuationState.PAUSED, EvacuationState.ENDED


async def change(scene, evacuation: Evacuation, **changes: object) -> Evacuation:
    wanted = EvacuationChange(**changes)  # type: ignore[arg-type]  # by field name
    return await scene.steering.change(evacuation.evacuation_id, wanted, requested_by="bob")


def nothing_begun(scene) -> bool:
    listed = [scene.etcd.list(prefix).items for prefix in (keys.EVACUATIONS, keys.POLICIES)]
    return listed == [(), ()]


async def test_of_two_operators_at_once_one_wins_and_the_other_is_told_who(scene):
    scene.add("a")
    starts = [scene.start(by=by) for by in ("alice", "bob")]
    done = await asyncio.gather(*starts, return_exceptions=True)
    (won,) = [one for one in done if isinstance(one, Evacuation)]
    (lost,) = [one for one in done if isinstance(one, GodwitError)]
    assert lost.code is ErrorCode.CONFLICT
    assert f"by {won.requested_by} (evacuation {won.evacuation_id})" in lost.message
    assert len(scene.etcd.list(keys.EVACUATIONS).items) == 1


async def test_a_start_of_several_hosts_is_refused_as_a_whole(scene):
    scene.add("a")
    scene.add("b", "kvm-02")
    first = await scene.start("kvm-02")
    said = await refused(scene.start("kvm-01", "kvm-02"))
    assert f"(evacuation {first.evacuation_id})" in said
    assert "host-1" not in scene.fleet.policies
    assert len(scene.fleet.evacuations) == 1


async def test_a_start_of_several_hosts_is_one_write(scene, monkeypatch):
    scene.add("a")
    scene.add("b", "kvm-02")
    real, calls = scene.etcd.transact, []

    def flaky(**writes: Any):
        calls.append(writes)
        if len(calls) > 1:
            raise EtcdUnreachable("etcd", "it has gone")
        return real(**writes)

    monkeypatch.setattr(scene.etcd, "transact", flaky)
    await scene.start("kvm-01", "kvm-02")
    assert len(scene.etcd.list(keys.EVACUATIONS).items) == 2
    assert len(scene.etcd.list(keys.POLICIES).items) == 2
    assert all(scene.fleet.policies[host].maintenance for host in ("host-1", "host-2"))


async def test_a_start_whose_answer_was_lost_is_found(scene, monkeypatch):
    scene.add("a")
    real = scene.etcd.transact

    def mute(**writes: Any):
        real(**writes)
        raise EtcdUnreachable("etcd", "the answer was lost")

    monkeypatch.setattr(scene.etcd, "transact", mute)
    evacuation = await scene.start()
    assert scene.fleet.evacuations[evacuation.evacuation_id] == scene.known(evacuation)


async def test_hosts_that_are_emptied_together_are_no_targets_of_one_another(scene):
    scene.add("a")
    scene.add("b", "kvm-02")
    request = PlanRequest(hosts=("kvm-01", "kvm-02"), confirmed=("kvm-02", "kvm-01"))
    begun = await scene.desk.start(request, requested_by="alice")
    targets = {one.plan.target_host_name for each in begun for one in each.servers}
    assert targets == {"kvm-03"}
    assert all(scene.fleet.policies[host].maintenance for host in ("host-1", "host-2"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (PlanRequest(hosts=()), "hosts is empty"),
        (
            PlanRequest(hosts=tuple(f"kvm-{number}" for number in range(61))),
            "61 hosts were named, and at most 60 are planned together",
        ),
        (PlanRequest(hosts=("kvm-01",)), "nothing was typed to confirm"),
        (
            PlanRequest(hosts=("kvm-01",), confirmed=("kvm-02",)),
            "'kvm-02' was typed to confirm, and what would be emptied is called 'kvm-01'",
        ),
        (
            PlanRequest(hosts=("kvm-01", "kvm-02"), confirmed=("kvm-01",)),
            "is called 'kvm-01', 'kvm-02'",
        ),
        (
            PlanRequest(
                hosts=("kvm-01",), confirmed=("kvm-01",), max_bandwidth_bytes_per_s=MIB - 1
            ),
            "must be at least 1048576 (1 MiB/s)",
        ),
        (PlanRequest(hosts=("kvm-01",), confirmed=("kvm-01",), empty_by_ms=-1), "is -1, and must"),
        (
            PlanRequest(hosts=("kvm-01",), confirmed=("kvm-01",), empty_by_ms=10**18),
            "must be Unix time in ms",
        ),
        (
            PlanRequest(
                hosts=("kvm-01",), confirmed=("kvm-01",), options=MoveOptions(downtime_limit_ms=0)
            ),
            "downtime_limit_ms is 0",
        ),
    ],
)
async def test_a_start_that_cannot_be_meant_changes_nothing(scene, request_, words):
    scene.add("a")
    asking = scene.desk.start(request_, requested_by="alice")
    assert words in await refused(asking, ErrorCode.BAD_REQUEST)
    assert nothing_begun(scene)


async def test_no_plan_is_made_for_more_hosts_than_are_emptied_together(scene):
    hosts = tuple(f"kvm-{number:02}" for number in range(1, 62))
    many = scene.desk.plan(PlanRequest(hosts=hosts), asked_by="reader")
    assert "at most 60" in await refused(many, ErrorCode.BAD_REQUEST)
    fewer = scene.desk.plan(PlanRequest(hosts=hosts[:60]), asked_by="reader")
    assert await refused(fewer, ErrorCode.NOT_FOUND) == "no host is called 'kvm-04'"


async def test_a_host_that_nobody_knows_is_named(scene):
    said = await refused(scene.start("kvm-77"), ErrorCode.NOT_FOUND)
    assert said == "no host is called 'kvm-77'"


async def test_paused_nothing_begins_and_what_moves_goes_on(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    id_ = evacuation.evacuation_id
    paused = await scene.steering.pause(id_, requested_by="bob")
    assert paused.state is PAUSED
    (moving,) = scene.under_way()
    await scene.end(moving)
    await scene.look()
    assert scene.under_way() == {}
    assert sorted(scene.states(evacuation).values()) == [LEFT, WAITING]
    resumed = await scene.steering.resume(id_, requested_by="bob")
    assert resumed.state is RUNNING
    await scene.look()
    assert len(scene.under_way()) == 1
    texts = [(note.text, note.by) for note in scene.known(evacuation).notes]
    assert texts[1:] == [("paused", "bob"), ("resumed", "bob")]


async def test_all_is_cancelled(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    ((moving, _),) = scene.under_way().items()
    await scene.steering.cancel(evacuation.evacuation_id, (), requested_by="bob")
    await scene.look()
    assert scene.under_way()[moving].cancel_requested_by == "bob"
    assert sorted(scene.states(evacuation).values()) == [CANCELLED, MOVING]
    assert scene.known(evacuation).state is EvacuationState.CANCELLING
    await scene.end(moving, MigrationState.CANCELLED)
    await scene.look()
    assert set(scene.states(evacuation).values()) == {CANCELLED}
    assert scene.known(evacuation).state is ENDED
    assert scene.fleet.policies["host-1"].maintenance


async def test_what_is_too_far_to_be_cancelled_goes_on_to_its_end(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    migration = scene.under_way()["a"]
    await scene.journal.advance(
        migration.migration_id,
        lambda known: msgspec.structs.replace(known, state=MigrationState.SWITCHING_OVER),
    )
    await scene.steering.cancel(evacuation.evacuation_id, (), requested_by="bob")
    await scene.look()
    await scene.end("a")
    await scene.look()
    assert scene.states(evacuation) == {"a": LEFT}
    assert scene.known(evacuation).state is ENDED


async def test_one_is_cancelled_and_the_others_go_on(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    (moving,) = scene.under_way()
    (waiting,) = {"a", "b"} - {moving}
    id_ = evacuation.evacuation_id
    told = await scene.steering.cancel(id_, (waiting,), requested_by="bob")
    line = next(one for one in told.servers if one.plan.server_name == waiting)
    assert (line.state, line.reason) == (CANCELLED, "cancelled by bob before it began")
    said = await refused(scene.steering.cancel(id_, (waiting,), requested_by="bob"))
    assert said == f"{waiting} has been cancelled already"
    await scene.steering.cancel(id_, (moving,), requested_by="bob")
    assert scene.under_way()[moving].cancel_requested_by == "bob"
    missing = scene.steering.cancel(id_, ("web-9",), requested_by="bob")
    assert "has no server 'web-9'" in await refused(missing, ErrorCode.NOT_FOUND)


async def ended(scene, evacuation: Evacuation) -> None:
    """Have every move of an evacuation end well."""
    for _ in range(9):
        await scene.look()
        for name in scene.under_way():
            await scene.end(name)
    assert scene.known(evacuation).state is ENDED


async def test_what_failed_is_tried_again_and_an_ended_evacuation_runs_again(scene):
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-02"),))
    await scene.look()
    if "a" not in scene.under_way():
        await scene.end("b")
        await scene.look()
    await scene.end("a", MigrationState.FAILED, error="no disk there")
    await ended(scene, evacuation)
    assert scene.states(evacuation)["a"] is FAILED
    again = await scene.steering.retry(evacuation.evacuation_id, (), requested_by="bob")
    assert (again.state, scene.states(evacuation)["a"]) == (RUNNING, WAITING)
    await ended(scene, evacuation)
    line = scene.line(evacuation, "a")
    assert (line.state, line.tries) == (LEFT, 1), "a person's retry counts anew"


@pytest.mark.parametrize("act", ["pause", "resume", "replan"])
async def test_what_has_ended_is_steered_no_more(scene, act):
    evacuation = await scene.start()
    await scene.look()
    asking = getattr(scene.steering, act)(evacuation.evacuation_id, requested_by="bob")
    assert "the evacuation of kvm-01 has ended at " in await refused(asking)
    assert "has ended" in await refused(change(scene, evacuation, empty_by_ms=0))
    cancel = scene.steering.cancel(evacuation.evacuation_id, (), requested_by="bob")
    assert "cannot be cancelled any more" in await refused(cancel)


async def test_nothing_to_try_again_is_refused_and_so_is_a_host_that_takes_servers_again(scene):
    scene.add("tied", passthrough=("PCI device 0000:3b:00.0",))
    scene.add("a")
    evacuation = await scene.start()
    await ended(scene, evacuation)
    id_ = evacuation.evacuation_id
    none = scene.steering.retry(id_, (), requested_by="bob")
    assert await refused(none) == "no move of the evacuation of kvm-01 has failed"
    before = scene.known(evacuation)
    again = scene.steering.retry(id_, ("tied",), requested_by="bob")
    said = await refused(again, ErrorCode.BAD_REQUEST)
    assert said.startswith("tied stays all the same: ")
    assert "PCI device 0000:3b:00.0" in said
    assert scene.known(evacuation) == before
    await scene.desk.set_maintenance("kvm-01", on=False, requested_by="bob")
    said = await refused(scene.steering.retry(id_, ("tied",), requested_by="bob"))
    assert said == ("kvm-01 takes servers again; godwit host-evacuate kvm-01 empties it anew")


async def test_a_host_that_is_being_emptied_does_not_leave_maintenance(scene):
    scene.add("a")
    evacuation = await scene.start()
    said = await refused(scene.desk.set_maintenance("kvm-01", on=False, requested_by="bob"))
    assert f"godwit evacuation-cancel {evacuation.evacuation_id} ends that" in said
    await ended(scene, evacuation)
    await scene.desk.set_maintenance("kvm-01", on=False, requested_by="bob")
    assert not scene.fleet.policies["host-1"].maintenance


async def test_the_plan_of_a_waiting_server_is_edited_and_of_a_moving_one_not(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    (moving,) = scene.under_way()
    (waiting,) = {"a", "b"} - {moving}
    told = await change(
        scene, evacuation, edits=(PlanEdit(server=waiting, target="kvm-03", first=True),)
    )
    line = next(one for one in told.servers if one.plan.server_name == waiting)
    assert (line.plan.target_host_name, line.plan.pinned) == ("kvm-03", True)
    said = await refused(change(scene, evacuation, edits=(PlanEdit(server=moving, first=True),)))
    assert said == f"{moving} is moving: its plan cannot be changed any more"
    told = await change(scene, evacuation, edits=(PlanEdit(server=waiting, way=Way.STAYS),))
    assert scene.states(told)[waiting] is STAYED
    nobody = change(scene, evacuation, edits=(PlanEdit(server="web-9", first=True),))
    assert "'web-9'" in await refused(nobody, ErrorCode.NOT_FOUND)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (PlanEdit(server="a", target="kvm-03"), "a cannot go to kvm-03: kvm-03 is in maintenance"),
        (PlanEdit(server="tied", way=Way.LIVE), "tied stays all the same: "),
        (PlanEdit(server="tied", first=True), "tied stays all the same: "),
        (
            PlanEdit(server="tied", options=MoveOptions(skip_cpu_check=True)),
            "tied stays all the same: ",
        ),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused_and_nothing_changes(
    scene, set_maintenance, edit, words
):
    scene.add("a")
    scene.add("tied", passthrough=("PCI device 0000:3b:00.0",))
    evacuation = await scene.start()
    set_maintenance("kvm-03")
    other = PlanEdit(server="a", options=MoveOptions(quickly_finish=True))
    edits = (edit,) if edit.server == "a" else (other, edit)
    said = await refused(change(scene, evacuation, edits=edits), ErrorCode.BAD_REQUEST)
    assert said.startswith(words)
    assert said.endswith("; nothing was changed")
    assert scene.known(evacuation) == evacuation


async def test_a_wish_is_taken_back_although_nothing_fits(scene, set_maintenance):
    scene.add("a")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-03", first=True),))
    for host in ("kvm-02", "kvm-03"):
        set_maintenance(host)
    back = PlanEdit(server="a", target="", first=False, options=MoveOptions())
    told = await change(scene, evacuation, edits=(back,))
    (line,) = told.servers
    assert (line.state, line.plan.pinned, line.plan.first) == (STAYED, False, False)


async def test_each_change_of_a_server_is_noted_with_its_name_and_what_changed(scene):
    scene.add("a")
    evacuation = await scene.start()
    edits = (
        PlanEdit(server="id-a", target="kvm-03", options=MoveOptions(quickly_finish=True)),
        PlanEdit(server="id-a", first=True, options=MoveOptions(downtime_limit_ms=900)),
        PlanEdit(server="a", target="", options=MoveOptions(enable_tls=False)),
        PlanEdit(server="a", way=Way.STAYS),
    )
    for edit in edits:
        await change(scene, evacuation, edits=(edit,))
    notes = scene.known(evacuation).notes[1:]
    assert {one.by for one in notes} == {"bob"}
    assert [one.text for one in notes] == [
        "a: target kvm-03, quickly finish",
        "a: first, downtime limit 900 ms",
        "a: any target, no TLS",
        "a: stays",
    ]


async def test_one_that_stays_is_made_to_go(scene):
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start(edits=(PlanEdit(server="a", way=Way.STAYS),))
    assert scene.states(evacuation)["a"] is STAYED
    told = await change(scene, evacuation, edits=(PlanEdit(server="a", way=Way.LIVE),))
    assert scene.states(told)["a"] is WAITING


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing to change"),
        (
            {"max_bandwidth_bytes_per_s": MIB, "no_bandwidth_limit": True},
            "no_bandwidth_limit takes the cap away, and max_bandwidth_bytes_per_s is 1048576",
        ),
        ({"max_bandwidth_bytes_per_s": 5}, "max_bandwidth_bytes_per_s is 5"),
        ({"empty_by_ms": 7}, "empty_by_ms is 7 (1970-01-01 00:00 UTC), and that is over"),
    ],
)
async def test_a_change_that_cannot_be_meant_is_refused(scene, changes, words):
    scene.add("a")
    evacuation = await scene.start()
    assert words in await refused(change(scene, evacuation, **changes), ErrorCode.BAD_REQUEST)
    assert scene.known(evacuation) == evacuation


async def test_the_deadline_is_changed_and_taken_away(scene):
    scene.add("a")
    evacuation = await scene.start()
    by_ms = now_ms() + 3_600_000
    assert (await change(scene, evacuation, empty_by_ms=by_ms)).empty_by_ms == by_ms
    told = await change(scene, evacuation, empty_by_ms=0)
    assert (told.empty_by_ms, told.notes[-1].text) == (0, "deadline taken away")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.01)


async def test_a_cap_is_shared_by_what_moves_and_told_to_it(scene):
    scene.add("a")
    evacuation = await scene.start(max_bandwidth_bytes_per_s=8 * MIB)
    await scene.look()
    assert scene.under_way()["a"].max_bandwidth_bytes_per_s == 8 * MIB
    await change(scene, evacuation, max_bandwidth_bytes_per_s=4 * MIB)
    await scene.look()
    await settle()
    assert scene.under_way()["a"].max_bandwidth_bytes_per_s == 4 * MIB
    await change(scene, evacuation, no_bandwidth_limit=True)
    await settle()
    assert scene.under_way()["a"].max_bandwidth_bytes_per_s is None


async def test_a_cap_that_comes_with_an_edit_is_planned_with(scene):
    scene.show_links()
    scene.add("a")
    evacuation = await scene.start()
    before = scene.line(evacuation, "a").plan.forecast
    told = await change(
        scene,
        evacuation,
        max_bandwidth_bytes_per_s=2 * MIB,
        edits=(PlanEdit(server="a", first=True),),
    )
    (line,) = told.servers
    assert line.plan.forecast.bandwidth_bytes_per_s == 2 * MIB < before.bandwidth_bytes_per_s
    assert told.notes[-1].text == "bandwidth cap 2 MiB/s; a: first"
    told = await change(
        scene, evacuation, no_bandwidth_limit=True, edits=(PlanEdit(server="a", first=False),)
    )
    assert told.servers[0].plan.forecast == before


async def test_a_new_plan_is_asked_for(scene, monkeypatch, set_maintenance):
    monkeypatch.setattr(replanner, "_AGAIN_S", 1_000.0)
    scene.add("a")
    scene.add("tied", passthrough=("PCI device 0000:3b:00.0",))
    evacuation = await scene.start()
    id_ = evacuation.evacuation_id
    await scene.steering.pause(id_, requested_by="bob")
    target = scene.line(evacuation, "a").plan.target_host_name
    set_maintenance(target)
    report = scene.fleet.reports["host-1"]["id-tied"]
    scene.fleet.put_report("host-1", msgspec.structs.replace(report, passthrough=()))
    told = await scene.steering.replan(id_, requested_by="bob")
    planned = {one.plan.server_name: one for one in told.servers}
    assert planned["a"].plan.target_host_name not in {target, ""}
    assert planned["tied"].state is WAITING
    assert (told.notes[-1].text, told.notes[-1].by) == ("planned anew", "bob")


@pytest.mark.parametrize("act", ["pause", "resume", "replan", "cancel", "retry", "change", "start"])
async def test_a_backend_that_does_not_lead_refuses(scene, act):
    scene.add("a")
    evacuation = await scene.start()
    scene.leadership.leading = False
    calls = {
        "cancel": lambda: scene.steering.cancel(evacuation.evacuation_id, (), requested_by="b"),
        "retry": lambda: scene.steering.retry(evacuation.evacuation_id, (), requested_by="b"),
        "change": lambda: change(scene, evacuation, empty_by_ms=0),
        "start": lambda: scene.start("kvm-02"),
    }
    plain = getattr(scene.steering, act, None)
    asking = calls[act]() if act in calls else plain(evacuation.evacuation_id, requested_by="b")
    assert "does not lead" in await refused(asking, ErrorCode.NOT_LEADING)
    scene.leadership.leading = True
    assert scene.known(evacuation) == evacuation


async def test_an_act_does_not_wait_for_ever_for_the_runner(scene, monkeypatch):
    monkeypatch.setattr(evacuator, "_TURN_S", 0.01)
    scene.add("a")
    evacuation = await scene.start()
    asking = scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
    async with scene.evacuator.lock:
        assert "ask again" in await refused(asking)
        scene.fleet.put_etcd_error(keys.SERVERS, "etcd does not answer")
        again = scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
        assert "etcd does not answer" in await refused(again, ErrorCode.ETCD_UNREACHABLE)
    scene.fleet.put_etcd_error(keys.SERVERS, "")
    assert (
        await scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
    ).state is PAUSED


async def test_one_that_stayed_by_a_wish_is_moved_when_it_is_tried_again(scene):
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start(edits=(PlanEdit(server="a", way=Way.STAYS),))
    told = await scene.steering.retry(evacuation.evacuation_id, ("a",), requested_by="bob")
    assert scene.states(told)["a"] is WAITING
    assert scene.line(evacuation, "a").plan.way is Way.LIVE


async def test_one_that_was_begun_and_not_noted_is_cancelled_under_way(scene):
    scene.add("a")
    evacuation = await scene.start()
    before = scene.known(evacuation)
    await scene.look()
    scene.etcd.put(keys.EVACUATIONS + before.evacuation_id, msgspec.json.encode(before))
    scene.fleet.put_evacuation(before.evacuation_id, before)
    await scene.steering.cancel(evacuation.evacuation_id, ("a",), requested_by="bob")
    assert scene.under_way()["a"].cancel_requested_by == "bob"
    assert scene.states(evacuation) == {"a": MOVING}


async def test_what_was_cancelled_is_noted_though_another_one_is_too_far(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    ((moving, migration),) = scene.under_way().items()
    (waiting,) = {"a", "b"} - {moving}
    await scene.journal.advance(
        migration.migration_id,
        lambda known: msgspec.structs.replace(known, state=MigrationState.SWITCHING_OVER),
    )
    both = scene.steering.cancel(evacuation.evacuation_id, (moving, waiting), requested_by="bob")
    assert "too late" in await refused(both)
    known = scene.known(evacuation)
    assert scene.states(known) == {moving: MOVING, waiting: CANCELLED}
    assert known.notes[-1].text == f"cancelled for {waiting}"


async def test_what_is_being_cancelled_is_not_planned_anew(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.steering.cancel(evacuation.evacuation_id, (), requested_by="bob")
    anew = scene.steering.replan(evacuation.evacuation_id, requested_by="bob")
    assert "is cancelling" in await refused(anew)
    assert "is cancelling" in await refused(change(scene, evacuation, empty_by_ms=0))


async def test_a_cancel_that_is_refused_is_not_entered_though_moves_are_noted_on_the_way(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.end("a")
    audit = Audit(LeaderWrites(scene.etcd, scene.leadership), scene.fleet)
    entry = AuditEntry(entry_id="a1", at_ms=1, user="bob", role=Role.OPERATOR, verb="cancel")
    with pytest.raises(GodwitError), audit.entered(entry):
        await scene.steering.cancel(evacuation.evacuation_id, ("a",), requested_by="bob")
    assert scene.states(evacuation) == {"a": LEFT}
    assert scene.etcd.list(keys.AUDIT).items == ()
