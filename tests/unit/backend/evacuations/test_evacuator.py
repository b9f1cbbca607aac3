"""What the runner makes of an evacuation as moves end, fail, or are taken from it by others."""

import asyncio

import msgspec
import pytest

from backend.evacuations.records import NOTES_KEPT
from backend.evacuations.running import evacuator, replanner
from backend.evacuations.running.course import observed
from backend.evacuations.running.failing import GAVE_UP, hopeless
from backend.evacuations.running.replanning import to_place
from backend.migrations.ending import owner_after, unlocked
from backend.migrations.notes import noted
from backend.migrations.outcome import Judgement, Verdict
from backend.moments import now_ms
from tests.unit.backend.evacuations.conftest import refused
from wire import keys
from wire.agent import Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    EvacuatedServer,
    EvacuationChange,
    EvacuationState,
    MoveOptions,
    MoveState,
    PlanEdit,
    Way,
)
from wire.fleet import OwnerPhase, PowerState, ServerRecord
from wire.forecast import Ease
from wire.migration import Migration, MigrationOptions, MigrationState, Note, Pass, PostcopyState
from wire.rescue import Incident

WAITING, MOVING, LEFT = MoveState.WAITING, MoveState.MOVING, MoveState.LEFT
FAILED, STAYED, CANCELLED = MoveState.FAILED, MoveState.STAYED, MoveState.CANCELLED


