"""A runner against a real journal and a scripted pair of agents.

The agents are scripted because real ones cannot be made to stop half-way through a switch-over, to
forget a job, or to lose the answer to a command.
"""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from backend.agents import Agents
from backend.fleet.cpus import Comparisons
from backend.leader import Leadership
from backend.migrations.drive import Drive
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.runner import Runner
from wire import keys
from wire.agent import GuestTruth, Job, JobDetail, JobState
from wire.errors import ErrorCode, GodwitError
from wire.fleet import OwnerPhase, PowerState, ServerRecord
from wire.migration import Migration, MigrationState

RUNNING, PAUSED, ABSENT = PowerState.RUNNING, PowerState.PAUSED, PowerState.ABSENT
SILENT = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
UNKNOWN_JOB = GodwitError(ErrorCode.NOT_FOUND, "no such job")
Answer = PowerState | GuestTruth | GodwitError


class ScriptedAgent:
    """Answers what its script says; the last answer stays."""

    def __init__(self, *truths: Answer) -> None:
        self.truths = list(truths)
        self.on_migrate: Callable[[], Job | GodwitError] = lambda: job(JobState.ENDED)
        self.known_job: Job | GodwitError = UNKNOWN_JOB
        self.calls: list[str] = []

    async def truth(self, server_id: str) -> GuestTruth:
        answer = self.truths.pop(0) if len(self.truths) > 1 else self.truths[0]
        if isinstance(answer, GodwitError):
            raise answer
        if isinstance(answer, GuestTruth):
            return answer
        return GuestTruth(server_id=server_id, state=answer)

    async def migrate(self, *_: object) -> Job:
        self.calls.append("migrate")
        return given(self.on_migrate())

    async def job(self, *_: object) -> JobDetail:
        return JobDetail(job=given(self.known_job))

    async def cancel(self, *_: object) -> Job:
        self.calls.append("cancel")
        return given(self.known_job)

    async def resume(self, server_id: str, *_: object) -> GuestTruth:
        self.calls.append("resume")
        self.truths = [RUNNING]
        return GuestTruth(server_id=server_id, state=RUNNING)


class ScriptedAgents(Agents):
    def __init__(self, source: ScriptedAgent, target: ScriptedAgent) -> None:
        self.by_host = {"host-1": source, "host-2": target}

    def of(self, host_id: str, *_: object):
        return self.by_host[host_id]


def given(answer: Job | GodwitError) -> Job:
    if isinstance(answer, GodwitError):
        raise answer
    return answer


def job(state: JobState, error: str = "") -> Job:
    return Job(migration_id="m1", server_id="id-web-1", state=state, error=error)


class Scene:
    """web-1 on kvm-01 with a migration journaled in some state, and scripted agents."""

    def __init__(self, two, etcd, leadership) -> None:
        self.two = two
        self.etcd = etcd
        self.source = ScriptedAgent(RUNNING)
        self.target = ScriptedAgent(ABSENT)
        self.jobs = Jobs()
        self.drive = Drive(
            fleet=two.fleet,
            agents=ScriptedAgents(self.source, self.target),
            jobs=self.jobs,
            journal=Journal(etcd, leadership, two.fleet),
            comparisons=Comparisons(ScriptedAgents(self.source, self.target)),
        )

    def put(self, state: MigrationState, **changes: object) -> None:
        record = self.two.add_record(self.two.server, self.two.hosts[0], migration_id="m1")
        migration = Migration(
            migration_id="m1",
            server_id=record.server_id,
            server_name=record.name,
            source_host_id="host-1",
            source_host_name="kvm-01",
            state=state,
            generation=1,
        )
        migration = msgspec.structs.replace(migration, **changes)
        self.etcd.put(keys.SERVERS + record.server_id, msgspec.json.encode(record))
        self.etcd.put(keys.MIGRATIONS + "m1", msgspec.json.encode(migration))
        self.two.fleet.put_migration("m1", migration)

    def put_begun(self, state: MigrationState, **changes: object) -> None:
        self.put(
            state,
            target_host_id="host-2",
            target_host_name="kvm-02",
            started_at_ms=1,
            **changes,
        )

    async def run(self) -> Migration:
        await asyncio.wait_for(Runner(self.drive, "m1").run(), 60)
        item = self.etcd.get(keys.MIGRATIONS + "m1")
        return msgspec.json.decode(item.value, type=Migration)

    @property
    def record(self) -> ServerRecord:
        item = self.etcd.get(keys.SERVERS + "id-web-1")
        return msgspec.json.decode(item.value, type=ServerRecord)


