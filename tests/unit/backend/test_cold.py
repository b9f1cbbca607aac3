"""A cold migration against a real journal: every step, every fault, every crash of the leader."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from backend.migrations.cold import ColdRunner
from wire import keys
from wire.agent import Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, OwnerPhase, PowerState, StoragePool
from wire.migration import (
    Migration,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Sample,
    Statistics,
)
from wire.storage import FileRole, StorageFile

SHUT_OFF, RUNNING, ABSENT = PowerState.SHUT_OFF, PowerState.RUNNING, PowerState.ABSENT
DISK = StorageFile(
    path="/l/web-1.img", role=FileRole.DISK, file_bytes=9, data_bytes=5, modified_ns=7
)
BASE = StorageFile(path="/l/base.img", role=FileRole.BACKING, file_bytes=4, owned=False)
SHARED = StorageFile(path="/shared/web-1.img", role=FileRole.DISK, shared=True)
AWAY = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
NO_LIBVIRT = GodwitError(ErrorCode.LIBVIRT, "libvirt says no")
REFUSED = GodwitError(ErrorCode.CONFLICT, "that is refused")


class Crash(BaseException):
    """The leader dies here."""


@pytest.fixture
def local(stage):
    """web-1 is stopped, with a local disk on an image of a cache, and kvm-02 has room."""
    two = stage.two
    pool = StoragePool(
        pool_id="p2", name="local", shared=False, path="/l", capacity_bytes=9, available_bytes=9
    )
    two.hosts = [msgspec.structs.replace(one, pools=(*one.pools, pool)) for one in two.hosts]
    disk = Disk(target="vdb", source="/l/web-1.img", pool_id="p1", pool_name="local")
    two.server = msgspec.structs.replace(two.server, disks=(*two.server.disks, disk))
    for host in two.hosts:
        two.add_host(host)
    two.report(two.hosts[1])
    stage.here.files = (SHARED, DISK, BASE)
    stage.here.digests = {DISK.path: "d1", BASE.path: "d2"}
    begin(stage)
    return stage


def begin(stage, **changes: object) -> None:
    stage.put_server(SHUT_OFF, phase=OwnerPhase.MIGRATING, migration_id="m1")
    values = {"kind": "cold", "target_host_id": "", "target_host_name": ""}
    stage.put_migration(MigrationState.QUEUED, **(values | changes))


async def run(stage) -> Migration:
    await asyncio.wait_for(ColdRunner(stage.drive, "m1").run(), 60)
    return stage.migration


def raises(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def once(error: BaseException) -> Callable[[], None]:
    errors = [error]

    def fail() -> None:
        if errors:
            raise errors.pop()

    return fail


def assert_moved(stage, final: Migration) -> None:
    assert (final.state, final.outcome, final.error) == (
        MigrationState.SUCCEEDED,
        "web-1 is stopped on kvm-02",
        "",
    )
    assert (stage.here.state, stage.there.state) == (ABSENT, SHUT_OFF)
    assert stage.here.files == (SHARED, BASE)
    owner = stage.owner
    assert (owner.host_id, owner.generation, owner.phase, owner.migration_id) == (
        "host-2",
        2,
        OwnerPhase.SETTLED,
        "",
    )


def assert_stayed(stage, final: Migration, words: str) -> None:
    assert final.state is MigrationState.FAILED
    assert words in final.error
    assert final.outcome == "web-1 is stopped on kvm-01"
    assert (stage.here.state, stage.there.state) == (SHUT_OFF, ABSENT)
    assert stage.here.files == (SHARED, DISK, BASE)
    assert stage.there.incoming is None
    owner = stage.owner
    assert (owner.host_id, owner.generation, owner.phase) == ("host-1", 1, OwnerPhase.SETTLED)


HERE = ["truth", "storage", "export", "exported", "storage", "close_export", "truth", "release"]
THERE = ["truth", "prepare", "pull", "define", "truth", "complete"]


async def test_a_stopped_server_moves_with_its_files(local):
    final = await run(local)
    assert_moved(local, final)
    assert local.here.calls == HERE
    assert local.there.calls == THERE
    assert final.target_host_name == "kvm-02"
    assert final.statistics.disk_transferred_bytes == 9
    assert final.started_at_ms <= final.finished_at_ms
    pull = local.there.commands["pull"]
    assert [(one.source_path, one.export_name, one.path) for one in pull.files] == [
        ("/l/web-1.img", "x/l/web-1.img", "/there/l/web-1.img"),
        ("/l/base.img", "x/l/base.img", "/there/l/base.img"),
    ]
    assert (pull.source_host_name, pull.source_address, pull.port) == (
        "kvm-01",
        "10.77.1.11",
        10809,
    )
    assert local.there.commands["define"].snapshots == ("<snapshot/>",)
    release = local.here.commands["release"]
    assert (release.paths, release.generation) == ((DISK.path,), 2)


async def test_a_server_of_shared_disks_moves_its_definition_only(stage):
    stage.here.files = (SHARED,)
    begin(stage)
    final = await run(stage)
    assert final.state is MigrationState.SUCCEEDED
    assert "export" not in stage.here.calls
    assert stage.there.calls == ["truth", "prepare", "define", "truth", "complete"]
    assert stage.here.commands["release"].paths == ()


async def test_a_file_that_is_there_already_and_equal_is_not_copied(local):
    local.there.present = {BASE.path: "d2"}
    assert_moved(local, await run(local))
    assert local.here.commands["export"].digest_first == (BASE.path,)
    assert [one.source_path for one in local.there.commands["pull"].files] == [DISK.path]


async def test_a_file_of_that_name_that_differs_is_copied(local):
    local.there.present = {BASE.path: "other"}
    assert_moved(local, await run(local))
    assert len(local.there.commands["pull"].files) == 2


CALLS = [("here", name) for name in dict.fromkeys(HERE)] + [("there", name) for name in THERE]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("host", "name"), CALLS)
async def test_a_leader_that_dies_at_any_call_leaves_a_move_that_the_next_ends(
    local, host, name, when
):
    agent = getattr(local, host)
    getattr(agent, when)[name] = once(Crash())
    with pytest.raises(Crash):
        await run(local)
    assert not local.migration.state.ended
    assert_moved(local, await run(local))


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_leader_that_dies_after_any_journal_write_leaves_a_move_that_the_next_ends(
    local, monkeypatch, at
):
    etcd = local.drive.journal._etcd
    transact = etcd.transact
    writes = 0

    async def counted(*arguments: object) -> int:
        nonlocal writes
        done = await transact(*arguments)
        writes += 1
        if writes == at:
            raise Crash
        return done

    monkeypatch.setattr(etcd, "transact", counted)
    with pytest.raises(Crash):
        await run(local)
    monkeypatch.setattr(etcd, "transact", transact)
    resync(local)
    assert_moved(local, await run(local))


def resync(stage) -> None:
    """What a new leader's watch shows: the fleet model as etcd has it."""
    migration = stage.migration
    stage.two.fleet.migrations["m1"] = migration
    item = stage.etcd.get(keys.SERVERS + "id-web-1")
    record = msgspec.json.decode(item.value, type=type(stage.two.fleet.records["id-web-1"]))
    stage.two.fleet.put_record("id-web-1", record)