async def test_servers_leave_one_after_the_other_and_the_record_tells_how(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    assert scene.fleet.policies["host-1"].maintenance
    assert scene.under_way() == {}
    await scene.look()
    (moves,) = scene.under_way().values()
    assert (moves.evacuation_id, moves.requested_by) == (evacuation.evacuation_id, "alice")
    name = moves.server_name
    line = scene.line(evacuation, name)
    assert (line.state, line.tries, line.migration_id) == (MOVING, 1, moves.migration_id)
    assert line.plan.target_host_id == moves.options.prefer_host
    await scene.end(name)
    await scene.look()
    line = scene.line(evacuation, name)
    assert (line.state, line.downtime_ms, line.sent_bytes, line.reason) == (LEFT, 87, 9_000, "")
    assert line.ended_at_ms == moves.created_at_ms + 4_000
    (other,) = scene.under_way()
    await scene.end(other)
    await scene.look()
    known = scene.known(evacuation)
    assert (known.state, set(scene.states(known).values())) == (EvacuationState.ENDED, {LEFT})
    assert known.ended_at_ms
    assert scene.fleet.policies["host-1"].maintenance, "until a person ends it"


async def test_what_waits_says_what_for(scene):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    (moving,) = scene.under_way()
    (waits,) = scene.fleet.evacuation_waits[evacuation.evacuation_id].values()
    assert waits == f"the link is full: {moving} is being sent"


async def test_an_empty_host_is_empty_at_once(scene):
    evacuation = await scene.start()
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_another_leader_adopts_a_move_that_was_begun_and_not_noted(scene):
    scene.add("a")
    evacuation = await scene.start()
    before = scene.known(evacuation)
    await scene.look()
    # the first leader died right after the journal had taken the move
    scene.etcd.put(keys.EVACUATIONS + before.evacuation_id, msgspec.json.encode(before))
    scene.fleet.put_evacuation(before.evacuation_id, before)
    scene.restart()
    await scene.look()
    assert len(scene.fleet.migrations) == 1
    line = scene.line(evacuation, "a")
    assert (line.state, line.tries) == (MOVING, 1)


async def test_another_leader_notes_what_ended_while_nobody_led(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.end("a")
    scene.restart()
    await scene.look()
    assert scene.states(evacuation) == {"a": LEFT}


async def test_a_move_that_fails_is_tried_once_more_elsewhere(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    first = await scene.end("a", MigrationState.FAILED, error="no disk there")
    await scene.look()
    second = scene.under_way()["a"]
    assert second.options.prefer_host != first.target_host_id
    texts = [note.text for note in scene.known(evacuation).notes]
    assert any("a goes to kvm-0" in text for text in texts), texts
    await scene.end("a", MigrationState.FAILED, error="nor there")
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.tries, line.reason) == (FAILED, 2, "nor there")
    assert line.sent_bytes == 18_000
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_one_whose_target_was_chosen_by_a_person_is_not_tried_elsewhere(scene):
    scene.add("a")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-03"),))
    await scene.look()
    assert scene.under_way()["a"].options.prefer_host == "host-3"
    await scene.end("a", MigrationState.FAILED, error="no disk there")
    await scene.look()
    assert scene.line(evacuation, "a").state is FAILED


async def test_a_cancelled_move_is_not_tried_again(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.acts.cancel(scene.under_way()["a"].migration_id, requested_by="bob")
    await scene.end("a", MigrationState.CANCELLED)
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.reason) == (CANCELLED, "cancelled by bob")


async def test_one_that_runs_twice_is_left_to_a_person(scene):
    server = scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    failed = await scene.end("a", MigrationState.FAILED, error="a runs on both")
    report = scene.fleet.reports["host-1"][server.server_id]
    scene.fleet.put_report(failed.target_host_id, report)
    await scene.look()
    assert scene.line(evacuation, "a").state is FAILED


async def test_a_server_counts_as_left_only_where_it_is_elsewhere(scene):
    record = scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    migration = scene.under_way()["a"]
    succeeded = msgspec.structs.replace(migration, state=MigrationState.SUCCEEDED)
    # the watch of the journal is ahead of that of the servers' records
    scene.fleet.put_migration(migration.migration_id, succeeded)
    await scene.look()
    assert scene.line(evacuation, "a").state is MOVING
    here = msgspec.structs.replace(record.owner, generation=3)
    scene.put(msgspec.structs.replace(record, owner=here))
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.reason) == (FAILED, "a is on kvm-01 again")


async def test_what_others_move_delete_or_rescue_has_left(scene):
    for name in ("deleted", "moved", "rescued", "given"):
        scene.add(name)
    evacuation = await scene.start()
    scene.etcd.delete(keys.SERVERS + "id-deleted")
    scene.fleet.put_record("id-deleted", None)
    for name, kind, by in (("moved", "live", "carol"), ("rescued", "rescue", "")):
        record = scene.fleet.records[f"id-{name}"]
        scene.fleet.put_migration(
            f"m-{name}",
            msgspec.structs.replace(
                a_move_of(record),
                migration_id=f"m-{name}",
                kind=kind,
                requested_by=by,
            ),
        )
    for name in ("moved", "rescued", "given"):
        record = scene.fleet.records[f"id-{name}"]
        there = msgspec.structs.replace(record.owner, host_id="host-3", generation=2)
        scene.put(msgspec.structs.replace(record, owner=there))
    await scene.look()
    reasons = {one.plan.server_name: one.reason for one in scene.known(evacuation).servers}
    assert reasons == {
        "deleted": "deleted was deleted meanwhile",
        "moved": "carol moved moved to kvm-03 (migration m-moved)",
        "rescued": "rescued was rescued to kvm-03 (migration m-rescued)",
        "given": "given belongs to kvm-03 now",
    }
    assert set(scene.states(evacuation).values()) == {LEFT}
    assert scene.known(evacuation).state is EvacuationState.ENDED


def a_move_of(record: ServerRecord) -> Migration:
    return Migration(
        migration_id="m",
        server_id=record.server_id,
        server_name=record.name,
        source_host_id="host-1",
        source_host_name="kvm-01",
        target_host_id="host-3",
        state=MigrationState.SUCCEEDED,
        finished_at_ms=5,
    )


async def test_one_that_a_person_moves_meanwhile_is_waited_for(scene):
    scene.add("a")
    evacuation = await scene.start()
    options = msgspec.structs.replace(scene.line(evacuation, "a").plan.options, prefer_host="")
    theirs = await scene.migrations.migrate("live", "a", options, requested_by="carol")
    await scene.look()
    assert scene.line(evacuation, "a").state is WAITING
    waits = scene.fleet.evacuation_waits[evacuation.evacuation_id]
    assert waits == {"id-a": f"carol moves it (migration {theirs.migration_id})"}


async def test_servers_that_turn_up_are_planned_in(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    scene.add("late")
    await scene.look()
    assert scene.states(evacuation)["late"] in {WAITING, MOVING}
    notes = [note.text for note in scene.known(evacuation).notes]
    assert "late has turned up on kvm-01" in notes


async def test_a_server_that_cannot_go_stays_with_the_reason(scene):
    scene.add("tied", passthrough=("PCI device 0000:3b:00.0",))
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    line = scene.line(evacuation, "tied")
    assert (line.state, line.plan.way) == (STAYED, Way.STAYS)
    assert "0000:3b:00.0" in line.reason
    await scene.end("a")
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_a_target_that_takes_nothing_any_more_is_replaced(scene, set_maintenance):
    scene.show_links()
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    await scene.look()
    (waits,) = {"a", "b"} - set(scene.under_way())
    target = scene.line(evacuation, waits).plan.target_host_name
    (other,) = {"kvm-02", "kvm-03"} - {target}
    set_maintenance(target)
    await scene.look()
    assert scene.line(evacuation, waits).plan.target_host_name == other
    text = f"{waits} goes to {other}, since {target} is in maintenance"
    assert text in [note.text for note in scene.known(evacuation).notes]


async def test_with_all_targets_gone_it_waits_and_goes_on_when_one_is_back(scene, monkeypatch):
    monkeypatch.setattr(replanner, "_AGAIN_S", 0.0)
    scene.add("a")
    evacuation = await scene.start()
    healths = {name: scene.fleet.health[scene.host_id(name)] for name in ("kvm-02", "kvm-03")}
    for name in healths:
        scene.drop_host(name)
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.way) == (WAITING, Way.LIVE)
    assert line.reason.startswith("no host takes it now: ")
    assert scene.known(evacuation).state is EvacuationState.RUNNING
    scene.fleet.put_health(scene.host_id("kvm-03"), healths["kvm-03"])
    await scene.look()
    assert scene.under_way()["a"].options.prefer_host == "host-3"


async def test_one_that_was_stopped_meanwhile_leaves_cold(scene, monkeypatch):
    monkeypatch.setattr(replanner, "_AGAIN_S", 0.0)
    scene.add("a")
    evacuation = await scene.start()
    report = scene.fleet.reports["host-1"]["id-a"]
    scene.fleet.put_report("host-1", msgspec.structs.replace(report, state=PowerState.SHUT_OFF))
    await scene.look()
    await scene.look()
    line = scene.line(evacuation, "a")
    assert line.plan.way is Way.COLD
    assert line.plan.target_host_id


async def test_a_host_that_dies_meanwhile_is_the_incidents(scene):
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start()
    scene.drop_host("kvm-01")
    life = msgspec.structs.replace(scene.fleet.health["host-2"])
    incident = Incident(
        incident_id="i1", host_id="host-1", host_name="kvm-01", life=life, lost_at_ms=1
    )
    scene.fleet.put_incident("i1", incident)
    await scene.look()
    assert scene.under_way() == {}
    assert scene.rescue_desk.asked == []
    waits = set(scene.fleet.evacuation_waits[evacuation.evacuation_id].values())
    assert waits == {"kvm-01 is down: incident i1 decides what is started"}


def steady(number: int, remaining: int, throttle: int) -> Pass:
    return Pass(
        number=number,
        started_ms=0,
        duration_ms=1,
        remaining_at_start_bytes=remaining,
        transferred_bytes=remaining,
        dirty_bytes_per_s=1,
        bandwidth_bytes_per_s=1,
        throttle_percent=throttle,
    )


def test_what_is_held_back_to_the_utmost_and_does_not_shrink_is_hopeless():
    mib = 1 << 20
    flat = [steady(number, 90 * mib, 99) for number in range(1, 6)]
    assert hopeless(flat) == (
        "it does not converge: held back by 99 %, pass 5 still began with 90 MiB"
    )
    assert not hopeless(flat[1:])
    assert not hopeless([*flat[:2], steady(3, 90 * mib, 80), *flat[3:]])
    assert not hopeless([*flat[:4], steady(5, 60 * mib, 99)])


async def test_one_that_does_not_converge_is_given_up_and_waits_for_a_lever(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    migration = scene.under_way()["a"]
    await scene.journal.advance(
        migration.migration_id,
        lambda known: msgspec.structs.replace(known, state=MigrationState.COPYING_MEMORY),
    )
    scene.jobs.put(
        Job(
            migration_id=migration.migration_id,
            server_id="id-a",
            state=JobState.COPYING_MEMORY,
            passes=tuple(steady(number, 90 << 20, 99) for number in range(1, 8)),
        )
    )
    await scene.look()
    assert scene.under_way()["a"].cancel_requested_by == GAVE_UP
    await scene.end("a", MigrationState.CANCELLED)
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.forecast.ease) == (WAITING, Ease.STUCK)
    assert scene.under_way() == {}
    assert scene.known(evacuation).state is EvacuationState.RUNNING


def sent_whole(number: int, remaining_bytes: int) -> Pass:
    """One that sends all that remains, at 50 MB/s."""
    duration_ms = remaining_bytes // 50_000
    return Pass(
        number=number,
        started_ms=0,
        duration_ms=duration_ms,
        remaining_at_start_bytes=remaining_bytes,
        transferred_bytes=remaining_bytes,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=50_000_000,
        throttle_percent=0,
    )


async def given_up(scene, *passes: Pass) -> EvacuatedServer:
    """The line of a once its move was given up with these passes."""
    scene.show_links()
    scene.add("a", memory_bytes=1 << 30)
    evacuation = await scene.start()
    await scene.look()
    migration_id = scene.under_way()["a"].migration_id
    await scene.acts.cancel(migration_id, requested_by=GAVE_UP)
    await scene.end("a", MigrationState.CANCELLED, passes=passes)
    await scene.look()
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.forecast.ease) == (WAITING, Ease.STUCK)
    assert line.plan.why == line.plan.forecast.lever
    waits = scene.fleet.evacuation_waits[evacuation.evacuation_id]
    assert waits == {"id-a": line.plan.forecast.lever}
    return line


