"""What can be asked of a migration: each refusal, what the agent is told, and what stays noted."""

import msgspec
import pytest

from backend.migrations.acts import Acts
from wire.agent import Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.migration import (
    Kept,
    Migration,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    PostcopyState,
)

MIB = 1 << 20
COPYING = MigrationState.COPYING_MEMORY


@pytest.fixture
def acts(stage) -> Acts:
    stage.put_server(PowerState.RUNNING)
    return Acts(stage.drive, stage.leadership)


def put_job(stage, state: JobState = JobState.COPYING_MEMORY, **changes: object) -> None:
    job = Job(migration_id="m1", server_id="id-web-1", state=state)
    stage.drive.jobs.put(msgspec.structs.replace(job, **changes))


def with_postcopy(stage) -> None:
    for host in stage.two.hosts:
        stage.two.add_host(msgspec.structs.replace(host, postcopy=True))


async def refused(asking, code: ErrorCode = ErrorCode.CONFLICT) -> str:
    with pytest.raises(GodwitError) as caught:
        await asking
    assert caught.value.code is code
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing to change"),
        ({"max_bandwidth_bytes_per_s": 0}, "is 0, and must be at least 1048576"),
        ({"max_bandwidth_bytes_per_s": -5}, "is -5"),
        ({"max_bandwidth_bytes_per_s": MIB - 1}, "is 1048575"),
        (
            {"max_bandwidth_bytes_per_s": 5 * MIB, "no_bandwidth_limit": True},
            f"max_bandwidth_bytes_per_s is {5 * MIB}: give one of them",
        ),
        ({"downtime_limit_ms": 0}, "is 0, and must be 1 to 2000000"),
        ({"downtime_limit_ms": 2_000_001}, "is 2000001"),
    ],
)
async def test_parameters_out_of_their_bounds_change_nothing(stage, acts, given, words):
    stage.put_migration(COPYING)
    asking = acts.set_parameters("m1", MigrationParameters(**given), requested_by="alice")
    assert words in await refused(asking, ErrorCode.BAD_REQUEST)
    assert stage.migration.parameters == MigrationParameters()


async def test_a_limit_above_the_bound_of_quickly_finish_is_refused_in_flight_too(stage, acts):
    stage.put_migration(COPYING, options=MigrationOptions(quickly_finish=True))
    limit = MigrationParameters(downtime_limit_ms=3500)
    asking = acts.set_parameters("m1", limit, requested_by="alice")
    assert "3500, above downtime_bound_ms, the 3000 ms" in await refused(
        asking, ErrorCode.BAD_REQUEST
    )


async def test_parameters_reach_the_source_and_stay_with_who_asked(stage, acts):
    stage.put_migration(COPYING)
    put_job(stage)
    first = MigrationParameters(max_bandwidth_bytes_per_s=5 * MIB)
    await acts.set_parameters("m1", first, requested_by="alice")
    second = MigrationParameters(downtime_limit_ms=900)
    changed = await acts.set_parameters("m1", second, requested_by="bob")
    assert stage.here.commands["set_parameters"].parameters == second
    assert (changed.max_bandwidth_bytes_per_s, changed.downtime_limit_ms) == (5 * MIB, 900)
    assert [(one.text, one.by) for one in stage.migration.notes] == [
        ("bandwidth cap changed from none to 5 MiB/s", "alice"),
        ("downtime limit changed from 300 to 900 ms", "bob"),
    ]


async def test_a_cap_is_taken_away_and_set_again(stage, acts):
    stage.put_migration(COPYING, options=MigrationOptions(max_bandwidth_bytes_per_s=2 * MIB))
    put_job(stage)
    none = MigrationParameters(no_bandwidth_limit=True)
    limit = MigrationParameters(downtime_limit_ms=900)
    for change in (none, limit):
        changed = await acts.set_parameters("m1", change, requested_by="alice")
        assert changed.max_bandwidth_bytes_per_s is None
    assert stage.here.commands["set_parameters"].parameters == limit
    again = MigrationParameters(max_bandwidth_bytes_per_s=5 * MIB)
    changed = await acts.set_parameters("m1", again, requested_by="alice")
    assert (changed.max_bandwidth_bytes_per_s, changed.downtime_limit_ms) == (5 * MIB, 900)
    assert [one.text for one in stage.migration.notes] == [
        "bandwidth cap changed from 2 MiB/s to none",
        "downtime limit changed from 300 to 900 ms",
        "bandwidth cap changed from none to 5 MiB/s",
    ]


