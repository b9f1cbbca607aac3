"""A host that cannot start a server is left for the next one, and never runs it afterwards."""

import asyncio

import pytest

from backend.rescue import runner
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.fleet import OwnerPhase, PowerState
from wire.migration import MigrationState
from wire.rescue import IncidentState, RescueState

NO_KVM = GodwitError(ErrorCode.LIBVIRT, "internal error: qemu unexpectedly closed the monitor")
FULL = GodwitError(ErrorCode.CONFLICT, "kvm has another server named 'web-1'")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "ASK_AGAIN_S", 0.01)
    monkeypatch.setattr(runner, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(runner, "_AGAIN_S", 0.01)


def first_target(scene):
    migration = scene.migrations()[0]
    return scene.agents[migration.target_host_id]


async def claimed(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    return first_target(scene)


async def test_the_next_host_starts_what_the_first_one_could_not(scene):
    first = await claimed(scene)
    first.refuses["start"] = NO_KVM
    await scene.settle()
    one, two = scene.migrations()
    assert (one.state, two.state) == (MigrationState.FAILED, MigrationState.SUCCEEDED)
    assert one.error == NO_KVM.message
    assert two.target_host_name in one.outcome
    assert scene.running("web-1") == [two.target_host_name]
    assert scene.record("web-1").owner.generation == 3
    line = scene.line("web-1")
    assert (line.state, line.tries) == (RescueState.RESCUED, 2)


async def test_the_first_host_has_let_go_before_the_next_one_starts(scene):
    first = await claimed(scene)
    first.refuses["start"] = NO_KVM
    second = next(
        one for one in scene.agents.values() if one is not first and one.facts.name != "kvm-01"
    )
    second.before["prepare"] = lambda: first.names().index("remove")
    second.before["start"] = lambda: first.names().index("remove")
    await scene.settle()
    assert scene.running("web-1") == [second.facts.name]
    assert "id-web-1" not in first.states


async def test_a_first_host_that_is_silent_after_it_may_have_started_is_waited_for(scene):
    first = await claimed(scene)
    first.after["start"] = lambda: setattr(first, "away", True)
    migration_id = scene.under_way()[0]
    drive = runner.RescueRunner(scene.drive, scene.claims, migration_id)
    first.refuses["start"] = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
    first.before["start"] = lambda: unsilence(first)
    await drive.run()
    assert scene.running("web-1") == [first.facts.name]
    assert len(scene.migrations()) == 1


def unsilence(agent) -> None:
    """Answer the third time."""
    if agent.names().count("start") == 2:
        agent.refuses.pop("start", None)
        agent.after.clear()


async def test_after_the_last_host_the_server_is_given_up_where_it_is(scene):
    scene.add("web-1")
    for agent in scene.agents.values():
        agent.refuses["start"] = NO_KVM
    scene.cut("kvm-01")
    await scene.settle()
    line, owner = scene.line("web-1"), scene.record("web-1").owner
    assert (line.state, line.reason, line.tries) == (RescueState.FAILED, NO_KVM.message, 2)
    assert owner.phase is OwnerPhase.SETTLED
    last = scene.agents[owner.host_id]
    assert last.states["id-web-1"] is PowerState.SHUT_OFF
    assert last.facts.name in scene.migrations()[-1].outcome
    assert scene.incident().state is IncidentState.RESCUED
    assert [one for one in scene.agents.values() if "id-web-1" in one.states] == [
        scene.agents["host-1"],
        last,
    ]


async def test_no_more_than_the_tries_are_made(scene, monkeypatch):
    monkeypatch.setattr(runner, "TRIES", 1)
    scene.add("web-1")
    for agent in scene.agents.values():
        agent.refuses["start"] = NO_KVM
    scene.cut("kvm-01")
    await scene.settle()
    assert [one.state for one in scene.migrations()] == [MigrationState.FAILED]


async def test_a_definition_that_etcd_does_not_tell_now_is_waited_for(scene, monkeypatch):
    first = await claimed(scene)
    journal, etcd_is_away = scene.drive.journal, EtcdUnreachable(("e:1",), "no answer in time")
    answers = [etcd_is_away, etcd_is_away]
    read = journal.definition

    async def definition(server_id):
        if answers:
            raise answers.pop()
        return await read(server_id)

    monkeypatch.setattr(journal, "definition", definition)
    await scene.run_rescues()
    assert answers == []
    assert scene.running("web-1") == [first.facts.name]


@pytest.mark.parametrize("call", ["prepare", "define"])
async def test_a_host_that_never_was_told_to_start_is_passed_by(scene, call):
    first = await claimed(scene)
    first.refuses[call] = FULL
    await scene.settle()
    one, two = scene.migrations()
    assert (one.state, one.error) == (MigrationState.FAILED, FULL.message)
    assert scene.running("web-1") == [two.target_host_name]
    assert two.source_host_name == "kvm-01"
    assert "remove" not in first.names()


async def test_a_host_that_is_silent_before_the_start_is_passed_by(scene):
    first = await claimed(scene)
    first.away = True
    await scene.settle()
    assert len(scene.migrations()) == 2
    assert scene.line("web-1").state is RescueState.RESCUED


@pytest.mark.parametrize("call", ["define", "start"])
async def test_a_host_whose_agent_does_not_reach_etcd_has_not_refused(scene, call):
    first = await claimed(scene)
    no_etcd = GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")
    first.refuses[call] = no_etcd
    first.before[call] = lambda: unrefuse(first, call)
    (migration_id,) = scene.under_way()
    await runner.RescueRunner(scene.drive, scene.claims, migration_id).run()
    assert scene.running("web-1") == [first.facts.name]
    assert len(scene.migrations()) == 1


def unrefuse(agent, call: str) -> None:
    if agent.names().count(call) == 2:
        agent.refuses.pop(call, None)


async def test_a_server_that_no_host_can_take_now_is_not_lost_and_says_what_it_waits_for(scene):
    first = await claimed(scene)
    for agent in scene.agents.values():
        agent.away = True
    running = asyncio.create_task(scene.settle())
    while not any("no other host fits" in text for text in scene.fleet.waiting.values()):
        await asyncio.sleep(0.01)
    line = scene.rescuer._account(scene.incident())[0]
    assert line.state is RescueState.STARTING
    assert "no other host fits" in line.reason
    assert "does not answer" in line.reason
    for agent in scene.agents.values():
        agent.away = agent.facts.name == "kvm-01"
    await running
    assert len(scene.running("web-1")) == 1
    assert scene.line("web-1").state is RescueState.RESCUED
    assert scene.fleet.waiting == {}
    assert first.facts.name != "kvm-01"


async def test_a_server_that_was_defined_nowhere_keeps_its_record_and_definition(scene):
    scene.add("web-1")
    for agent in scene.agents.values():
        agent.refuses["define"] = FULL
    scene.cut("kvm-01")
    await scene.settle()
    owner = scene.record("web-1").owner
    assert owner.phase is OwnerPhase.LOST  # settled, its owner would forget it
    assert "server-settle" in scene.migrations()[-1].advice
    assert scene.line("web-1").state is RescueState.FAILED


async def test_a_target_that_dies_while_it_starts_leaves_the_server_to_its_own_incident(scene):
    first = await claimed(scene)
    second_dead = first.facts.name

    def dies() -> None:
        first.before.clear()
        scene.cut(second_dead)

    first.before["start"] = dies
    running = runner.RescueRunner(scene.drive, scene.claims, scene.under_way()[0]).run()
    scene.fleet.put_guard(scene.fleet.guard)

    async def time_passes() -> None:
        for _ in range(40):
            await runner.asyncio.sleep(0.02)
            await scene.pass_(70.0)  # far apart: no storm

    await runner.asyncio.gather(running, time_passes())
    await scene.desk.arm(requested_by="ann")
    await scene.settle()
    assert scene.line("web-1").state is RescueState.FAILED
    assert "died before" in scene.line("web-1").reason
    assert scene.line("web-1", second_dead).state is RescueState.RESCUED
    left = ({"kvm-02", "kvm-03"} - {second_dead}).pop()
    assert scene.running("web-1") == [left]
    assert scene.record("web-1").owner.generation == 3


async def test_a_leader_that_dies_between_two_tries_goes_on_with_the_second(scene):
    first = await claimed(scene)
    first.refuses["start"] = NO_KVM

    class Crash(Exception):
        pass

    def crash() -> None:
        raise Crash

    first.before["remove"] = crash
    with pytest.raises(Crash):
        await scene.settle()
    first.before.clear()
    scene.lead()
    await scene.settle()
    assert first.names().count("remove") == 1
    assert scene.line("web-1").state is RescueState.RESCUED
    assert len(scene.running("web-1")) == 1