async def test_one_that_was_given_up_is_forecast_anew_by_the_passes_that_it_made(scene):
    """Its plan took it for an easy one, so that it named no lever."""
    line = await given_up(
        scene, sent_whole(1, 800_000_000), *(sent_whole(each, 600_000_000) for each in range(2, 6))
    )
    assert line.forecast.ease is Ease.EASY
    assert line.plan.forecast.dirty_bytes_per_s > 50_000_000 > line.forecast.dirty_bytes_per_s
    assert line.plan.forecast.lever.startswith("it dirties ")
    assert "and gets 47.7 MiB/s, so that it does not come down to " in line.plan.forecast.lever


async def test_one_whose_passes_do_not_say_why_gets_its_lever_from_the_last_of_them(scene):
    calm = (sent_whole(number, 2_000_000 if number > 1 else 50_000_000) for number in (1, 2, 3))
    late = (steady(number, 90_000_000, 99) for number in range(4, 9))
    line = await given_up(scene, *calm, *late)
    said = line.plan.forecast.lever
    assert said.startswith("it does not converge: held back by 99 %, pass 8 still began with 85 ")
    assert "a downtime limit of 2057 ms lets it finish" in said


async def throttled(scene, **changes: object) -> Migration:
    """The move of a, which its host holds back by 99 % without an end in sight."""
    migration = await scene.journal.advance(
        scene.under_way()["a"].migration_id,
        lambda known: msgspec.structs.replace(
            known, state=MigrationState.COPYING_MEMORY, **changes
        ),
    )
    passes = tuple(
        msgspec.structs.replace(
            steady(number, 90 << 20, 99), started_ms=number * 1_000, duration_ms=1_000
        )
        for number in range(1, 8)
    )
    job = Job(
        migration_id=migration.migration_id,
        server_id="id-a",
        state=JobState.COPYING_MEMORY,
        passes=passes,
    )
    scene.jobs.put(job)
    return migration