@pytest.mark.parametrize(
    ("host", "name"), [one for one in CALLS if one[1] not in {"release", "complete"}]
)
async def test_a_refusal_at_any_step_leaves_the_source_as_it_was(local, host, name):
    getattr(local, host).before[name] = once(REFUSED)
    assert_stayed(local, await run(local), "that is refused")


@pytest.mark.parametrize("name", ["release", "complete"])
async def test_once_the_target_owns_it_a_short_fault_is_waited_for(local, name):
    agent = local.here if name == "release" else local.there
    agent.before[name] = once(AWAY)
    assert_moved(local, await run(local))


@pytest.mark.parametrize("error", [AWAY, NO_LIBVIRT])
@pytest.mark.parametrize(("host", "name"), CALLS)
async def test_a_program_that_is_away_for_a_moment_is_waited_for(local, host, name, error):
    getattr(local, host).before[name] = once(error)
    assert_moved(local, await run(local))


@pytest.mark.parametrize(("host", "name"), [("there", "prepare"), ("there", "define")])
async def test_what_libvirt_says_for_long_is_a_refusal(local, monkeypatch, host, name):
    monkeypatch.setattr("backend.migrations.patience.LIBVIRT_PATIENCE_S", 1.0)
    getattr(local, host).before[name] = raises(NO_LIBVIRT)
    assert_stayed(local, await run(local), "libvirt says no")


