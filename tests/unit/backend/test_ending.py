"""The final record: its state, sentence, error, advice and figures."""

import msgspec
import pytest

from backend.migrations.advice import advice_for
from backend.migrations.ending import Finding, ended, not_begun, now_ms, owner_after
from backend.migrations.outcome import Judgement, Side, Verdict, judge
from wire.agent import GuestTruth, Job, JobState
from wire.fleet import Owner, OwnerPhase, PowerState
from wire.migration import Migration, MigrationState, Sample, Statistics

RUNNING = Migration(
    migration_id="m",
    server_id="s",
    server_name="db-1",
    source_host_id="host-1",
    source_host_name="kvm-01",
    target_host_id="host-2",
    target_host_name="kvm-02",
    state=MigrationState.COMPLETING,
    generation=4,
)
CANCELLED_BY = Migration(
    migration_id="m",
    server_id="s",
    server_name="db-1",
    source_host_id="host-1",
    source_host_name="kvm-01",
    target_host_id="host-2",
    target_host_name="kvm-02",
    state=MigrationState.COMPLETING,
    cancel_requested_by="alice",
)


def failed_job(error: str) -> Job:
    return Job(migration_id="m", server_id="s", state=JobState.ENDED, error=error)


def finding(source: Side, target: Side, *, patient: bool = True, **truths: object) -> Finding:
    judgement = judge(source, target, job_active=False, patient=patient)
    return Finding(source=source, target=target, judgement=judgement, **truths)


@pytest.mark.parametrize(
    ("source", "target", "state", "outcome"),
    [
        (Side.ABSENT, Side.RUNNING, MigrationState.SUCCEEDED, "db-1 runs on kvm-02"),
        (
            Side.HALTED,
            Side.RUNNING,
            MigrationState.SUCCEEDED,
            "db-1 runs on kvm-02; kvm-01 still holds a paused copy",
        ),
        (Side.RUNNING, Side.ABSENT, MigrationState.FAILED, "db-1 runs on kvm-01"),
        (
            Side.RUNNING,
            Side.INCOMING,
            MigrationState.FAILED,
            "db-1 runs on kvm-01; kvm-02 still holds a paused copy",
        ),
        (Side.SUSPENDED, Side.ABSENT, MigrationState.FAILED, "db-1 is paused on kvm-01"),
        (Side.SHUT_OFF, Side.ABSENT, MigrationState.FAILED, "db-1 is stopped on kvm-01"),
        (Side.ABSENT, Side.SUSPENDED, MigrationState.SUCCEEDED, "db-1 is paused on kvm-02"),
        (
            Side.GONE,
            Side.ABSENT,
            MigrationState.FAILED,
            "kvm-01 went offline with db-1 on it",
        ),
        (
            Side.ABSENT,
            Side.GONE,
            MigrationState.SUCCEEDED,
            "kvm-02 went offline with db-1 on it",
        ),
        (Side.ABSENT, Side.ABSENT, MigrationState.FAILED, "neither kvm-01 nor kvm-02 knows db-1"),
        (Side.RUNNING, Side.RUNNING, MigrationState.FAILED, "db-1 runs on both kvm-01 and kvm-02"),
    ],
)
def test_the_outcome_says_where_the_guest_is(source, target, state, outcome):
    final = ended(RUNNING, finding(source, target, patient=False), failed_job("boom"), ())
    assert (final.state, final.outcome) == (state, outcome)
    assert final.error == ("" if state is MigrationState.SUCCEEDED else "boom")
    assert final.finished_at_ms > 0


@pytest.mark.parametrize(
    ("kind", "detail", "outcome"),
    [
        (
            "live",
            "crashed",
            "db-1 fell on kvm-01, where its QEMU ended, and is started there again",
        ),
        ("live", "shutdown", "db-1 is stopped on kvm-01"),
        ("cold", "crashed", "db-1 is stopped on kvm-01"),
    ],
)
def test_a_guest_whose_qemu_ended_as_it_moved_is_told_apart_from_one_that_was_stopped(
    kind, detail, outcome
):
    truth = GuestTruth(server_id="s", state=PowerState.SHUT_OFF, state_detail=detail)
    fallen = finding(Side.SHUT_OFF, Side.GONE, patient=False, source_truth=truth)
    moving = msgspec.structs.replace(RUNNING, kind=kind)
    assert ended(moving, fallen, failed_job("boom"), ()).outcome == outcome


def test_an_error_text_does_not_make_a_move_that_arrived_a_failure():
    final = ended(RUNNING, finding(Side.ABSENT, Side.RUNNING), failed_job("connection reset"), ())
    assert final.state is MigrationState.SUCCEEDED
    assert final.error == ""


def test_a_job_without_an_error_text_still_says_something():
    final = ended(RUNNING, finding(Side.RUNNING, Side.ABSENT), None, ())
    assert "ended without an error text" in final.error


def test_a_cancelled_move_that_stayed_is_cancelled():
    final = ended(
        CANCELLED_BY, finding(Side.RUNNING, Side.ABSENT), failed_job("aborted by client"), ()
    )
    assert (final.state, final.error, final.advice) == (MigrationState.CANCELLED, "", "")


def test_a_cancel_that_came_too_late_is_a_success():
    final = ended(CANCELLED_BY, finding(Side.ABSENT, Side.RUNNING), None, ())
    assert final.state is MigrationState.SUCCEEDED


def test_a_cancel_that_left_the_guest_paused_is_a_failure():
    final = ended(CANCELLED_BY, finding(Side.HALTED, Side.GONE), None, ())
    assert final.state is MigrationState.FAILED
    assert "godwit server-settle --keep-host kvm-01 db-1" in final.advice