async def test_one_that_was_just_switched_to_post_copy_is_not_given_up(scene):
    scene.add("a")
    await scene.start()
    await scene.look()
    await throttled(scene, postcopy=PostcopyState.ASKED)
    await scene.look()
    assert not scene.under_way()["a"].cancel_requested_by


async def test_one_whose_downtime_limit_was_just_raised_is_not_given_up(scene):
    scene.add("a")
    await scene.start()
    await scene.look()
    raised = Note(at_ms=now_ms(), text="downtime limit changed from 300 to 900 ms")
    await throttled(scene, notes=(raised,))
    await scene.look()
    assert not scene.under_way()["a"].cancel_requested_by


async def test_one_that_is_too_far_to_be_given_up_is_not_noted_as_such(scene):
    scene.add("a")
    await scene.start()
    await scene.look()
    await throttled(scene)
    await scene.journal.advance(
        scene.under_way()["a"].migration_id,
        lambda known: msgspec.structs.replace(known, state=MigrationState.SWITCHING_OVER),
    )
    await scene.look()
    assert scene.under_way()["a"].notes == ()


async def test_an_etcd_that_does_not_answer_is_waited_for(scene):
    scene.add("a")
    await scene.start()
    scene.fleet.put_etcd_error(keys.SERVERS, "etcd does not answer")
    await scene.look()
    assert scene.under_way() == {}
    scene.fleet.put_etcd_error(keys.SERVERS, "")
    await scene.look()
    assert list(scene.under_way()) == ["a"]


