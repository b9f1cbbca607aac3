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
from backend.fleet.server_view import standing
from backend.leader import Leadership
from backend.migrations.drive import Drive
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.runner import Runner
from wire import keys
from wire.agent import (
    BreakOffCommand,
    GuestTruth,
    Job,
    JobDetail,
    JobState,
    MigrateCommand,
    ServerCommand,
)
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, OwnerPhase, PowerState, ServerRecord, StoragePool
from wire.forecast import Basis
from wire.life import HealthValue
from wire.migration import (
    Kept,
    Migration,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Note,
    PostcopyState,
)
from wire.rescue import Incident
from wire.storage import (
    DiscardCommand,
    Discarded,
    FileRole,
    Incoming,
    IncomingFile,
    PrepareCommand,
    ReleaseCommand,
    ServerStorage,
    StorageFile,
)

RUNNING, PAUSED, ABSENT = PowerState.RUNNING, PowerState.PAUSED, PowerState.ABSENT
SILENT = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
UNKNOWN_JOB = GodwitError(ErrorCode.NOT_FOUND, "no such job")
KEPT = Kept(kind="log", path="/kept/web-1.log", size_bytes=9)
Answer = PowerState | GuestTruth | GodwitError


class ScriptedAgent:
    """Answers what its script says; the last answer stays."""

    def __init__(self, *truths: Answer) -> None:
        self.truths = list(truths)
        self.on_migrate: Callable[[], Job | GodwitError] = lambda: job(JobState.ENDED)
        self.known_job: Job | GodwitError = UNKNOWN_JOB
        self.calls: list[str] = []
        self.files: tuple[StorageFile, ...] = ()
        self.disk_refusal = ""
        self.present: tuple[str, ...] = ()
        self.command: MigrateCommand | None = None
        self.prepared: PrepareCommand | None = None
        self.discarded: DiscardCommand | None = None
        self.released: ReleaseCommand | None = None
        self.refusal: GodwitError | None = None

    async def truth(self, server_id: str) -> GuestTruth:
        answer = self.truths.pop(0) if len(self.truths) > 1 else self.truths[0]
        if isinstance(answer, GodwitError):
            raise answer
        if isinstance(answer, GuestTruth):
            return answer
        return GuestTruth(server_id=server_id, state=answer)

    async def migrate(self, command: MigrateCommand) -> Job:
        self.calls.append("migrate")
        self.command = command
        return given(self.on_migrate())

    async def job(self, *_: object) -> JobDetail:
        return JobDetail(job=given(self.known_job))

    async def cancel(self, *_: object) -> Job:
        self.calls.append("cancel")
        return given(self.known_job)

    async def storage(self, server_id: str) -> ServerStorage:
        return ServerStorage(
            server_id=server_id,
            name="web-1",
            definition="<domain/>",
            files=self.files,
            disk_refusal=self.disk_refusal,
        )

    async def prepare(self, command: PrepareCommand) -> Incoming:
        self.calls.append("prepare")
        self.prepared = command
        files = tuple(
            IncomingFile(
                source_path=one.path,
                path=f"/there{one.path}",
                role=one.role,
                present=one.path in self.present,
            )
            for one in command.files
        )
        return Incoming(migration_id="m1", server_id=command.server_id, files=files)

    async def discard(self, _: str, command: DiscardCommand) -> Discarded:
        self.calls.append("discard")
        self.discarded = command
        return Discarded(kept=(KEPT,) if command.keep else ())

    async def break_off(self, server_id: str, command: BreakOffCommand) -> GuestTruth:
        self.calls.append(f"break off {command.source_address}")
        if self.refusal is not None:
            raise self.refusal
        return await self.truth(server_id)

    async def recover(self, *_: object) -> Job:
        self.calls.append("recover")
        return given(self.known_job)

    async def remove(self, server_id: str, _: ServerCommand) -> GuestTruth:
        self.calls.append("remove")
        if self.refusal is not None:
            raise self.refusal
        self.truths = [ABSENT]
        return GuestTruth(server_id=server_id, state=ABSENT)

    async def release(self, server_id: str, command: ReleaseCommand) -> GuestTruth:
        self.calls.append("release")
        self.released = command
        return GuestTruth(server_id=server_id, state=ABSENT)

    async def complete(self, _: str) -> None:
        self.calls.append("complete")

    async def start(self, server_id: str, _: ServerCommand) -> GuestTruth:
        self.calls.append("start")
        self.truths = [RUNNING]
        return GuestTruth(server_id=server_id, state=RUNNING)

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

    def lose(self, host_id: str) -> None:
        """Have a host lose its health key."""
        self.two.fleet.put_health(host_id, None)
        name = "kvm-01" if host_id == "host-1" else "kvm-02"
        life = HealthValue(boot_id="b", epoch=3)
        self.two.fleet.put_life(host_id, life)
        self.etcd.put(keys.LIVES + host_id, msgspec.json.encode(life))
        self.incident = Incident(
            incident_id="i1", host_id=host_id, host_name=name, life=life, lost_at_ms=1
        )
        self.two.fleet.put_incident("i1", self.incident)

    def prove(self, host_id: str) -> None:
        """Have its incident say that it is dead."""
        assert self.incident.host_id == host_id
        self.two.fleet.put_incident("i1", msgspec.structs.replace(self.incident, dead_at_ms=2))

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


