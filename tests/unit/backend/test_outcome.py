"""The outcome of a migration for every pair of what the two hosts can say."""

from itertools import product

import pytest

from backend.migrations.outcome import Side, Verdict, judge, side_of
from wire.agent import GuestTruth
from wire.fleet import PowerState

WAIT, MOVED, STAYED = Verdict.WAIT, Verdict.MOVED, Verdict.STAYED
RESUME, LOST, DOUBLE = Verdict.RESUME, Verdict.LOST, Verdict.DOUBLE

HALVES = {Side.POSTCOPY, Side.POSTCOPY_FAILED}
TARGETS = (
    Side.RUNNING,
    Side.HALTED,
    Side.SUSPENDED,
    Side.INCOMING,
    Side.SHUT_OFF,
    Side.ABSENT,
    Side.GONE,
    Side.DEAD,
    Side.SILENT,
    Side.POSTCOPY,
    Side.POSTCOPY_FAILED,
)
# source: what each target in the order above means once no job is active
TABLE: dict[Side, tuple[Verdict, ...]] = {
    Side.RUNNING: (DOUBLE, WAIT, WAIT, WAIT, STAYED, STAYED, STAYED, STAYED, WAIT, WAIT, WAIT),
    Side.SUSPENDED: (MOVED, WAIT, WAIT, WAIT, STAYED, STAYED, STAYED, STAYED, WAIT, WAIT, WAIT),
    Side.HALTED: (MOVED, RESUME, MOVED, RESUME, RESUME, RESUME, WAIT, RESUME, WAIT, WAIT, WAIT),
    Side.INCOMING: (MOVED, RESUME, MOVED, RESUME, RESUME, RESUME, WAIT, RESUME, WAIT, WAIT, WAIT),
    Side.SHUT_OFF: (MOVED, MOVED, MOVED, WAIT, STAYED, STAYED, WAIT, STAYED, WAIT, WAIT, WAIT),
    Side.ABSENT: (MOVED, MOVED, MOVED, WAIT, MOVED, LOST, MOVED, MOVED, WAIT, WAIT, WAIT),
    Side.GONE: (MOVED, *(WAIT,) * 10),
    Side.DEAD: (MOVED, STAYED, MOVED, STAYED, STAYED, STAYED, WAIT, STAYED, WAIT, STAYED, STAYED),
    Side.SILENT: (WAIT,) * 11,
    Side.POSTCOPY: (*(WAIT,) * 7, LOST, *(WAIT,) * 3),
    Side.POSTCOPY_FAILED: (*(WAIT,) * 7, LOST, *(WAIT,) * 3),
}
PAIRS = [
    (source, target, verdict)
    for source, row in TABLE.items()
    for target, verdict in zip(TARGETS, row, strict=True)
]


def test_the_table_has_every_pair():
    assert {(source, target) for source, target, _ in PAIRS} == set(product(Side, Side))


@pytest.mark.parametrize(("source", "target", "verdict"), PAIRS)
def test_each_pair_has_its_verdict(source, target, verdict):
    assert judge(source, target, job_active=False).verdict is verdict


@pytest.mark.parametrize(("source", "target"), product(Side, Side))
def test_nothing_is_decided_while_a_job_is_active(source, target):
    died = source in HALVES and target is Side.DEAD
    assert judge(source, target, job_active=True).verdict is (LOST if died else WAIT)
    decided = {
        Side.ABSENT: LOST,
        Side.SHUT_OFF: LOST,
        Side.DEAD: LOST,
        Side.RUNNING: MOVED,
        Side.SUSPENDED: MOVED,
    }
    expected = decided.get(target, WAIT) if source in HALVES else WAIT
    assert judge(source, target, job_active=True, patient=False).verdict is expected


@pytest.mark.parametrize("source", sorted(HALVES))
@pytest.mark.parametrize("target", [Side.RUNNING, Side.SUSPENDED])
@pytest.mark.parametrize("job_active", [True, False])
def test_a_target_needs_its_half_until_libvirt_there_has_all_memory(source, target, job_active):
    needed = judge(source, target, job_active=job_active, receiving=True, patient=False)
    assert needed.verdict is WAIT
    whole = judge(source, target, job_active=job_active, receiving=False, patient=False)
    assert (whole.verdict, whole.leftover) == (MOVED, True)


@pytest.mark.parametrize(("source", "target"), product(Side, Side))
def test_nothing_is_decided_while_a_side_is_silent(source, target):
    silent = Side.SILENT in {source, target}
    without_patience = judge(source, target, job_active=False, patient=False).verdict
    if HALVES & {source, target} or Side.GONE in {source, target}:
        assert without_patience is WAIT or not silent
    else:
        assert (without_patience is WAIT) == silent