async def test_before_the_start_parameters_are_only_journaled(stage, acts):
    stage.put_migration(MigrationState.PREPARING)
    await acts.set_parameters(
        "m1", MigrationParameters(downtime_limit_ms=900), requested_by="alice"
    )
    assert stage.here.calls == []
    assert stage.migration.downtime_limit_ms == 900


async def test_a_job_that_begins_while_a_change_is_written_is_told_of_it(stage, acts, monkeypatch):
    stage.put_migration(MigrationState.PREPARING)
    advance = stage.drive.journal.advance

    async def begins_meanwhile(migration_id: str, change: object) -> Migration:
        written = await advance(migration_id, change)
        put_job(stage)
        return written

    monkeypatch.setattr(stage.drive.journal, "advance", begins_meanwhile)
    cap = MigrationParameters(max_bandwidth_bytes_per_s=5 * MIB)
    await acts.set_parameters("m1", cap, requested_by="alice")
    assert stage.here.commands["set_parameters"].parameters == cap


async def test_what_was_changed_while_the_agent_was_told_to_begin_is_told_afterwards(stage, acts):
    stage.put_migration(MigrationState.PREPARING)
    started = stage.migration
    put_job(stage)
    job = stage.drive.jobs.latest("m1")
    stage.drive.jobs.forget("m1")
    await stage.drive.begun(started, job)
    assert stage.here.calls == []
    stage.drive.jobs.forget("m1")
    for cap in (
        MigrationParameters(max_bandwidth_bytes_per_s=MIB),
        MigrationParameters(no_bandwidth_limit=True),
    ):
        await acts.set_parameters("m1", cap, requested_by="evacuation")
    await stage.drive.begun(started, job)
    assert stage.here.commands["set_parameters"].parameters == cap


async def test_the_cap_of_a_cold_copy_is_changed_on_the_target(stage, acts):
    stage.put_migration(MigrationState.COPYING_DISKS, kind="cold")
    put_job(stage, JobState.COPYING_DISKS)
    cap = MigrationParameters(max_bandwidth_bytes_per_s=5 * MIB)
    await acts.set_parameters("m1", cap, requested_by="alice")
    assert (stage.here.calls, stage.there.calls) == ([], ["set_parameters"])
    limit = MigrationParameters(downtime_limit_ms=900)
    asking = acts.set_parameters("m1", limit, requested_by="alice")
    assert "no downtime to limit" in await refused(asking, ErrorCode.BAD_REQUEST)


async def test_an_agent_that_refuses_leaves_the_record_as_it_was(stage, acts):
    stage.put_migration(COPYING)
    put_job(stage)

    def refuse() -> None:
        raise GodwitError(ErrorCode.LIBVIRT, "no")

    stage.here.before["set_parameters"] = refuse
    limit = MigrationParameters(downtime_limit_ms=900)
    await refused(acts.set_parameters("m1", limit, requested_by="alice"), ErrorCode.LIBVIRT)
    assert (stage.migration.downtime_limit_ms, stage.migration.notes) == (300, ())


@pytest.mark.parametrize("act", ["cancel", "postcopy", "recover", "remove_kept"])
async def test_what_does_not_exist_is_named(acts, act):
    asking = getattr(acts, act)("m9", requested_by="alice")
    assert "'m9'" in await refused(asking, ErrorCode.NOT_FOUND)


@pytest.mark.parametrize("act", ["cancel", "postcopy", "recover"])
async def test_an_ended_migration_says_how_it_ended(stage, acts, act):
    stage.put_migration(MigrationState.FAILED)
    sentence = await refused(getattr(acts, act)("m1", requested_by="alice"))
    assert sentence == "migration m1 has already failed: web-1 stays on kvm-01"


async def test_a_switch_to_post_copy_reaches_the_source_and_is_noted(stage, acts):
    with_postcopy(stage)
    stage.put_migration(COPYING)
    changed = await acts.postcopy("m1", requested_by="alice")
    assert stage.here.calls == ["postcopy"]
    assert changed.postcopy is PostcopyState.ASKED
    assert [(one.text, one.by) for one in changed.notes] == [
        ("switch to post-copy asked for", "alice")
    ]