async def test_the_record_keeps_what_was_expected(scene, make_host):
    scene.two.fleet.put_facts("host-1", make_host(1, link_bytes_per_s=1_250_000_000))
    scene.two.fleet.put_facts("host-2", make_host(2, link_bytes_per_s=125_000_000))
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: moved(scene)
    forecast = (await scene.run()).forecast
    assert forecast.basis is Basis.GUESSED
    assert forecast.bandwidth_bytes_per_s < 125_000_000  # the slower one of both ends
    assert forecast.sent_bytes == scene.two.server.memory_bytes


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


@pytest.mark.parametrize("source", [PAUSED, RUNNING])
async def test_nothing_is_settled_before_the_target_says_that_its_copy_is_gone(
    scene, monkeypatch, source
):
    monkeypatch.setattr("backend.migrations.deciding._PATIENCE_S", 60 if source is PAUSED else 0)
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.source.truths, scene.target.truths = [source], [INCOMING]
    scene.target.refusal = GodwitError(ErrorCode.LIBVIRT, "libvirtd hangs")
    running = asyncio.create_task(scene.run())
    await until(lambda: scene.target.calls.count("remove") >= 2)
    assert (scene.source.calls, scene.record.owner.phase) == ([], OwnerPhase.MIGRATING)
    waits_for = "kvm-02 still holds a copy of web-1, which has to be gone first: libvirtd hangs"
    known = scene.two.fleet.migrations["m1"]
    assert [note.text for note in known.notes] == [waits_for]
    assert waits_for in standing(scene.two.fleet, scene.record).reason
    scene.target.refusal = None
    final = await running
    assert (final.outcome, final.error) == ("web-1 runs on kvm-01", "lost the link")
    assert scene.source.calls == (["resume"] if source is PAUSED else [])
    assert scene.two.fleet.waiting == {}