async def test_a_copy_that_breaks_off_goes_on(local):
    broken = Job(
        migration_id="m1",
        server_id="id-web-1",
        state=JobState.ENDED,
        error="Connection reset by peer",
        resumable=True,
    )
    local.there.pull_jobs = [broken, broken]
    final = await run(local)
    assert_moved(local, final)
    assert local.there.calls.count("pull") == 3
    assert local.here.calls.count("export") == 3
    assert "Connection reset by peer" in final.notes[0].text


async def test_a_copy_that_cannot_go_on_fails_with_its_text(local):
    full = Job(
        migration_id="m1",
        server_id="id-web-1",
        state=JobState.ENDED,
        error="write failed: No space left on device",
    )
    local.there.pull_jobs = [full]
    assert_stayed(local, await run(local), "write failed: No space left on device")


async def test_a_copy_without_progress_fails_once_patience_is_over(local, monkeypatch):
    monkeypatch.setattr("backend.migrations.patience.PATIENCE_S", 1.0)
    local.there.before["pull"] = raises(AWAY)
    final = await run(local)
    assert_stayed(local, final, "no answer")
    assert "nothing went on for" in final.error


async def test_with_both_hosts_offline_there_is_nothing_to_wait_for(local, monkeypatch):
    monkeypatch.setattr("backend.migrations.patience.BOTH_AWAY_S", 0.5)
    local.there.before["pull"] = raises(AWAY)
    for host in ("host-1", "host-2"):
        local.there.after["prepare"] = lambda: None
        local.here.after["export"] = lambda: [
            local.two.fleet.put_health(one, None) for one in ("host-1", "host-2")
        ]
        del host
    final = await run(local)
    assert final.state is MigrationState.FAILED
    assert "kvm-01 and kvm-02 are both offline" in final.error


async def test_copies_that_differ_never_replace_the_source(local):
    wrong = Job(
        migration_id="m1",
        server_id="id-web-1",
        state=JobState.ENDED,
        digests={DISK.path: "dX", BASE.path: "d2"},
    )
    local.there.pull_jobs = [wrong]
    assert_stayed(local, await run(local), "/l/web-1.img on kvm-02 is not equal")


@pytest.mark.parametrize("name", ["export", "exported", "close_export"])
async def test_files_that_were_changed_meanwhile_are_not_used(local, name):
    def change() -> None:
        local.here.changed = "web-1 was started"

    local.here.before[name] = change
    assert_stayed(local, await run(local), "web-1 was started")


@pytest.mark.parametrize("files", [(), (SHARED, DISK, BASE)])
async def test_a_server_started_by_hand_stays_where_it_is(local, files):
    local.here.files = files

    def start() -> None:
        local.here.state = RUNNING

    local.there.after["prepare"] = start
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert "somebody started it meanwhile" in final.error
    assert (local.there.state, local.there.incoming) == (ABSENT, None)
    assert local.owner.host_id == "host-1"


async def test_a_server_started_between_define_and_release_goes_back(local):
    def start() -> None:
        local.here.state = RUNNING

    local.here.before["release"] = start
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert "was started on kvm-01 while it moved" in final.error
    assert (local.there.state, local.there.incoming) == (ABSENT, None)
    owner = local.owner
    assert (owner.host_id, owner.generation, owner.phase) == ("host-1", 3, OwnerPhase.SETTLED)