# one half of a guest in post-copy beside what the other host says once patience is over
HALF_TABLE = [
    (Side.POSTCOPY, Side.POSTCOPY, WAIT),
    (Side.POSTCOPY_FAILED, Side.POSTCOPY, WAIT),
    (Side.POSTCOPY_FAILED, Side.POSTCOPY_FAILED, WAIT),
    (Side.POSTCOPY, Side.RUNNING, MOVED),
    (Side.POSTCOPY_FAILED, Side.SUSPENDED, MOVED),
    (Side.ABSENT, Side.POSTCOPY, MOVED),
    (Side.ABSENT, Side.POSTCOPY_FAILED, LOST),
    (Side.SHUT_OFF, Side.POSTCOPY, LOST),
    (Side.GONE, Side.POSTCOPY, WAIT),
    (Side.GONE, Side.POSTCOPY_FAILED, WAIT),
    (Side.POSTCOPY, Side.GONE, WAIT),
    (Side.POSTCOPY_FAILED, Side.GONE, WAIT),
    (Side.POSTCOPY_FAILED, Side.ABSENT, LOST),
    (Side.POSTCOPY_FAILED, Side.SHUT_OFF, LOST),
    (Side.POSTCOPY, Side.INCOMING, WAIT),
    (Side.RUNNING, Side.POSTCOPY, WAIT),
    (Side.SUSPENDED, Side.POSTCOPY, WAIT),
]


@pytest.mark.parametrize(("source", "target", "verdict"), HALF_TABLE)
def test_half_of_a_guest_is_judged_by_what_became_of_the_other(source, target, verdict):
    assert judge(source, target, job_active=False, patient=True).verdict is WAIT
    assert judge(source, target, job_active=False, patient=False).verdict is verdict


@pytest.mark.parametrize(("source", "target"), product(Side, Side))
def test_half_of_a_guest_is_never_resumed_nor_called_whole(source, target):
    if HALVES & {source, target}:
        found = judge(source, target, job_active=False, patient=False)
        given_back = source is Side.DEAD and found.verdict is STAYED and found.leftover
        assert found.verdict in {WAIT, MOVED, LOST} or given_back


@pytest.mark.parametrize(("source", "target"), product(Side, Side))
def test_the_source_is_never_resumed_while_the_target_may_run(source, target):
    if target in {Side.RUNNING, Side.GONE, Side.SILENT}:
        for patient in (True, False):
            found = judge(source, target, job_active=False, patient=patient)
            assert found.verdict is not RESUME


@pytest.mark.parametrize(("source", "target"), product(Side, Side))
def test_a_host_that_is_merely_gone_decides_nothing_while_it_may_run_the_guest(source, target):
    for patient in (True, False):
        found = judge(source, target, job_active=False, patient=patient).verdict
        if source is Side.GONE:
            assert found is (MOVED if target is Side.RUNNING else WAIT)
        elif target is Side.GONE:
            assert found is not RESUME
            assert found is not STAYED or source in {Side.RUNNING, Side.SUSPENDED}


@pytest.mark.parametrize("target", sorted({*HALVES, Side.INCOMING, Side.HALTED}))
def test_what_a_dead_source_left_unfinished_on_its_target_is_removed_at_once(target):
    found = judge(Side.DEAD, target, job_active=False, patient=True)
    assert (found.verdict, found.leftover) == (STAYED, True)


def test_a_paused_source_beside_a_running_target_is_a_leftover():
    assert judge(Side.HALTED, Side.RUNNING, job_active=False).leftover
    assert not judge(Side.ABSENT, Side.RUNNING, job_active=False).leftover


def test_a_guest_that_was_paused_on_its_target_has_run_there_and_never_runs_on_its_source():
    found = judge(Side.HALTED, Side.SUSPENDED, job_active=False)
    assert (found.verdict, found.leftover) == (MOVED, True)


def test_a_copy_that_stays_on_the_target_is_told_after_patience():
    found = judge(Side.RUNNING, Side.INCOMING, job_active=False, patient=False)
    assert found.verdict is STAYED
    assert found.leftover


@pytest.mark.parametrize(
    ("state", "detail", "incoming", "side"),
    [
        (PowerState.RUNNING, "", False, Side.RUNNING),
        (PowerState.SHUT_OFF, "", False, Side.SHUT_OFF),
        (PowerState.ABSENT, "", False, Side.ABSENT),
        (PowerState.PAUSED, "migrating", True, Side.INCOMING),
        (PowerState.PAUSED, "migrating", False, Side.HALTED),
        (PowerState.PAUSED, "unknown", False, Side.HALTED),
        (PowerState.PAUSED, "", False, Side.HALTED),
        (PowerState.PAUSED, "user", False, Side.SUSPENDED),
        (PowerState.PAUSED, "io-error", False, Side.SUSPENDED),
        (PowerState.RUNNING, "post-copy", False, Side.POSTCOPY),
        (PowerState.PAUSED, "post-copy", False, Side.POSTCOPY),
        (PowerState.RUNNING, "post-copy failed", False, Side.POSTCOPY_FAILED),
        (PowerState.PAUSED, "post-copy failed", True, Side.POSTCOPY_FAILED),
    ],
)
def test_sides_follow_from_what_libvirt_says(state, detail, incoming, side):
    truth = GuestTruth(server_id="x", state=state, state_detail=detail, incoming=incoming)
    assert side_of(truth) is side
