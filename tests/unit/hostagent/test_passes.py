"""Passes are found in samples, whatever was seen late or not at all."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hostagent.passes import PassLog, closed, observed
from wire.migration import Sample

TOTAL = 256 << 20


def sample(elapsed_ms: int, number: int, sent: int, *, remaining: int = 1000) -> Sample:
    return Sample(
        elapsed_ms=elapsed_ms,
        pass_number=number,
        memory_total_bytes=TOTAL,
        memory_processed_bytes=sent,
        memory_remaining_bytes=remaining,
        bandwidth_bytes_per_s=50_000_000,
        dirty_bytes_per_s=1000 * number,
        expected_downtime_ms=300,
        downtime_limit_ms=300,
        throttle_percent=10 * (number - 1),
    )


def logged(*samples: Sample) -> PassLog:
    log = PassLog()
    for each in samples:
        log = observed(log, each, began_ms={})
    return log


def test_the_first_pass_begins_with_all_of_memory():
    log = logged(sample(250, 1, 4000, remaining=TOTAL - 4000), sample(1250, 1, 50_004_000))
    (only,) = log.passes
    assert (only.number, only.started_ms, only.duration_ms) == (1, 250, 1000)
    assert only.remaining_at_start_bytes == TOTAL
    assert only.transferred_bytes == 50_004_000
    assert only.bandwidth_bytes_per_s == 50_004_000


def test_a_pass_ends_where_the_next_one_begins():
    log = logged(sample(0, 1, 0), sample(900, 1, 900), sample(1000, 2, 1000, remaining=77))
    first, second = log.passes
    assert (first.duration_ms, first.transferred_bytes) == (1000, 1000)
    assert (second.started_ms, second.remaining_at_start_bytes) == (1000, 77)
    assert (second.dirty_bytes_per_s, second.throttle_percent) == (2000, 10)


def test_an_event_dates_a_pass_that_libvirt_told_of_late():
    log = logged(sample(0, 1, 0), sample(1000, 1, 10_000))
    # libvirt answered only after the stop-and-copy, when nothing remained
    log = observed(log, sample(1400, 3, 14_000, remaining=0), began_ms={2: 1000, 3: 1010})
    log = closed(log, total_ms=1410, transferred_bytes=14_000)
    assert [(each.number, each.started_ms, each.duration_ms) for each in log.passes] == [
        (1, 0, 1000),
        (2, 1000, 10),
        (3, 1010, 400),
    ]
    assert [each.transferred_bytes for each in log.passes] == [10_000, 100, 3_900]
    assert log.passes[-1].remaining_at_start_bytes == 3_900


def test_events_that_cannot_be_right_are_bounded_by_samples():
    log = logged(sample(500, 1, 500), sample(1000, 1, 1000))
    log = observed(log, sample(1200, 2, 1200), began_ms={2: 10})
    assert log.passes[-1].started_ms == 1000
    log = observed(log, sample(1400, 3, 1400), began_ms={3: 99_999})
    assert log.passes[-1].started_ms == 1400


def test_passes_that_nobody_saw_are_missing_and_nothing_is_invented():
    log = logged(sample(0, 1, 0), sample(1000, 2, 1000), sample(1100, 2, 1100))
    log = observed(log, sample(9000, 7, 9000, remaining=50), began_ms={}, after_gap=True)
    assert [each.number for each in log.passes] == [1, 2, 7]
    assert log.passes[1].duration_ms == 100
    log = observed(log, sample(9500, 7, 9400), began_ms={})
    assert (log.passes[2].started_ms, log.passes[2].transferred_bytes) == (9000, 400)


def test_the_pass_under_way_goes_on_after_a_gap():
    log = logged(sample(0, 1, 0), sample(1000, 2, 1000))
    log = observed(log, sample(3000, 2, 3000), began_ms={}, after_gap=True)
    assert [(each.number, each.duration_ms) for each in log.passes] == [(1, 1000), (2, 2000)]


def test_nothing_seen_stays_nothing():
    assert closed(PassLog(), total_ms=100, transferred_bytes=5).passes == ()


steps = st.tuples(st.integers(0, 3000), st.integers(0, 3), st.integers(0, 1 << 30))


@given(st.lists(steps, min_size=1), st.dictionaries(st.integers(1, 20), st.integers(0, 10**6)))
def test_passes_follow_one_another_without_holes_and_lose_no_byte(walk, began_ms):
    log, elapsed, number, sent = PassLog(), 0, 1, 0
    for more_ms, more_passes, more_bytes in walk:
        elapsed, number, sent = elapsed + more_ms, number + more_passes, sent + more_bytes
        log = observed(log, sample(elapsed, number, sent), began_ms=began_ms)
    assert [each.number for each in log.passes] == list(range(1, number + 1))
    for one, other in itertools.pairwise(log.passes):
        assert one.started_ms + one.duration_ms == other.started_ms
    assert log.passes[-1].started_ms + log.passes[-1].duration_ms == elapsed
    assert sum(each.transferred_bytes for each in log.passes) == sent