async def test_a_server_that_the_target_turns_out_not_to_have_goes_back(local):
    def vanish() -> None:
        local.there.state = ABSENT

    local.there.after["define"] = vanish
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 is stopped on kvm-01")
    assert "kvm-02 turned out not to have web-1" in final.error
    assert "release" not in local.here.calls
    assert local.here.files == (SHARED, DISK, BASE)
    assert local.owner.host_id == "host-1"


async def test_files_written_after_they_were_copied_keep_the_server_on_its_source(local):
    def write() -> None:
        local.here.changed = "/l/web-1.img was changed while it was copied"

    local.here.after["close_export"] = write
    local.here.before["release"] = raises(GodwitError(ErrorCode.CONFLICT, "was changed"))
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 is stopped on kvm-01")
    assert final.error.startswith("/l/web-1.img was changed while it was copied")
    assert local.here.files == (SHARED, DISK, BASE)
    assert (local.there.state, local.owner.host_id) == (ABSENT, "host-1")


async def test_a_leader_that_dies_while_giving_back_leaves_that_to_the_next(local):
    def start() -> None:
        local.here.state = RUNNING

    local.here.before["release"] = start
    local.there.before["discard"] = once(Crash())
    with pytest.raises(Crash):
        await run(local)
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.FAILED, "web-1 runs on kvm-01")
    assert local.owner.host_id == "host-1"
    assert local.there.state is ABSENT


async def test_a_source_that_dies_before_its_release_is_told_of(local):
    local.here.before["release"] = raises(AWAY)
    local.there.after["define"] = lambda: local.two.fleet.put_health("host-1", None)
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.SUCCEEDED, "web-1 is stopped on kvm-02")
    assert "kvm-01 may still hold files" in final.notes[-1].text
    assert "godwit server-settle --keep-host kvm-02 web-1" in final.advice


async def test_a_server_is_not_started_beside_a_source_that_did_not_give_it_up(local):
    begin(local, options=MigrationOptions(auto_start=True))
    local.here.before["release"] = raises(AWAY)
    local.there.after["define"] = lambda: local.two.fleet.put_health("host-1", None)
    final = await run(local)
    assert final.state is MigrationState.FAILED
    assert "was not started on kvm-02, because kvm-01" in final.error
    assert "start" not in local.there.calls


async def test_a_server_is_started_where_it_arrived_if_that_was_asked(local):
    begin(local, options=MigrationOptions(auto_start=True))
    final = await run(local)
    assert (final.state, final.outcome) == (MigrationState.SUCCEEDED, "web-1 runs on kvm-02")
    assert local.there.state is RUNNING
    assert local.there.commands["start"].generation == 2


async def test_a_server_that_does_not_start_has_moved_all_the_same(local):
    begin(local, options=MigrationOptions(auto_start=True))
    local.there.before["start"] = raises(GodwitError(ErrorCode.LIBVIRT, "cannot allocate memory"))
    final = await run(local)
    assert (final.state, final.outcome, final.error) == (
        MigrationState.FAILED,
        "web-1 has moved to kvm-02 and is stopped there",
        "cannot allocate memory",
    )
    assert "Free memory" in final.advice
    assert (local.here.state, local.there.state) == (ABSENT, SHUT_OFF)
    assert local.owner.host_id == "host-2"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("there", "truth"),
        ("here", "storage"),
        ("there", "prepare"),
        ("here", "export"),
        ("there", "pull"),
        ("here", "exported"),
    ],
)
async def test_a_cancel_before_the_switch_over_takes_everything_back(local, host, name):
    def cancel() -> None:
        known = local.two.fleet.migrations["m1"]
        asked = msgspec.structs.replace(known, cancel_requested_by="alice")
        local.etcd.put(keys.MIGRATIONS + "m1", msgspec.json.encode(asked))
        local.two.fleet.put_migration("m1", asked)

    getattr(local, host).after[name] = cancel
    final = await run(local)
    assert (final.state, final.error, final.outcome) == (
        MigrationState.CANCELLED,
        "",
        "web-1 is stopped on kvm-01",
    )
    assert (local.here.state, local.there.state, local.there.incoming) == (SHUT_OFF, ABSENT, None)
    assert local.owner.host_id == "host-1"