@pytest.fixture
async def scene(two, etcd):
    leads = asyncio.Event()

    async def duty() -> None:
        leads.set()
        await asyncio.Event().wait()

    leadership = Leadership(etcd, "backend-1")
    standing = asyncio.create_task(leadership.run(duty, lambda: None))
    await asyncio.wait_for(leads.wait(), 30)
    yield Scene(two, etcd, leadership)
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.05)
    pytest.fail("in vain")


def moved(scene: Scene) -> Job:
    scene.source.truths, scene.target.truths = [ABSENT], [RUNNING]
    return job(JobState.ENDED)


async def test_a_new_migration_is_driven_to_its_end(scene):
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: moved(scene)
    final = await scene.run()
    assert (final.state, final.target_host_name) == (MigrationState.SUCCEEDED, "kvm-02")
    owner = scene.record.owner
    assert (owner.host_id, owner.generation, owner.phase, owner.epoch) == (
        "host-2",
        2,
        OwnerPhase.SETTLED,
        3,
    )


@pytest.mark.parametrize(
    "state", [MigrationState.QUEUED, MigrationState.SCHEDULING, MigrationState.PREPARING]
)
async def test_a_migration_that_was_never_started_is_started_after_a_takeover(scene, state):
    changes = {} if state is MigrationState.QUEUED else {"target_host_id": "host-2"}
    scene.put(state, **changes)
    scene.source.on_migrate = lambda: moved(scene)
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert scene.source.calls == ["migrate"]


async def test_a_job_that_the_agent_knows_is_followed_and_not_started_again(scene):
    scene.put_begun(MigrationState.PREPARING)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths, scene.target.truths = [ABSENT], [RUNNING]
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert scene.source.calls == []


async def test_a_start_that_never_arrived_is_repeated_after_a_takeover(scene):
    scene.put_begun(MigrationState.PREPARING)
    scene.source.on_migrate = lambda: moved(scene)
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert scene.source.calls == ["migrate"]


