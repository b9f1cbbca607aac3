"""What is kept of agents' jobs: passes over restarts, the curve in order, and not too much."""

import msgspec
import pytest

from backend.migrations.jobs import CURVES_KEPT, SAMPLES_KEPT, Jobs
from wire.agent import Job, JobDetail, JobState
from wire.migration import Migration, MigrationState, Pass, PostcopyState, Sample


def sample(elapsed_ms: int) -> Sample:
    return Sample(
        elapsed_ms=elapsed_ms,
        pass_number=1,
        memory_total_bytes=1,
        memory_processed_bytes=0,
        memory_remaining_bytes=1,
        bandwidth_bytes_per_s=0,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=300,
        throttle_percent=0,
    )


def one_pass(number: int, transferred_bytes: int = 1) -> Pass:
    return Pass(
        number=number,
        started_ms=0,
        duration_ms=1,
        remaining_at_start_bytes=1,
        transferred_bytes=transferred_bytes,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=0,
        throttle_percent=0,
    )


def job(*passes: Pass, state: JobState = JobState.COPYING_MEMORY) -> Job:
    return Job(migration_id="m", server_id="s", state=state, passes=passes)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def test_passes_that_a_restarted_agent_forgot_stay(jobs):
    jobs.put(job(one_pass(1), one_pass(2)))
    jobs.put(job(one_pass(2, transferred_bytes=9), one_pass(3)))
    latest = jobs.latest("m")
    assert [(one.number, one.transferred_bytes) for one in latest.passes] == [
        (1, 1),
        (2, 9),
        (3, 1),
    ]


def test_the_curve_is_kept_in_order_and_without_repeats(jobs):
    for elapsed_ms in (0, 250, 250, 100, 500):
        jobs.put_sample("m", sample(elapsed_ms))
    assert [one.elapsed_ms for one in jobs.samples("m")] == [0, 250, 500]


def test_a_curve_fetched_from_the_agent_fills_the_gap(jobs):
    jobs.put_sample("m", sample(1000))
    jobs.put_detail(JobDetail(job=job(), samples=(sample(0), sample(500), sample(1000))))
    assert [one.elapsed_ms for one in jobs.samples("m")] == [0, 500, 1000]


def test_a_long_curve_is_thinned_and_keeps_its_ends(jobs):
    for elapsed_ms in range(SAMPLES_KEPT + 1):
        jobs.put_sample("m", sample(elapsed_ms))
    curve = jobs.samples("m")
    assert len(curve) <= SAMPLES_KEPT // 2 + 2
    assert (curve[0].elapsed_ms, curve[-1].elapsed_ms) == (0, SAMPLES_KEPT)


def test_old_curves_are_let_go_but_not_those_of_running_jobs(jobs):
    jobs.put(job())
    jobs.put_sample("m", sample(0))
    for number in range(CURVES_KEPT + 5):
        jobs.put_sample(f"old-{number}", sample(0))
    assert jobs.samples("m")
    assert not jobs.samples("old-0")
    assert jobs.samples(f"old-{CURVES_KEPT + 4}")


def test_passes_show_in_a_migration_under_way_and_not_over_a_final_record(jobs):
    jobs.put(job(one_pass(1)))
    running = Migration(
        migration_id="m",
        server_id="s",
        server_name="web-1",
        source_host_id="a",
        source_host_name="kvm-01",
        state=MigrationState.COPYING_MEMORY,
    )
    assert [one.number for one in jobs.with_progress(running).passes] == [1]
    final = Migration(
        migration_id="m",
        server_id="s",
        server_name="web-1",
        source_host_id="a",
        source_host_name="kvm-01",
        state=MigrationState.SUCCEEDED,
    )
    assert jobs.with_progress(final).passes == ()


def test_news_of_a_job_wake_whoever_follows_it(jobs):
    watcher = jobs.watcher("m")
    jobs.put(job())
    assert watcher.is_set()


def test_a_copy_that_goes_on_with_a_clock_of_its_own_goes_on_along_the_curve(jobs):
    for elapsed_ms in (0, 1000, 2000):
        jobs.put_sample("m", sample(elapsed_ms))
    jobs.restart("m")
    placed = [jobs.put_sample("m", sample(elapsed_ms)) for elapsed_ms in (0, 500, 250, 700)]
    assert [one and one.elapsed_ms for one in placed] == [None, 2500, None, 2700]
    assert [one.elapsed_ms for one in jobs.samples("m")] == [0, 1000, 2000, 2500, 2700]


def test_a_copy_that_went_on_by_itself_keeps_its_clock(jobs):
    jobs.put_sample("m", sample(1000))
    jobs.restart("m")
    jobs.put_sample("m", sample(1250))
    jobs.put_sample("m", sample(100))
    assert [one.elapsed_ms for one in jobs.samples("m")] == [1000, 1250]


def test_an_answer_that_an_event_overtook_does_not_undo_the_switch_to_post_copy(jobs):
    jobs.put(msgspec.structs.replace(job(), postcopy=PostcopyState.ACTIVE))
    jobs.put(msgspec.structs.replace(job(), postcopy=PostcopyState.ASKED))
    assert jobs.latest("m").postcopy is PostcopyState.ACTIVE
    jobs.put(msgspec.structs.replace(job(), postcopy=PostcopyState.PAUSED))
    assert jobs.latest("m").postcopy is PostcopyState.PAUSED
