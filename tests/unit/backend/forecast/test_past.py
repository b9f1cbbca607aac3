"""What ended moves teach: overheads, fixed pauses, and how forecasts held."""

import msgspec
import pytest

from backend.forecast.past import (
    COLD_OVERHEAD_MS,
    FIXED_PAUSE_MS,
    LIVE_OVERHEAD_MS,
    Past,
)
from wire.forecast import Basis, Ease, Forecast
from wire.migration import (
    Migration,
    MigrationParameters,
    MigrationState,
    Pass,
    Statistics,
)

MB = 1_000_000


def a_pass(number: int, started_ms: int, duration_ms: int, remaining: int) -> Pass:
    return Pass(
        number=number,
        started_ms=started_ms,
        duration_ms=duration_ms,
        remaining_at_start_bytes=remaining,
        transferred_bytes=remaining,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=remaining * 1000 // duration_ms,
        throttle_percent=0,
    )


def forecast(total_ms: int = 2_000, basis: Basis = Basis.MEASURED) -> Forecast:
    return Forecast(
        ease=Ease.EASY,
        basis=basis,
        total_ms=total_ms,
        low_ms=1,
        high_ms=1,
        sent_bytes=1,
        downtime_ms=1,
        bandwidth_bytes_per_s=40 * MB,
    )


def moved(name: str = "m", **changes: object) -> Migration:
    """A move of 3 s, of which 1 s and 200 ms were copying and the pause."""
    values: dict[str, object] = {
        "migration_id": name,
        "server_id": "id",
        "server_name": "web-1",
        "source_host_id": "a",
        "source_host_name": "kvm-a",
        "target_host_id": "b",
        "state": MigrationState.SUCCEEDED,
        "created_at_ms": 1_000,
        "started_at_ms": 1_100,
        "finished_at_ms": 4_000,
        "passes": (a_pass(1, 700, 1_000, 40 * MB), a_pass(2, 1_700, 200, 4 * MB)),
        "statistics": Statistics(downtime_ms=190, total_ms=1_900),
        "forecast": forecast(),
    }
    return Migration(**(values | changes))


def test_before_any_move_there_are_guesses():
    past = Past()
    assert past.overhead_ms("live") == LIVE_OVERHEAD_MS
    assert past.overhead_ms("cold") == COLD_OVERHEAD_MS
    assert past.fixed_pause_ms() == FIXED_PAUSE_MS
    assert past.band("live", Basis.MEASURED) is None
    assert past.last_move("id") is None


def test_overhead_is_all_that_is_no_pass():
    past = Past()
    past.ended(moved())
    assert past.overhead_ms("live") == 3_000 - 1_200
    assert past.overhead_ms("cold") == COLD_OVERHEAD_MS


def test_the_fixed_pause_is_what_sending_does_not_explain():
    past = Past()
    past.ended(moved())
    assert past.fixed_pause_ms() == 190 - 115  # 4 MB at 40 MB/s, 15 % slower


@pytest.mark.parametrize("state", [MigrationState.FAILED, MigrationState.CANCELLED])
def test_moves_that_did_not_succeed_teach_nothing(state):
    past = Past()
    past.ended(moved(state=state))
    assert past.overhead_ms("live") == LIVE_OVERHEAD_MS
    assert past.last_move("id") is None


def test_copied_disks_are_no_overhead():
    past = Past()
    past.ended(moved(statistics=Statistics(disk_transferred_bytes=1 << 30)))
    assert past.overhead_ms("live") == LIVE_OVERHEAD_MS


def test_a_cold_move_of_a_definition_is_all_overhead():
    past = Past()
    past.ended(moved(kind="cold", passes=(), statistics=Statistics()))
    assert past.overhead_ms("cold") == 3_000


def test_the_newest_move_of_a_server_is_its_last_one_and_goes_with_it():
    past = Past()
    newer, older = moved("n", finished_at_ms=9_000), moved("o", finished_at_ms=5_000)
    past.ended(newer)
    past.ended(older)
    assert past.last_move("id") is newer
    past.forget("id")
    assert past.last_move("id") is None


def test_the_band_is_that_of_nine_in_ten():
    past = Past()
    for number in range(40):
        real_ms = 1_000 * (number + 1)
        past.ended(moved(f"m{number}", finished_at_ms=1_000 + real_ms))
    low, high = past.band("live", Basis.MEASURED)
    assert (low, high) == (1.5, 19.0)  # 1 s to 40 s by 2 s, without two at each end
    assert past.band("live", Basis.GUESSED) is None
    assert past.band("cold", Basis.MEASURED) is None


def test_moves_under_other_terms_do_not_count_for_the_band():
    past = Past()
    shared = (a_pass(1, 700, 4_000, 40 * MB), a_pass(2, 4_700, 200, 1 * MB))
    steered = MigrationParameters(max_bandwidth_bytes_per_s=1)
    for number in range(20):
        past.ended(moved(f"s{number}", passes=shared))
        past.ended(moved(f"t{number}", parameters=steered))
        past.ended(moved(f"u{number}", forecast=None))
    assert past.band("live", Basis.MEASURED) is None


def test_telling_of_a_move_twice_changes_nothing():
    past = Past()
    for _ in range(20):
        past.ended(moved())
    past.ended(msgspec.structs.replace(moved("n"), finished_at_ms=6_000))
    assert past.overhead_ms("live") == (1_800 + 3_800) // 2