@pytest.mark.parametrize(
    ("cancelled_by", "error", "state"),
    [
        ("", "no target", MigrationState.FAILED),
        ("alice", "", MigrationState.CANCELLED),
        ("alice", "no target", MigrationState.FAILED),
    ],
)
def test_a_move_that_never_began_says_why(cancelled_by, error, state):
    migration = CANCELLED_BY if cancelled_by else RUNNING
    final = not_begun(migration, error)
    assert (final.state, final.error) == (state, error)
    assert final.outcome == "db-1 stays on kvm-01"


OWNER = Owner(
    host_id="host-1",
    epoch=2,
    generation=4,
    phase=OwnerPhase.MIGRATING,
    target_host_id="host-2",
    migration_id="m",
)


def test_a_moved_server_has_a_new_owner_and_generation():
    owner = owner_after(OWNER, RUNNING, Judgement(verdict=Verdict.MOVED), epoch=7)
    assert owner == Owner(host_id="host-2", epoch=7, generation=5)


def test_a_lost_server_is_marked_so_that_its_definition_is_kept():
    owner = owner_after(OWNER, RUNNING, Judgement(verdict=Verdict.LOST), epoch=7)
    assert owner == Owner(host_id="host-1", epoch=2, generation=4, phase=OwnerPhase.LOST)


@pytest.mark.parametrize("verdict", [Verdict.STAYED, Verdict.DOUBLE])
def test_otherwise_the_owner_stays_with_its_generation(verdict):
    owner = owner_after(OWNER, RUNNING, Judgement(verdict=verdict), epoch=7)
    assert owner == Owner(host_id="host-1", epoch=2, generation=4)


def truth(completed: Statistics) -> GuestTruth:
    return GuestTruth(server_id="s", state=PowerState.RUNNING, completed=completed)


def test_figures_come_from_the_job_and_the_downtime_from_whoever_has_it():
    job = Job(
        migration_id="m",
        server_id="s",
        state=JobState.ENDED,
        statistics=Statistics(total_ms=900, downtime_ms=None, pass_count=3),
    )
    target = truth(Statistics(total_ms=1, downtime_ms=41))
    found = finding(Side.ABSENT, Side.RUNNING, target_truth=target)
    figures = ended(RUNNING, found, job, ()).statistics
    assert (figures.total_ms, figures.downtime_ms, figures.pass_count) == (900, 41, 3)


def test_figures_come_from_the_target_when_the_job_was_lost():
    found = finding(
        Side.ABSENT, Side.RUNNING, target_truth=truth(Statistics(total_ms=7, downtime_ms=41))
    )
    figures = ended(RUNNING, found, None, ()).statistics
    assert (figures.total_ms, figures.downtime_ms) == (7, 41)


def test_a_job_that_left_no_figures_gets_them_from_the_clock_and_the_curve():
    began = msgspec.structs.replace(RUNNING, started_at_ms=now_ms() - 5_000)
    last = Sample(
        elapsed_ms=4_000,
        pass_number=2,
        memory_total_bytes=256,
        memory_processed_bytes=100,
        memory_remaining_bytes=156,
        bandwidth_bytes_per_s=0,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=300,
        throttle_percent=0,
    )
    final = ended(began, finding(Side.RUNNING, Side.ABSENT), failed_job("boom"), (last,))
    figures = final.statistics
    assert figures.total_ms == final.finished_at_ms - began.started_at_ms
    assert (figures.memory_transferred_bytes, figures.memory_total_bytes) == (100, 256)


def test_an_unknown_downtime_stays_unknown():
    figures = ended(RUNNING, finding(Side.ABSENT, Side.RUNNING), None, ()).statistics
    assert figures.downtime_ms is None


def test_known_words_get_advice_and_others_none():
    frozen = "libvirtd on kvm-01 does not answer: connection closed due to keepalive timeout"
    assert "that host's libvirtd" in advice_for(frozen)
    assert "QEMU" in advice_for("internal error: QEMU unexpectedly closed the monitor")
    assert advice_for("something nobody has seen") == ""


@pytest.mark.parametrize(
    ("source", "target", "host"),
    [
        (Side.RUNNING, Side.RUNNING, "HOST"),
        (Side.ABSENT, Side.ABSENT, "HOST"),
        (Side.HALTED, Side.RUNNING, "kvm-02"),
        (Side.RUNNING, Side.INCOMING, "kvm-01"),
        (Side.HALTED, Side.GONE, "kvm-01"),
    ],
)
def test_what_a_person_has_to_set_right_names_the_command_that_does(source, target, host):
    final = ended(RUNNING, finding(source, target, patient=False), None, ())
    assert f"godwit server-settle --keep-host {host} db-1" in final.advice
    assert "virsh" not in final.advice
    assert "/godwit/" not in final.advice


def test_a_guest_lost_in_post_copy_says_how_it_was_lost_and_what_may_hold_it():
    final = ended(RUNNING, finding(Side.SHUT_OFF, Side.POSTCOPY_FAILED, patient=False), None, ())
    assert final.state is MigrationState.FAILED
    assert final.outcome == (
        "db-1 is lost: it ran in post-copy with half of its memory on each of kvm-01 and kvm-02, "
        "and one half is gone"
    )
    assert "godwit server-settle --keep-host kvm-01 db-1" in final.advice
    assert "restart libvirtd on kvm-01" in final.advice


def test_a_guest_whose_half_died_with_its_target_is_to_be_kept_where_it_is_whole():
    final = ended(RUNNING, finding(Side.POSTCOPY_FAILED, Side.SHUT_OFF, patient=False), None, ())
    assert "is lost" in final.outcome
    assert "godwit server-settle --keep-host kvm-02 db-1" in final.advice