async def test_a_server_that_was_lost_is_not_begun(scene):
    record = scene.add("a")
    evacuation = await scene.start()
    lost = msgspec.structs.replace(record.owner, phase=OwnerPhase.LOST)
    scene.put(msgspec.structs.replace(record, owner=lost))
    await scene.look()
    assert scene.under_way() == {}
    line = scene.line(evacuation, "a")
    assert "is lost" in line.reason


async def test_what_came_back_is_marked_in_the_evacuation_that_it_left_by(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.end("a")
    await scene.look()
    await scene.desk.set_maintenance("kvm-01", on=False, requested_by="alice")
    back = await scene.bring_back()
    await scene.look()
    assert scene.under_way()["a"].options.prefer_host == "host-1"
    await scene.end("a")
    await scene.look()
    assert scene.states(back) == {"a": LEFT}
    assert scene.line(evacuation, "a").returned
    assert scene.known(back).state is EvacuationState.ENDED


def dead(scene) -> None:
    """kvm-01 is dead, and proven to be."""
    life = scene.fleet.health["host-1"]
    scene.fleet.put_life("host-1", life)
    scene.drop_host("kvm-01")
    incident = Incident(
        incident_id="i1",
        host_id="host-1",
        host_name="kvm-01",
        life=life,
        lost_at_ms=1,
        dead_at_ms=2,
    )
    scene.fleet.put_incident("i1", incident)


DEFINITION = "<domain type='qemu'><os><type arch='x86_64' machine='pc-i440fx-7.2'/></os></domain>"


async def test_a_dead_host_is_emptied_through_the_rescue_desk(scene):
    scene.add("on")
    scene.add("off", state=PowerState.SHUT_OFF)
    for name in ("on", "off"):
        scene.etcd.put(keys.DEFINITIONS + f"id-{name}", DEFINITION)
    dead(scene)
    evacuation = await scene.start()
    assert evacuation.kind == "rescue"
    await scene.look()
    asked = {server: options.auto_start for server, options in scene.rescue_desk.asked}
    assert asked == {"id-on": True, "id-off": False}
    assert set(scene.states(evacuation).values()) == {MOVING}
    for name in ("on", "off"):
        await scene.end(name)
    await scene.look()
    assert set(scene.states(evacuation).values()) == {LEFT}


async def test_what_the_rescue_desk_refuses_waits_with_its_reason(scene):
    scene.add("on")
    scene.etcd.put(keys.DEFINITIONS + "id-on", DEFINITION)
    dead(scene)
    evacuation = await scene.start()
    text = "kvm-01 may still run"
    scene.rescue_desk.refusal = GodwitError(ErrorCode.NOT_PROVEN_DEAD, text)
    await scene.look()
    await scene.look()
    assert scene.states(evacuation) == {"on": WAITING}
    assert scene.fleet.evacuation_waits[evacuation.evacuation_id] == {"id-on": text}
    assert len(scene.rescue_desk.asked) == 1


async def test_a_dead_host_that_comes_back_keeps_what_had_not_left(scene):
    scene.add("on")
    scene.etcd.put(keys.DEFINITIONS + "id-on", DEFINITION)
    life = scene.fleet.health["host-1"]
    dead(scene)
    evacuation = await scene.start()
    scene.fleet.put_health("host-1", msgspec.structs.replace(life, epoch=4))
    await scene.look()
    line = scene.line(evacuation, "on")
    assert (line.state, line.reason) == (STAYED, "kvm-01 is back, and starts it itself")
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_one_evacuation_that_cannot_be_looked_at_does_not_stop_the_others(scene, monkeypatch):
    scene.add("a")
    scene.add("b", "kvm-02")
    bad = await scene.start("kvm-01")
    await scene.start("kvm-02")
    real = evacuator.observed

    def faulty(fleet, evacuation, at_ms):
        if evacuation.evacuation_id == bad.evacuation_id:
            raise KeyError("host-9")
        return real(fleet, evacuation, at_ms)

    monkeypatch.setattr(evacuator, "observed", faulty)
    await scene.look()
    assert list(scene.under_way()) == ["b"]
    (waits,) = scene.fleet.evacuation_waits[bad.evacuation_id].values()
    assert "KeyError" in waits


async def test_one_that_cannot_be_looked_at_is_told_in_the_status_until_it_can(scene, monkeypatch):
    scene.add("a")
    await scene.start()
    monkeypatch.setattr(evacuator, "_SKIPPED_S", 0.05)

    def faulty(*_: object) -> None:
        raise KeyError("host-9")

    def failing() -> list[str]:
        return [f"{one.name}: {one.reason}" for one in scene.faults.failing]

    async def until(reasons: list[str]) -> None:
        async with asyncio.timeout(10):
            while failing() != reasons:
                await asyncio.sleep(0.01)

    leading = asyncio.create_task(scene.evacuator.lead())
    with monkeypatch.context() as patch:
        patch.setattr(evacuator, "observed", faulty)
        await until(["evacuations: the evacuation of kvm-01: KeyError: 'host-9'"])
    await until([])
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


async def test_one_whose_beginning_cannot_be_noted_does_not_stop_the_others(scene, monkeypatch):
    scene.add("a")
    scene.add("b", "kvm-02")
    bad = await scene.start("kvm-01")
    good = await scene.start("kvm-02")
    real = evacuator.unplaced

    def faulty(evacuation, refused):
        if evacuation.evacuation_id == bad.evacuation_id:
            raise KeyError("host-9")
        return real(evacuation, refused)

    monkeypatch.setattr(evacuator, "unplaced", faulty)
    await scene.look()
    assert set(scene.under_way()) == {"a", "b"}
    assert scene.states(good) == {"b": MOVING}


async def test_one_that_has_ended_and_cannot_be_marked_does_not_stop_the_others(scene, monkeypatch):
    bad, good = await scene.start("kvm-01"), await scene.start("kvm-02")
    await scene.look()
    seen = []

    def faulty(fleet, evacuation):
        seen.append(evacuation.evacuation_id)
        if evacuation.evacuation_id == bad.evacuation_id:
            raise KeyError("host-9")
        return evacuation

    monkeypatch.setattr(evacuator, "marked", faulty)
    await scene.look()
    await scene.look()
    assert seen.count(bad.evacuation_id) == 1, "it is left alone for a while"
    assert seen.count(good.evacuation_id) == 2


async def test_one_that_is_skipped_is_shared_all_the_same(scene, monkeypatch):
    scene.add("a")
    evacuation = await scene.start(max_bandwidth_bytes_per_s=8 << 20)
    await scene.look()

    def faulty(*_: object) -> None:
        raise KeyError("host-9")

    monkeypatch.setattr(evacuator, "observed", faulty)
    await scene.look()
    shared = []
    monkeypatch.setattr(scene.evacuator.sharing, "look", lambda one, *_: shared.append(one))
    await scene.look()
    assert [one.evacuation_id for one in shared] == [evacuation.evacuation_id]


async def test_what_one_that_is_skipped_holds_back_stays_so_until_all_has_ended(scene, monkeypatch):
    """Else its second move would take half of a link that its first one has to show."""
    for name in ("a", "b"):
        scene.add(name)
    evacuation = await scene.start()
    await scene.look()
    (_, second) = sorted(scene.under_way().values(), key=lambda one: one.created_at_ms)
    course = scene.evacuator._setting_out
    assert course.held_back == {second.migration_id}

    def faulty(*_: object) -> None:
        raise KeyError("host-9")

    with monkeypatch.context() as patch:
        patch.setattr(evacuator, "observed", faulty)
        await scene.look()
    assert scene.evacuator._is_skipped(evacuation)
    assert course.held_back == {second.migration_id}
    scene.evacuator._not_before_s.clear()
    for name in ("a", "b"):
        await scene.end(name)
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED
    assert course.held_back == frozenset()


async def test_a_record_that_cannot_be_read_is_told_and_not_an_end_of_the_backend(scene):
    scene.add("a")
    evacuation = await scene.start()
    scene.etcd.put(keys.EVACUATIONS + evacuation.evacuation_id, "{")
    asking = scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
    assert "cannot be read" in await refused(asking)


async def test_it_does_not_end_while_a_server_arrives(scene, monkeypatch):
    monkeypatch.setattr(replanner, "_AGAIN_S", 0.0)
    comes = scene.add("comes", "kvm-02")
    migration = msgspec.structs.replace(
        a_move_of(comes),
        target_host_id="host-1",
        state=MigrationState.COPYING_MEMORY,
        finished_at_ms=0,
    )
    scene.fleet.put_migration("m", migration)
    evacuation = await scene.start()
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.RUNNING
    there = msgspec.structs.replace(comes.owner, host_id="host-1", generation=2)
    scene.put(msgspec.structs.replace(comes, owner=there))
    scene.carry("comes", "kvm-01")
    ended = msgspec.structs.replace(migration, state=MigrationState.SUCCEEDED)
    scene.fleet.put_migration("m", ended)
    await scene.look()
    assert scene.states(evacuation) == {"comes": MOVING}
    await scene.end("comes")
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED


async def test_one_that_somebody_moves_at_the_start_waits_and_is_moved_if_that_fails(
    scene, monkeypatch
):
    monkeypatch.setattr(replanner, "_AGAIN_S", 0.0)
    record = scene.add("a")
    theirs = await scene.migrations.migrate(
        "live", "a", MigrationOptions(prefer_host="kvm-02"), requested_by="carol"
    )
    evacuation = await scene.start()
    assert scene.states(evacuation) == {"a": WAITING}
    await scene.look()
    waits = scene.fleet.evacuation_waits[evacuation.evacuation_id]
    assert waits == {record.server_id: f"carol moves it (migration {theirs.migration_id})"}
    assert to_place(scene.fleet, scene.known(evacuation)) == [], "not planned in vain"
    failed = msgspec.structs.replace(theirs, state=MigrationState.FAILED, finished_at_ms=5)
    await scene.journal.advance_with_owner(failed, unlocked)
    await scene.look()
    assert scene.under_way()["a"].evacuation_id == evacuation.evacuation_id


async def test_one_that_was_given_up_stays_so_in_a_new_plan_until_its_options_change(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await throttled(scene)
    await scene.look()
    await scene.end("a", MigrationState.CANCELLED)
    await scene.look()
    id_ = evacuation.evacuation_id
    await scene.steering.replan(id_, requested_by="bob")
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.forecast.ease) == (WAITING, Ease.STUCK)
    await scene.look()
    assert scene.under_way() == {}
    edit = PlanEdit(server="a", options=MoveOptions(quickly_finish=True))
    await scene.steering.change(id_, EvacuationChange(edits=(edit,)), requested_by="bob")
    await scene.look()
    assert list(scene.under_way()) == ["a"]


async def test_another_leader_reads_what_the_one_before_wrote_last(scene):
    scene.add("a")
    evacuation = await scene.start()
    paused = msgspec.structs.replace(evacuation, state=EvacuationState.PAUSED)
    scene.etcd.put(keys.EVACUATIONS + evacuation.evacuation_id, msgspec.json.encode(paused))
    scene.restart()
    await scene.look()
    assert scene.under_way() == {}
    assert scene.fleet.evacuations[evacuation.evacuation_id].state is EvacuationState.PAUSED


async def test_a_move_that_the_watch_has_not_told_of_has_not_vanished(scene):
    scene.add("a")
    evacuation = await scene.start()
    before = scene.fleet.records["id-a"]
    await scene.look()
    (migration,) = scene.fleet.migrations.values()
    scene.fleet.put_migration(migration.migration_id, None)
    scene.fleet.put_record("id-a", before)
    scene.restart()
    await scene.look()
    assert scene.line(evacuation, "a").state is MOVING
    scene.etcd.delete(keys.MIGRATIONS + migration.migration_id)
    scene.fleet.put_migration(migration.migration_id, None)
    await scene.look()
    assert "vanished" in scene.line(evacuation, "a").reason


@pytest.mark.parametrize("over", [False, True])
async def test_a_second_try_is_adopted_though_the_clock_of_its_leader_is_behind(scene, over):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    first = await scene.end("a", MigrationState.FAILED, error="no disk there")
    await scene.look()
    noted = scene.known(evacuation)
    (second,) = scene.under_way().values()
    early = msgspec.structs.replace(second, created_at_ms=first.created_at_ms - 60_000)
    scene.fleet.put_migration(second.migration_id, None)
    scene.fleet.put_migration(second.migration_id, early)
    unseen = msgspec.structs.replace(
        noted.servers[0], state=WAITING, migration_id=first.migration_id, tries=1
    )
    unseen = msgspec.structs.replace(unseen, started_at_ms=first.created_at_ms)
    known = msgspec.structs.replace(noted, servers=(unseen,))
    adopted = observed(scene.fleet, known, 1)
    (line,) = adopted.servers
    assert (line.state, line.migration_id, line.tries) == (MOVING, second.migration_id, 2)
    if over:
        failed = msgspec.structs.replace(early, state=MigrationState.FAILED, error="nor there")
        scene.fleet.put_migration(second.migration_id, failed)
        record = scene.fleet.records["id-a"]
        settled = msgspec.structs.replace(record.owner, phase=OwnerPhase.SETTLED, migration_id="")
        scene.fleet.put_record("id-a", msgspec.structs.replace(record, owner=settled))
        ended = observed(scene.fleet, adopted, 1)
        assert ended.servers[0].state is FAILED
        assert observed(scene.fleet, ended, 1) == ended, "the first try is not adopted again"


async def test_the_report_says_where_a_server_is_that_another_one_moved(scene):
    scene.add("a")
    evacuation = await scene.start(edits=(PlanEdit(server="a", target="kvm-02"),))
    record = scene.fleet.records["id-a"]
    there = msgspec.structs.replace(record.owner, host_id="host-3", generation=2)
    scene.put(msgspec.structs.replace(record, owner=there))
    await scene.look()
    line = scene.line(evacuation, "a")
    assert (line.state, line.plan.target_host_name, line.forecast) == (LEFT, "kvm-03", None)


async def test_one_that_arrived_and_was_not_started_there_has_left_with_the_reason(scene):
    scene.add("off", state=PowerState.SHUT_OFF)
    evacuation = await scene.start()
    await scene.look()
    migration = scene.under_way()["off"]
    target = migration.options.prefer_host
    final = msgspec.structs.replace(
        migration,
        state=MigrationState.FAILED,
        target_host_id=target,
        target_host_name=scene.fleet.facts[target].name,
        finished_at_ms=migration.created_at_ms + 4_000,
        error="Cannot allocate memory",
    )
    moved = Judgement(verdict=Verdict.MOVED)
    await scene.journal.advance_with_owner(final, lambda owner: owner_after(owner, final, moved, 3))
    await scene.look()
    line = scene.line(evacuation, "off")
    assert (line.state, line.reason) == (LEFT, "not started: Cannot allocate memory")


async def test_notes_are_bounded_and_the_first_one_is_kept(scene):
    scene.add("a")
    evacuation = await scene.start()
    first = evacuation.notes[0].text

    def told(known):
        for number in range(NOTES_KEPT + 5):
            known = noted(known, f"note {number}")
        return known

    await scene.records.change(evacuation.evacuation_id, told)
    texts = [one.text for one in scene.known(evacuation).notes]
    assert len(texts) == NOTES_KEPT
    assert texts[:2] + texts[-1:] == [first, "note 6", f"note {NOTES_KEPT + 4}"]


async def test_a_target_that_hangs_is_replaced_unless_a_person_chose_it(scene, monkeypatch):
    monkeypatch.setattr(replanner, "_AGAIN_S", 0.0)
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start(edits=(PlanEdit(server="b", target="kvm-02"),))
    await scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
    known = scene.known(evacuation)
    target = scene.line(evacuation, "a").plan.target_host_id
    for host_id in {target, "host-2"}:
        link = scene.fleet.link(host_id)
        link.connected, link.seen_at_ms = False, now_ms() - 30_000
    assert to_place(scene.fleet, known) == []
    for host_id in {target, "host-2"}:
        scene.fleet.link(host_id).seen_at_ms = now_ms() - 90_000
    assert [one.plan.server_name for one in to_place(scene.fleet, known)] == ["a"]


async def test_of_a_host_that_died_meanwhile_it_says_what_rescues_the_rest(scene):
    scene.add("a")
    evacuation = await scene.start()
    dead(scene)
    await scene.look()
    (waits,) = scene.fleet.evacuation_waits[evacuation.evacuation_id].values()
    assert f"godwit evacuation-cancel {evacuation.evacuation_id}" in waits
    assert "godwit host-evacuate kvm-01" in waits


async def test_a_person_called_evacuation_cancels_like_any_other(scene):
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    await scene.acts.cancel(scene.under_way()["a"].migration_id, requested_by="evacuation")
    await scene.end("a", MigrationState.CANCELLED)
    await scene.look()
    assert scene.line(evacuation, "a").state is CANCELLED