async def test_post_copy_needs_both_hosts_and_copied_memory(stage, acts):
    stage.put_migration(COPYING)
    sentence = await refused(acts.postcopy("m1", requested_by="alice"))
    assert sentence.startswith("kvm-01 cannot do post-copy")
    with_postcopy(stage)
    stage.put_migration(MigrationState.COPYING_DISKS, migration_id="m2")
    assert "is copying_disks" in await refused(acts.postcopy("m2", requested_by="alice"))
    stage.put_migration(MigrationState.COPYING_DISKS, migration_id="m3", kind="cold")
    assert "is stopped" in await refused(acts.postcopy("m3", requested_by="alice"))
    stage.put_migration(COPYING, migration_id="m4", postcopy=PostcopyState.ACTIVE)
    assert "already (active)" in await refused(acts.postcopy("m4", requested_by="alice"))
    assert stage.here.calls == []


async def test_a_paused_post_copy_is_recovered_and_no_other(stage, acts):
    stage.put_migration(COPYING)
    assert "must be paused" in await refused(acts.recover("m1", requested_by="alice"))
    stage.put_migration(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.PAUSED)
    for name in ("alice", "bob"):
        await acts.recover("m1", requested_by=name)
    assert stage.migration.recovery_requested_by == "alice"
    assert [(one.text, one.by) for one in stage.migration.notes] == [
        ("recovery of post-copy asked for", "alice")
    ]


@pytest.mark.parametrize("postcopy", [PostcopyState.ACTIVE, PostcopyState.PAUSED])
async def test_a_cancel_in_post_copy_would_kill_the_guest_and_is_refused(stage, acts, postcopy):
    stage.put_migration(COPYING, postcopy=postcopy)
    sentence = await refused(acts.cancel("m1", requested_by="alice"))
    assert "its memory is on both kvm-01 and kvm-02" in sentence
    assert stage.migration.cancel_requested_by == ""


async def test_a_post_copy_that_only_the_agent_told_of_yet_is_not_cancelled_either(stage, acts):
    stage.put_migration(COPYING)
    put_job(stage, postcopy=PostcopyState.ACTIVE)
    assert "in post-copy" in await refused(acts.cancel("m1", requested_by="alice"))


async def test_a_cancel_is_noted_with_who_asked_first(stage, acts):
    stage.put_migration(COPYING)
    for name in ("alice", "bob"):
        await acts.cancel("m1", requested_by=name)
    assert stage.migration.cancel_requested_by == "alice"
    assert [(one.text, one.by) for one in stage.migration.notes] == [("cancel asked for", "alice")]


async def test_a_copy_that_broke_off_can_be_cancelled(stage, acts):
    stage.put_migration(MigrationState.COPYING_DISKS, kind="cold")
    put_job(stage, JobState.ENDED, error="lost the link", resumable=True)
    await acts.cancel("m1", requested_by="alice")
    assert stage.migration.cancel_requested_by == "alice"


async def test_a_cold_move_that_switches_over_is_too_late_to_cancel(stage, acts):
    stage.put_migration(MigrationState.SWITCHING_OVER, kind="cold")
    assert "too late to cancel" in await refused(acts.cancel("m1", requested_by="alice"))


async def test_what_was_kept_is_removed_and_that_is_noted(stage, acts):
    kept = (Kept(kind="disk", path="/kept/x", size_bytes=9),)
    stage.put_migration(MigrationState.FAILED, kept=kept)
    changed = await acts.remove_kept("m1", requested_by="alice")
    assert stage.there.calls == ["remove_kept"]
    assert changed.kept == stage.migration.kept == ()
    assert (changed.notes[-1].text, changed.notes[-1].by) == (
        "what was kept on kvm-02 was removed",
        "alice",
    )
    assert "keeps nothing" in await refused(acts.remove_kept("m1", requested_by="alice"))


async def test_what_could_not_be_removed_is_still_kept(stage, acts):
    kept = (Kept(kind="disk", path="/kept/x", size_bytes=9),)
    stage.put_migration(MigrationState.FAILED, kept=kept)

    def away() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    stage.there.before["remove_kept"] = away
    await refused(acts.remove_kept("m1", requested_by="alice"), ErrorCode.AGENT_UNREACHABLE)
    assert stage.migration.kept == kept


async def test_another_backend_than_the_leader_acts_on_nothing(stage, acts, monkeypatch):
    stage.put_migration(COPYING)
    monkeypatch.setattr(stage.leadership, "leading", False)
    stage.two.fleet.leader_name = "backend-2"
    sentence = await refused(acts.cancel("m1", requested_by="alice"), ErrorCode.NOT_LEADING)
    assert sentence == "backend-1 does not lead; ask backend-2, which does"