async def test_a_paused_source_waits_until_its_target_is_dead_and_runs_again(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths, scene.target.truths = [PAUSED], [SILENT]
    scene.lose("host-2")
    running = asyncio.create_task(scene.run())
    await asyncio.sleep(1.5)
    assert not running.done()
    assert "resume" not in scene.source.calls
    scene.prove("host-2")
    final = await running
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert "resume" in scene.source.calls


async def test_what_a_dead_source_left_on_its_target_is_removed_before_the_end(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.truths, scene.target.truths = [SILENT], [INCOMING]
    scene.lose("host-1")
    scene.prove("host-1")
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert scene.target.calls[0] == "remove"
    owner = scene.record.owner
    assert (owner.host_id, owner.generation) == ("host-1", 1)
    assert owner.phase is OwnerPhase.SETTLED


async def test_a_server_that_died_with_its_target_starts_again_on_its_source(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths, scene.target.truths = [PowerState.SHUT_OFF], [SILENT]
    scene.lose("host-2")
    scene.prove("host-2")
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert "start" in scene.source.calls


async def test_a_server_that_died_with_its_target_is_started_until_it_runs(scene, monkeypatch):
    monkeypatch.setattr("backend.migrations.deciding._START_AGAIN_S", 0)
    scene.put_begun(MigrationState.SWITCHING_OVER)
    scene.source.known_job = job(JobState.ENDED)
    scene.source.truths, scene.target.truths = [PowerState.SHUT_OFF], [SILENT]
    scene.lose("host-2")
    scene.prove("host-2")
    start, tries = scene.source.start, []

    async def refuse_twice(server_id: str, command: ServerCommand) -> GuestTruth:
        tries.append(standing(scene.two.fleet, scene.record).reason)
        if len(tries) < 3:
            raise GodwitError(ErrorCode.NOT_READY, "kvm-01 is not ready yet")
        return await start(server_id, command)

    scene.source.start = refuse_twice
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    waits_for = (
        "web-1 died with kvm-02 and is to be started again on kvm-01: kvm-01 is not ready yet"
    )
    assert final.notes[0].text == waits_for
    assert "kvm-02 is offline" in tries[-1]
    assert waits_for in tries[-1]


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
        (PowerState.SHUT_OFF, ABSENT, "shut_off on kvm-01"),
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


SUSPENDED = GuestTruth(server_id="id-web-1", state=PAUSED, state_detail="user")
HALTED = GuestTruth(server_id="id-web-1", state=PAUSED, state_detail="migrating")
INCOMING = GuestTruth(server_id="id-web-1", state=PAUSED, incoming=True)
HALF = GuestTruth(server_id="id-web-1", state=PAUSED, state_detail="post-copy failed")
LOCAL = StorageFile(path="/l/web-1.img", role=FileRole.DISK, disk_target="vdb", file_bytes=9)
CACHED = StorageFile(path="/l/base.img", role=FileRole.BACKING, owned=False)


def with_local_disk(scene: Scene) -> None:
    """web-1 has a local disk too, on an image of a cache, and kvm-02 has room for it."""
    two = scene.two
    pool = StoragePool(
        pool_id="p2", name="local", shared=False, path="/l", capacity_bytes=9, available_bytes=9
    )
    two.hosts = [msgspec.structs.replace(one, pools=(*one.pools, pool)) for one in two.hosts]
    local = Disk(target="vdb", source="/l/web-1.img", pool_id="p1", pool_name="local")
    two.server = msgspec.structs.replace(two.server, disks=(*two.server.disks, local))
    for host in two.hosts:
        two.add_host(host)
    two.report(two.hosts[0], two.server)
    two.report(two.hosts[1])
    shared = StorageFile(path="/shared/web-1.img", role=FileRole.DISK, shared=True)
    scene.source.files = (shared, LOCAL, CACHED)


async def test_room_is_made_for_local_disks_and_what_is_left_behind_is_released(scene):
    with_local_disk(scene)
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: moved(scene)
    owners = []
    release = scene.source.release

    async def note_owner(server_id: str, command: ReleaseCommand) -> GuestTruth:
        owners.append(scene.record.owner)
        return await release(server_id, command)

    scene.source.release = note_owner
    final = await scene.run()
    assert final.state is MigrationState.SUCCEEDED
    assert [one.path for one in scene.target.prepared.files] == ["/l/web-1.img"]
    assert scene.target.prepared.kind == "live"
    assert [one.path for one in scene.source.command.disks] == ["/there/l/web-1.img"]
    assert scene.source.released.paths == ("/l/web-1.img",)
    assert scene.source.released.generation == 2
    assert [(one.host_id, one.phase) for one in owners] == [("host-2", OwnerPhase.MIGRATING)]
    assert scene.target.calls == ["prepare", "complete"]
    assert scene.record.owner.phase is OwnerPhase.SETTLED


@pytest.mark.parametrize(
    ("present", "paused", "left"),
    [((), False, ("/nvram/web-1.fd",)), (("/nvram/web-1.fd",), False, ()), ((), True, ())],
)
async def test_uefi_variables_are_deleted_only_if_the_target_has_its_own_by_then(
    scene, present, paused, left
):
    two = scene.two
    nvram = StorageFile(path="/nvram/web-1.fd", role=FileRole.NVRAM)
    two.server = msgspec.structs.replace(two.server, nvram_path=nvram.path)
    two.report(two.hosts[0], two.server)
    scene.source.files = (nvram,)
    scene.target.present = present
    if paused:
        scene.source.truths = [SUSPENDED]
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: moved(scene)
    final = await scene.run()
    assert final.state is MigrationState.SUCCEEDED
    assert (final.source_paths, scene.source.command.leaves) == (left, left)
    assert scene.source.command.disks == ()
    assert ("release" in scene.source.calls) is bool(left)


async def test_a_disk_that_cannot_be_copied_ends_it_before_anything_is_made(scene):
    with_local_disk(scene)
    scene.source.disk_refusal = "vdb is /dev/vg/x, a block disk that only this host reaches"
    scene.put(MigrationState.QUEUED)
    final = await scene.run()
    assert (final.state, final.error) == (MigrationState.FAILED, scene.source.disk_refusal)
    assert (scene.source.calls, scene.target.calls) == ([], ["discard"])


async def test_a_takeover_after_the_ownership_moved_still_releases_the_source(scene):
    scene.put_begun(MigrationState.COMPLETING, source_paths=("/l/web-1.img",))
    moved(scene)
    final = await scene.run()
    assert final.state is MigrationState.SUCCEEDED
    assert scene.source.released.paths == ("/l/web-1.img",)
    assert scene.record.owner.generation == 2


async def test_local_disks_get_room_although_the_source_reports_nothing_just_then(scene):
    with_local_disk(scene)
    scene.put_begun(MigrationState.PREPARING)
    scene.two.fleet.reports.pop("host-1")
    scene.source.on_migrate = lambda: moved(scene)
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert [one.disk_target for one in scene.target.prepared.files] == ["vdb"]
    assert [one.path for one in scene.source.command.disks] == ["/there/l/web-1.img"]


async def test_a_server_of_shared_disks_needs_no_room_and_leaves_nothing(scene):
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: moved(scene)
    assert (await scene.run()).state is MigrationState.SUCCEEDED
    assert scene.target.calls == []
    assert scene.source.calls == ["migrate"]


async def test_whatever_fails_takes_away_what_was_made_on_the_target(scene):
    with_local_disk(scene)
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: job(JobState.ENDED, "No space left on device")
    final = await scene.run()
    assert (final.state, final.error) == (MigrationState.FAILED, "No space left on device")
    assert scene.target.calls == ["prepare", "discard"]
    assert not scene.target.discarded.keep
    assert scene.source.calls == ["migrate"]


async def test_a_refusal_after_room_was_made_takes_it_away(scene):
    with_local_disk(scene)
    scene.put(MigrationState.QUEUED)
    scene.source.on_migrate = lambda: GodwitError(ErrorCode.LIBVIRT, "no")
    assert (await scene.run()).state is MigrationState.FAILED
    assert scene.target.calls == ["prepare", "discard"]


async def test_what_runs_on_the_target_unasked_is_left_alone(scene):
    scene.put(MigrationState.QUEUED)
    scene.target.truths = [RUNNING]
    assert (await scene.run()).state is MigrationState.FAILED
    assert scene.target.calls == []


async def test_what_a_failure_leaves_is_kept_if_that_was_asked_for(scene):
    options = MigrationOptions(keep_dest_guest_on_failed=True)
    scene.put_begun(MigrationState.COPYING_MEMORY, options=options)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    final = await scene.run()
    assert final.kept == (KEPT,)
    assert scene.target.discarded.keep
    record = msgspec.json.decode(scene.target.discarded.job_record, type=Migration)
    assert record.error == "lost the link"


async def test_a_paused_copy_on_the_target_ends_while_the_guest_runs_on_its_source(
    scene, monkeypatch
):
    monkeypatch.setattr("backend.migrations.deciding._PATIENCE_S", 0)
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.target.truths = [INCOMING]
    final = await scene.run()
    assert scene.target.calls == ["remove", "discard"]
    assert (final.outcome, final.error) == ("web-1 runs on kvm-01", "lost the link")


@pytest.mark.parametrize(
    ("source_paths", "borrowed", "calls"),
    [((), False, ["discard"]), (("/l/web-1.img",), False, []), ((), True, [])],
    ids=["shared", "moved", "copied and left to others"],
)
async def test_a_guest_that_died_on_both_hosts_leaves_a_definition_unless_its_disks_moved(
    scene, source_paths, borrowed, calls
):
    if borrowed:
        with_local_disk(scene)
    scene.put_begun(MigrationState.SWITCHING_OVER, source_paths=source_paths)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.source.truths = scene.target.truths = [PowerState.SHUT_OFF]
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 is stopped on kvm-01")
    assert scene.target.calls == calls


async def test_a_target_that_cannot_be_cleared_is_told_of_and_ends_nothing(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.target.truths = [SILENT]
    scene.two.fleet.put_health("host-2", None)

    async def away(*_: object) -> Discarded:
        raise SILENT

    scene.target.discard = away
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert "kvm-02 may still hold files" in final.notes[-1].text


async def test_a_paused_guest_moves_and_stays_paused(scene):
    scene.put(MigrationState.QUEUED)
    scene.source.truths = [SUSPENDED]

    def arrived() -> Job:
        scene.source.truths, scene.target.truths = [ABSENT], [SUSPENDED]
        return job(JobState.ENDED)

    scene.source.on_migrate = arrived
    final = await scene.run()
    assert (final.state, final.outcome, final.paused) == (
        MigrationState.SUCCEEDED,
        "web-1 is paused on kvm-02",
        True,
    )


async def test_a_guest_that_a_person_paused_is_not_resumed_after_a_failure(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER, paused=True)
    scene.source.known_job = job(JobState.ENDED, "lost the link")
    scene.source.truths = [HALTED]
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 is paused on kvm-01")
    assert "resume" not in scene.source.calls


async def test_what_was_changed_before_the_start_is_what_the_source_is_told(scene):
    parameters = MigrationParameters(max_bandwidth_bytes_per_s=5 << 20, downtime_limit_ms=700)
    scene.put(MigrationState.QUEUED, parameters=parameters)
    scene.source.on_migrate = lambda: moved(scene)
    await scene.run()
    options = scene.source.command.options
    assert (options.max_bandwidth_bytes_per_s, options.downtime_limit_ms) == (5 << 20, 700)


@pytest.mark.parametrize(("here", "there"), [(True, True), (True, False), (False, True)])
async def test_post_copy_is_offered_if_both_hosts_can(scene, here, there):
    scene.put(MigrationState.QUEUED)
    for host, can in zip(scene.two.hosts, (here, there), strict=True):
        scene.two.add_host(msgspec.structs.replace(host, postcopy=can))
    scene.source.on_migrate = lambda: moved(scene)
    await scene.run()
    assert scene.source.command.postcopy == (here and there)


def postcopy_job(postcopy: PostcopyState, state: JobState, text: str) -> Job:
    return msgspec.structs.replace(job(state), postcopy=postcopy, notes=(Note(at_ms=1, text=text),))


async def test_post_copy_and_the_agents_notes_reach_the_record_while_it_runs(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.known_job = postcopy_job(PostcopyState.ACTIVE, JobState.SWITCHING_OVER, "over")
    running = asyncio.create_task(scene.run())
    await until(lambda: scene.two.fleet.migrations["m1"].postcopy is PostcopyState.ACTIVE)
    assert [one.text for one in scene.two.fleet.migrations["m1"].notes] == ["over"]
    moved(scene)
    scene.jobs.put(postcopy_job(PostcopyState.ACTIVE, JobState.ENDED, "done"))
    final = await running
    assert final.state is MigrationState.SUCCEEDED
    assert [one.text for one in final.notes] == ["done", "over"]


async def test_two_halves_are_waited_for_until_they_are_one(scene, monkeypatch):
    monkeypatch.setattr("backend.migrations.deciding._PATIENCE_S", 0)
    scene.put_begun(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.PAUSED)
    scene.source.known_job = postcopy_job(PostcopyState.PAUSED, JobState.ENDED, "paused")
    scene.source.truths = scene.target.truths = [HALF]
    running = asyncio.create_task(scene.run())
    await asyncio.sleep(2)
    assert not running.done()
    moved(scene)
    assert (await running).state is MigrationState.SUCCEEDED
    assert "resume" not in scene.source.calls


async def test_a_half_whose_other_half_is_gone_is_lost_whatever_its_job_says(scene, monkeypatch):
    monkeypatch.setattr("backend.migrations.deciding._PATIENCE_S", 0)
    scene.put_begun(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.PAUSED)
    scene.source.known_job = postcopy_job(PostcopyState.PAUSED, JobState.COPYING_MEMORY, "paused")
    scene.source.truths = [msgspec.structs.replace(HALF, job_active=True)]
    scene.target.truths = [ABSENT]
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert final.outcome.startswith("web-1 is lost: it ran in post-copy")
    assert scene.record.owner.phase is OwnerPhase.LOST


async def test_a_runner_stops_when_a_person_settles_what_it_waits_for(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.PAUSED)
    scene.source.known_job = postcopy_job(PostcopyState.PAUSED, JobState.COPYING_MEMORY, "paused")
    scene.source.truths = [msgspec.structs.replace(HALF, job_active=True)]
    scene.target.truths = [msgspec.structs.replace(INCOMING, job_active=True)]
    running = asyncio.create_task(scene.run())
    await until(lambda: bool(scene.two.fleet.migrations["m1"].notes))

    def ended(known: Migration) -> Migration:
        return msgspec.structs.replace(known, state=MigrationState.FAILED)

    await scene.drive.journal.advance("m1", ended)
    assert (await running).state is MigrationState.FAILED
    assert (scene.source.calls, scene.target.calls) == ([], [])


async def test_half_of_a_guest_whose_source_is_dead_is_ended_and_the_server_given_back(scene):
    scene.put_begun(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.ACTIVE)
    scene.lose("host-1")
    scene.prove("host-1")
    scene.source.truths, scene.target.truths = [SILENT], [HALF]
    final = await scene.run()
    assert final.state is MigrationState.FAILED
    assert scene.target.calls[0] == "remove"
    owner = scene.record.owner
    assert (owner.host_id, owner.phase) == ("host-1", OwnerPhase.SETTLED)


def cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch, target: GuestTruth) -> None:
    """A post-copy that broke off, whose source keeps its half with a job for ever."""
    monkeypatch.setattr("backend.migrations.deciding._PATIENCE_S", 0)
    monkeypatch.setattr("backend.migrations.recovery._AGAIN_S", 0.1)
    monkeypatch.setattr("backend.migrations.recovery._NOTICED_S", 0)
    scene.put_begun(MigrationState.COPYING_MEMORY, postcopy=PostcopyState.PAUSED)
    scene.source.known_job = postcopy_job(PostcopyState.PAUSED, JobState.COPYING_MEMORY, "cut")
    scene.source.truths = [msgspec.structs.replace(HALF, job_active=True)]
    scene.target.truths = [target]


WHOLE = GuestTruth(server_id="id-web-1", state=RUNNING, state_detail="migrated")
ARRIVING = msgspec.structs.replace(HALF, state=RUNNING, state_detail="post-copy", job_active=True)


async def test_a_guest_that_became_whole_by_itself_has_moved_and_its_half_is_ended(
    scene, monkeypatch
):
    cut_off(scene, monkeypatch, WHOLE)
    owners = []
    remove = scene.source.remove

    async def note_owner(server_id: str, command: ServerCommand) -> GuestTruth:
        owners.append((scene.record.owner.host_id, command.generation))
        return await remove(server_id, command)

    scene.source.remove = note_owner
    final = await scene.run()
    assert (final.state, final.outcome, final.advice) == (
        MigrationState.SUCCEEDED,
        "web-1 runs on kvm-02",
        "",
    )
    assert owners == [("host-2", 2)]
    assert scene.source.calls == ["remove", "release"]
    assert final.postcopy is PostcopyState.ACTIVE
    assert final.notes[-1].text == "post-copy went on without a recovery"
    assert (scene.record.owner.host_id, scene.record.owner.phase) == (
        "host-2",
        OwnerPhase.SETTLED,
    )


async def test_a_half_that_cannot_be_ended_is_told_with_what_ends_it(scene, monkeypatch):
    cut_off(scene, monkeypatch, WHOLE)
    scene.source.refusal = GodwitError(ErrorCode.CONFLICT, "it does not end")
    final = await scene.run()
    assert final.outcome == "web-1 runs on kvm-02; kvm-01 still holds a paused copy"
    assert "server-settle --keep-host kvm-02" in final.advice
    assert final.notes[-1].text == "kvm-01 may still hold half of web-1: it does not end"


@pytest.mark.parametrize(
    "target", [ARRIVING, msgspec.structs.replace(WHOLE, job_active=True), INCOMING]
)
async def test_a_target_that_still_receives_keeps_the_half_that_it_needs(
    scene, monkeypatch, target
):
    cut_off(scene, monkeypatch, target)
    running = asyncio.create_task(scene.run())
    await asyncio.sleep(2)
    assert not running.done()
    assert (scene.source.calls, scene.target.calls) == ([], [])
    running.cancel()


async def test_a_definition_that_libvirt_left_on_the_source_is_released(scene):
    scene.put_begun(MigrationState.COPYING_MEMORY)
    scene.source.truths, scene.target.truths = [PowerState.SHUT_OFF], [RUNNING]
    final = await scene.run()
    assert (final.state, final.outcome) == (MigrationState.SUCCEEDED, "web-1 runs on kvm-02")
    assert (scene.source.calls, scene.source.released.paths) == (["release"], ())


def asked_for(scene: Scene, monkeypatch: pytest.MonkeyPatch, target: GuestTruth) -> None:
    """A post-copy that broke off and is to go on."""
    cut_off(scene, monkeypatch, target)
    scene.put_begun(
        MigrationState.COPYING_MEMORY,
        postcopy=PostcopyState.PAUSED,
        recovery_requested_by="alice",
    )


async def test_a_recovery_that_is_wanted_is_tried_until_post_copy_goes_on(scene, monkeypatch):
    asked_for(scene, monkeypatch, ARRIVING)
    scene.target.refusal = GodwitError(ErrorCode.CONFLICT, "not permitted")
    running = asyncio.create_task(scene.run())
    await until(lambda: scene.source.calls.count("recover") >= 2)
    assert scene.target.calls[:2] == ["break off 10.77.1.11"] * 2
    scene.source.known_job = postcopy_job(PostcopyState.ACTIVE, JobState.COPYING_MEMORY, "on")
    scene.jobs.put(scene.source.known_job)
    await until(lambda: not scene.two.fleet.migrations["m1"].recovery_requested_by)
    tried = len(scene.source.calls)
    await asyncio.sleep(1.5)
    assert len(scene.source.calls) == tried
    moved(scene)
    scene.jobs.put(postcopy_job(PostcopyState.ACTIVE, JobState.ENDED, "done"))
    final = await running
    assert final.state is MigrationState.SUCCEEDED
    assert [one.text for one in final.notes].count("not permitted") == 1


@pytest.mark.parametrize(
    ("target", "recovering"), [(INCOMING, False), (HALF, True)], ids=["not begun", "under way"]
)
async def test_a_recovery_waits_for_a_target_to_begin_and_for_the_one_before(
    scene, monkeypatch, target, recovering
):
    asked_for(scene, monkeypatch, target)
    scene.source.known_job = msgspec.structs.replace(scene.source.known_job, recovering=recovering)
    running = asyncio.create_task(scene.run())
    await asyncio.sleep(1.5)
    assert (scene.source.calls, scene.target.calls) == ([], [])
    running.cancel()


async def test_a_host_that_took_half_of_a_guest_with_it_is_waited_for_until_it_is_dead(
    scene, monkeypatch
):
    cut_off(scene, monkeypatch, HALF)
    scene.target.truths = [SILENT]
    scene.lose("host-2")
    running = asyncio.create_task(scene.run())
    await asyncio.sleep(2)
    assert not running.done()
    scene.prove("host-2")
    final = await running
    assert final.outcome.startswith("web-1 is lost: it ran in post-copy")