async def test_a_copy_that_does_not_end_is_cancelled_too(local):
    local.there.pull_jobs = [
        Job(migration_id="m1", server_id="id-web-1", state=JobState.COPYING_DISKS)
    ]
    running = asyncio.create_task(run(local))
    while local.two.fleet.migrations["m1"].state is not MigrationState.COPYING_DISKS:
        await asyncio.sleep(0.02)

    def asked(known: Migration) -> Migration:
        return msgspec.structs.replace(known, cancel_requested_by="alice")

    await local.drive.journal.advance("m1", asked)
    assert (await running).state is MigrationState.CANCELLED
    assert "cancel" in local.there.calls
    assert local.there.calls[-1] == "discard"
    assert local.two.fleet.migrations["m1"].statistics.total_ms > 0


async def test_what_runs_on_the_target_unasked_is_left_alone(local):
    local.there.state = RUNNING
    final = await run(local)
    assert "kvm-02 already holds web-1" in final.error
    assert (local.there.state, local.there.calls) == (RUNNING, ["truth"])


async def test_an_idle_definition_on_the_target_is_no_obstacle(local):
    local.there.state = SHUT_OFF
    assert_moved(local, await run(local))


async def test_what_the_source_cannot_give_is_refused_before_anything_is_copied(local):
    local.here.refusal = "vdb lies on an image that is encrypted"
    final = await run(local)
    assert_stayed(local, final, "vdb lies on an image that is encrypted")
    assert "prepare" not in local.there.calls


async def test_a_target_that_cannot_be_cleared_is_told_of(local, monkeypatch):
    monkeypatch.setattr("backend.migrations.clearing.CLEAR_PATIENCE_S", 0.5)
    local.there.before["pull"] = raises(REFUSED)
    local.there.before["discard"] = raises(AWAY)
    final = await run(local)
    assert (final.state, final.error) == (MigrationState.FAILED, "that is refused")
    assert "kvm-02 may still hold files" in final.notes[-1].text


async def test_the_cap_that_was_changed_last_holds_for_a_copy_that_goes_on(local):
    begin(
        local,
        options=MigrationOptions(max_bandwidth_bytes_per_s=1 << 20),
        parameters=MigrationParameters(max_bandwidth_bytes_per_s=3 << 20),
    )
    await run(local)
    assert local.there.commands["pull"].max_bandwidth_bytes_per_s == 3 << 20


async def test_states_never_go_back_when_a_new_leader_begins_the_steps_anew(local):
    local.there.before["define"] = once(Crash())
    with pytest.raises(Crash):
        await run(local)
    seen = []
    put = local.two.fleet.put_migration

    def note(migration_id: str, migration: Migration) -> None:
        seen.append(migration.state)
        put(migration_id, migration)

    local.two.fleet.put_migration = note
    assert_moved(local, await run(local))
    assert seen == [MigrationState.COMPLETING, MigrationState.SUCCEEDED]


async def test_progress_of_the_copy_keeps_patience(local, monkeypatch):
    monkeypatch.setattr("backend.migrations.patience.PATIENCE_S", 1.5)
    copying = Job(
        migration_id="m1",
        server_id="id-web-1",
        state=JobState.COPYING_DISKS,
        statistics=Statistics(),
    )
    local.there.pull_jobs = [copying]
    running = asyncio.create_task(run(local))
    for elapsed_ms in range(1, 9):
        await asyncio.sleep(0.4)
        local.drive.jobs.put_sample("m1", copied(elapsed_ms))
    assert not running.done()
    local.there.pulled = dict(local.here.digests)
    local.drive.jobs.put(local.there._whole("m1"))
    assert_moved(local, await running)


def copied(elapsed_ms: int) -> Sample:
    return Sample(
        elapsed_ms=elapsed_ms,
        pass_number=0,
        memory_total_bytes=0,
        memory_processed_bytes=0,
        memory_remaining_bytes=0,
        bandwidth_bytes_per_s=0,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=0,
        throttle_percent=0,
        disk_total_bytes=100,
        disk_remaining_bytes=100 - elapsed_ms,
    )
