"""When the downtime limit is raised, and to what."""

import pytest

from hostagent.quick_finish import FINISHED_PASSES, MARGIN, raised_limit_ms
from wire.migration import Pass, Sample

MB = 1_000_000


def passes(count: int, *, remaining_bytes: int, bandwidth: int) -> tuple[Pass, ...]:
    return tuple(
        Pass(
            number=number + 1,
            started_ms=number * 1_000,
            duration_ms=1_000,
            remaining_at_start_bytes=remaining_bytes,
            transferred_bytes=bandwidth,
            dirty_bytes_per_s=2 * bandwidth,
            bandwidth_bytes_per_s=bandwidth,
            throttle_percent=0,
        )
        for number in range(count)
    )


def sample(*, remaining_bytes: int, bandwidth: int) -> Sample:
    return Sample(
        elapsed_ms=9_000,
        pass_number=4,
        memory_total_bytes=500 * MB,
        memory_processed_bytes=500 * MB,
        memory_remaining_bytes=remaining_bytes,
        bandwidth_bytes_per_s=bandwidth,
        dirty_bytes_per_s=2 * bandwidth,
        expected_downtime_ms=2_800,
        downtime_limit_ms=300,
        throttle_percent=0,
    )


def raised(
    count: int = FINISHED_PASSES + 1,
    *,
    remaining_bytes: int = 32 * MB,
    bandwidth: int = 50 * MB,
    now: int = 50 * MB,
    limit_ms: int = 300,
    bound_ms: int = 3_000,
) -> int | None:
    return raised_limit_ms(
        passes(count, remaining_bytes=remaining_bytes, bandwidth=bandwidth),
        sample(remaining_bytes=remaining_bytes - MB, bandwidth=now),
        limit_ms=limit_ms,
        bound_ms=bound_ms,
    )


def test_it_is_what_the_pass_needs_and_the_margin():
    assert raised() == pytest.approx(640 * (1 + MARGIN), abs=1)


def test_the_lower_bandwidth_counts_and_none_is_left_out():
    assert raised(now=25 * MB) == 2 * raised(bandwidth=50 * MB, now=50 * MB)
    assert raised(bandwidth=25 * MB) == raised(now=25 * MB)
    assert raised(now=0) == raised()
    assert raised(bandwidth=0, now=0) is None


@pytest.mark.parametrize("count", range(FINISHED_PASSES + 1))
def test_a_few_passes_come_first(count):
    assert raised(count) is None


def test_it_waits_when_the_bound_does_not_do():
    needed_ms = raised()
    assert raised(bound_ms=needed_ms) == needed_ms
    assert raised(bound_ms=needed_ms - 1) is None


def test_a_limit_that_does_is_left():
    needed_ms = raised()
    assert raised(limit_ms=needed_ms) is None
    assert raised(limit_ms=needed_ms - 1) == needed_ms
    assert raised(limit_ms=10_000) is None