async def test_a_copy_whose_agent_forgot_it_is_judged_by_both_hosts(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert "without an error text" in final.error
    assert scene.source.calls == []
    assert scene.record.owner.phase is OwnerPhase.SETTLED


async def test_a_job_that_failed_is_never_shown_as_completing(scene, monkeypatch):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    shown = []
    truth = scene.target.truth

    async def note_state(server_id: str) -> GuestTruth:
        shown.append(scene.two.fleet.migrations["m1"].state)
        return await truth(server_id)

    monkeypatch.setattr(scene.target, "truth", note_state)
    final = await scene.run()
    assert (final.state, final.error) == (MigrationState.FAILED, "lost the link")
    assert set(shown) == {MigrationState.COPYING_MEMORY}


async def test_a_guest_left_paused_in_the_switch_over_runs_again_on_the_source(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.source.truths = [PAUSED]
    final = await scene.run()
    assert scene.source.calls == ["resume"]
    assert (final.state, final.outcome, final.error) == (
        MigrationState.FAILED,
        "web-1 runs on kvm-01",
        "lost the link",
    )


async def test_a_paused_source_is_not_resumed_while_its_job_is_active(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    active = GuestTruth(server_id="id-web-1", state=PAUSED, job_active=True)
    scene.source.truths = [active, active, ABSENT]
    scene.target.truths = [GuestTruth(server_id="id-web-1", state=PAUSED, incoming=True), RUNNING]
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert "resume" not in scene.source.calls


async def test_a_paused_source_is_not_resumed_when_the_target_lets_the_guest_run_meanwhile(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths = [PAUSED]
    scene.target.truths = [GuestTruth(server_id="id-web-1", state=PAUSED, incoming=True), RUNNING]
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert "resume" not in scene.source.calls


async def test_a_paused_source_is_not_resumed_while_the_target_is_silent(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths = [PAUSED]
    scene.target.truths = [SILENT, SILENT, RUNNING]
    final = await scene.run()
    assert (final.state, final.outcome) == (
        MigrationState.SUCCEEDED,
        "web-1 runs on kvm-02; kvm-01 still holds a paused copy",
    )
    assert "resume" not in scene.source.calls


async def test_a_paused_source_beside_a_dead_target_is_left_to_a_person(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths, scene.target.truths = [PAUSED], [SILENT]
    scene.two.fleet.put_health("host-2", None)
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 is paused on kvm-01")
    assert "virsh resume web-1" in final.advice
    assert "resume" not in scene.source.calls


async def test_a_job_that_goes_on_although_its_host_was_away_is_followed_again(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.two.fleet.put_health("host-1", None)
    scene.source.known_job = job(JobState.COPYING_MEMORY)
    active = GuestTruth(server_id="id-web-1", state=RUNNING, job_active=True)
    scene.source.truths = [SILENT, active]
    scene.target.truths = [GuestTruth(server_id="id-web-1", state=PAUSED, incoming=True)]
    running = asyncio.create_task(scene.run())
    await until(lambda: len(scene.source.truths) == 1)
    scene.two.add_host(scene.two.hosts[0])
    await asyncio.sleep(1)
    assert not running.done()
    moved(scene)
    scene.jobs.put(job(JobState.ENDED))
    assert (await running).state is MigrationState.SUCCEEDED


async def test_an_agent_that_refuses_ends_the_migration_with_its_words(scene):
    scene.put(MigrationState.QUEUED)
    refusal = GodwitError(ErrorCode.STALE_GENERATION, "generation 1 is older than 2")
    scene.source.on_migrate = lambda: refusal
    final = await scene.run()
    assert (final.state, final.error, final.outcome) == (
        MigrationState.FAILED,
        "generation 1 is older than 2",
        "web-1 stays on kvm-01",
    )
    assert scene.record.owner == msgspec.structs.replace(
        scene.record.owner, host_id="host-1", generation=1, phase=OwnerPhase.SETTLED
    )


async def test_a_start_whose_answer_was_lost_is_looked_for(scene):
    scene.put(MigrationState.QUEUED)

    def answer_lost() -> GodwitError:
        scene.source.known_job = moved(scene)
        return SILENT

    scene.source.on_migrate = answer_lost
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert scene.source.calls == ["migrate"]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (RUNNING, RUNNING, "kvm-02 already holds web-1"),
        (RUNNING, PAUSED, "kvm-02 already holds web-1"),
        (PAUSED, ABSENT, "paused on kvm-01"),
        (ABSENT, ABSENT, "absent on kvm-01"),
        (SILENT, ABSENT, "no answer"),
        (RUNNING, SILENT, "no answer"),
        (
            GuestTruth(server_id="id-web-1", state=RUNNING, job_active=True),
            ABSENT,
            "already has a job",
        ),
    ],
)
async def test_what_cannot_start_to_move_is_not_told_to(scene, source, target, words):
    scene.put(MigrationState.QUEUED)
    scene.source.truths, scene.target.truths = [source], [target]
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert words in final.error
    assert scene.source.calls == []
    assert scene.record.owner.phase is OwnerPhase.SETTLED


async def test_a_definition_that_lies_idle_on_the_target_is_no_obstacle(scene):
    scene.put(MigrationState.QUEUED)
    scene.target.truths = [PowerState.SHUT_OFF]
    scene.source.on_migrate = lambda: moved(scene)
    assert (await scene.run()).state is MigrationState.SUCCEEDED


async def test_a_cancel_before_the_start_prevents_it(scene):
    scene.put(MigrationState.QUEUED, cancel_requested_by="alice")
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.CANCELLED, "web-1 stays on kvm-01")
    assert scene.source.calls == []


async def test_a_cancel_is_sent_until_the_agent_has_it(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY, cancel_requested_by="alice")
    scene.jobs.put(job(JobState.COPYING_MEMORY))
    scene.source.known_job = SILENT
    running = asyncio.create_task(scene.run())
    await until(lambda: scene.source.calls.count("cancel") >= 2)
    scene.source.known_job = job(JobState.ENDED, "operation aborted")
    final = await running
    assert (final.state, final.error) == (MigrationState.CANCELLED, "")


async def test_no_target_any_more_ends_the_migration_with_the_reasons(scene):
    scene.put(MigrationState.QUEUED)
    full = scene.two.hosts[1].memory_total_bytes
    scene.two.report(scene.two.hosts[1], used_bytes=full)
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert "kvm-02 has 0 MiB free" in final.error


async def test_a_backend_that_lost_the_leadership_leaves_the_migration_to_the_next(scene):
    scene.put(MigrationState.QUEUED)
    scene.etcd.put(keys.LEADER, b"backend-2")
    with pytest.raises(GodwitError) as caught:
        await scene.run()
    assert caught.value.code is ErrorCode.NOT_LEADING
    assert scene.source.calls == []
