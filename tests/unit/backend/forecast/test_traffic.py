"""What a link carries is learned from the moves that it carried."""

import msgspec
import pytest

from backend.forecast.rates import shown
from backend.forecast.traffic import HOURS_MS, Traffic
from wire.migration import Migration, MigrationOptions, MigrationState, Pass, Sample

MB = 1_000_000


class Clock:
    now_ms = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(clock):
    return Traffic(clock)


def migration(name: str = "m", **changes: object) -> Migration:
    values: dict[str, object] = {
        "migration_id": name,
        "server_id": f"id-{name}",
        "server_name": name,
        "source_host_id": "a",
        "source_host_name": "kvm-a",
        "target_host_id": "b",
        "target_host_name": "kvm-b",
        "state": MigrationState.COPYING_MEMORY,
    }
    return Migration(**(values | changes))


def sample(elapsed_ms: int, sent: int, **changes: object) -> Sample:
    values: dict[str, object] = {
        "elapsed_ms": elapsed_ms,
        "pass_number": 1,
        "memory_total_bytes": 1000 * MB,
        "memory_processed_bytes": sent,
        "memory_remaining_bytes": 1000 * MB - sent,
        "bandwidth_bytes_per_s": 40 * MB,
        "dirty_bytes_per_s": 0,
        "expected_downtime_ms": 0,
        "downtime_limit_ms": 300,
        "throttle_percent": 0,
    }
    return Sample(**(values | changes))


def send(traffic, clock, moves: dict[Migration, int], seconds: int, *, late_ms: int = 0) -> None:
    """Let moves send for a while, each with its rate."""
    begin_ms = clock.now_ms
    for step in range(4 * seconds + 1):
        at_ms = begin_ms + 250 * step
        clock.now_ms = at_ms + (late_ms if step % 5 == 3 else 0)
        for one, rate in moves.items():
            traffic.saw(one, sample(5_000 + 250 * step, rate * step // 4))
    clock.now_ms += 3_000


def test_one_move_shows_the_link_and_the_stream(traffic, clock):
    send(traffic, clock, {migration(): 40 * MB}, 4)
    for seconds in (traffic.out_of("a"), traffic.into("b")):
        link = shown(seconds)
        assert link.bytes_per_s == link.stream_bytes_per_s == pytest.approx(40 * MB, rel=0.01)
        assert link.measured_at_ms > 0
    assert shown(traffic.out_of("b")) is None
    assert shown(traffic.into("a")) is None


def test_two_moves_add_up(traffic, clock):
    send(traffic, clock, {migration("m"): 40 * MB}, 3)
    send(traffic, clock, {migration("m"): 40 * MB, migration("n", target_host_id="c"): 35 * MB}, 4)
    link = shown(traffic.out_of("a"))
    assert link.bytes_per_s == pytest.approx(75 * MB, rel=0.01)
    assert link.stream_bytes_per_s == pytest.approx(40 * MB, rel=0.01)
    assert shown(traffic.into("c")).bytes_per_s == pytest.approx(35 * MB, rel=0.01)


def test_a_link_that_one_fills_and_two_share_has_room_for_one(traffic, clock):
    send(traffic, clock, {migration("m"): 46 * MB}, 3)
    send(traffic, clock, {migration("n"): 24 * MB, migration("o"): 24 * MB}, 3)
    link = shown(traffic.out_of("a"))
    assert link.bytes_per_s == link.stream_bytes_per_s == pytest.approx(48 * MB, rel=0.01)


def test_a_share_of_a_full_link_is_not_taken_for_a_stream(traffic, clock):
    send(traffic, clock, {migration("m"): 50 * MB}, 4)
    send(traffic, clock, {migration("n"): 25 * MB, migration("o"): 25 * MB}, 90)
    link = shown(traffic.out_of("a"))
    assert link.bytes_per_s == link.stream_bytes_per_s == pytest.approx(50 * MB, rel=0.01)


def test_several_that_get_more_than_one_did_show_that_streams_are_faster(traffic, clock):
    send(traffic, clock, {migration("m"): 5 * MB}, 4)
    send(traffic, clock, {migration("n"): 60 * MB, migration("o"): 60 * MB}, 4)
    assert shown(traffic.out_of("a")).stream_bytes_per_s == pytest.approx(60 * MB, rel=0.01)


def test_before_one_sent_alone_a_stream_is_taken_to_fill_the_link(traffic, clock):
    send(traffic, clock, {migration("n"): 25 * MB, migration("o"): 25 * MB}, 4)
    link = shown(traffic.out_of("a"))
    assert link.bytes_per_s == link.stream_bytes_per_s == pytest.approx(50 * MB, rel=0.01)


def test_that_a_link_was_full_is_not_forgotten_while_one_sends_alone(traffic, clock):
    send(traffic, clock, {migration("n"): 25 * MB, migration("o"): 25 * MB}, 4)
    send(traffic, clock, {migration("m"): 50 * MB}, 90)
    counts = {one.moves for one in traffic.out_of("a")}
    assert {1, 2} <= counts
    assert len(traffic.out_of("a")) < 90


def test_who_begins_within_a_second_shows_no_full_link(traffic, clock):
    begin_ms = clock.now_ms
    for step in range(14):
        clock.now_ms = begin_ms + 250 * step
        traffic.saw(migration("m"), sample(250 * step, 10 * MB * step))
        if step >= 7:
            traffic.saw(migration("n"), sample(250 * (step - 7), 10 * MB * (step - 7)))
    clock.now_ms += 3_000
    assert [one.moves for one in traffic.out_of("a")][:3] == [1, 0, 2]


def test_answers_that_come_late_show_no_faster_link(traffic, clock):
    send(traffic, clock, {migration(): 40 * MB}, 6, late_ms=240)
    assert shown(traffic.out_of("a")).bytes_per_s == pytest.approx(40 * MB, rel=0.01)


def test_a_capped_move_shows_only_that_there_is_at_least_so_much(traffic, clock):
    capped = migration("c", options=MigrationOptions(max_bandwidth_bytes_per_s=10 * MB))
    send(traffic, clock, {migration(): 40 * MB}, 4)
    send(traffic, clock, {capped: 10 * MB}, 90)
    assert shown(traffic.out_of("a")).bytes_per_s == pytest.approx(40 * MB, rel=0.01)


def test_what_moves_send_under_a_cap_is_not_the_links_rate(traffic, clock):
    capped = migration("c", options=MigrationOptions(max_bandwidth_bytes_per_s=10 * MB))
    send(traffic, clock, {capped: 10 * MB}, 9)
    assert shown(traffic.out_of("a")) is None


@pytest.mark.parametrize(("held_mb", "moves"), [(1, 1), (10, 0)])
def test_one_that_is_held_back_to_little_hides_nothing_of_the_link(traffic, clock, held_mb, moves):
    cap = MigrationOptions(max_bandwidth_bytes_per_s=held_mb * MB)
    held = migration("held", options=cap)
    send(traffic, clock, {migration(): 40 * MB, held: held_mb * MB}, 6)
    seconds = traffic.out_of("a")
    assert {one.moves for one in seconds[1:-1]} == ({1} if moves else set())
    assert bool(seconds) is bool(moves)


def test_a_link_that_became_slower_is_known_for_it_after_a_while(traffic, clock):
    send(traffic, clock, {migration("m"): 400 * MB}, 4)
    send(traffic, clock, {migration("n"): 10 * MB}, 90)
    assert shown(traffic.out_of("a")).bytes_per_s == pytest.approx(10 * MB, rel=0.01)


def test_what_is_hours_old_says_nothing(traffic, clock):
    send(traffic, clock, {migration(): 40 * MB}, 4)
    clock.now_ms += HOURS_MS
    assert traffic.out_of("a") == ()


def test_holes_of_a_live_moves_disks_are_not_counted(traffic, clock):
    begin_ms = clock.now_ms
    for step in range(20):
        clock.now_ms = begin_ms + 250 * step
        left = 100_000 * MB - 5_000 * MB * step
        traffic.saw(
            migration(),
            sample(250 * step, 0, disk_total_bytes=100_000 * MB, disk_remaining_bytes=left),
        )
    clock.now_ms += 3_000
    assert traffic.out_of("a") == ()


def test_a_cold_moves_disks_are_counted(traffic, clock):
    begin_ms = clock.now_ms
    for step in range(20):
        clock.now_ms = begin_ms + 250 * step
        left = 1_000 * MB - 10 * MB * step
        traffic.saw(
            migration(kind="cold"),
            sample(250 * step, 0, disk_total_bytes=1_000 * MB, disk_remaining_bytes=left),
        )
    clock.now_ms += 3_000
    assert shown(traffic.out_of("a")).bytes_per_s == pytest.approx(40 * MB, rel=0.01)


def test_sending_is_what_moves_under_way_say(traffic, clock):
    traffic.saw(migration("m"), sample(0, 0))
    traffic.saw(migration("n"), sample(0, 0, disk_bandwidth_bytes_per_s=5 * MB))
    assert (traffic.sending("a"), traffic.sending("b")) == (85 * MB, 0)
    traffic.ended(migration("m", state=MigrationState.SUCCEEDED, finished_at_ms=clock.now_ms))
    assert traffic.sending("a") == 45 * MB
    clock.now_ms += 2_001
    assert traffic.sending("a") == 0


def test_samples_after_the_end_are_nobodys(traffic):
    traffic.saw(migration(state=MigrationState.SUCCEEDED), sample(0, 0))
    assert traffic.sending("a") == 0


def test_walking_through_zero_pages_shows_no_slow_link(traffic, clock):
    begin_ms = clock.now_ms
    for step in range(20):
        clock.now_ms = begin_ms + 250 * step
        sent = MB * step
        left = 1_000 * MB - 40 * MB * step
        traffic.saw(migration(), sample(250 * step, sent, memory_remaining_bytes=left))
    traffic.ended(
        migration(
            state=MigrationState.SUCCEEDED,
            finished_at_ms=clock.now_ms,
            passes=(
                msgspec.structs.replace(
                    long_pass(4 * MB, duration_ms=4_750), remaining_at_start_bytes=1_000 * MB
                ),
            ),
        )
    )
    clock.now_ms += 3_000
    assert traffic.out_of("a") == ()


def long_pass(rate: int, duration_ms: int = 1_500) -> Pass:
    return Pass(
        number=1,
        started_ms=600,
        duration_ms=duration_ms,
        remaining_at_start_bytes=1,
        transferred_bytes=rate * duration_ms // 1000,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=rate,
        throttle_percent=0,
    )


def test_the_journal_tells_after_a_restart(traffic, clock):
    ended = migration(
        state=MigrationState.SUCCEEDED,
        finished_at_ms=clock.now_ms - 60_000,
        passes=(long_pass(47 * MB), long_pass(900 * MB, duration_ms=40)),
    )
    traffic.ended(ended)
    link = shown(traffic.out_of("a"))
    assert (link.bytes_per_s, link.stream_bytes_per_s) == (47 * MB, 47 * MB)
    traffic.ended(msgspec.structs.replace(ended, source_host_id="z", finished_at_ms=1))
    assert traffic.out_of("z") == ()


def test_of_what_the_journal_tells_the_newest_counts_in_whatever_order(traffic, clock):
    for number in reversed(range(200)):
        traffic.ended(
            migration(
                f"m{number}",
                state=MigrationState.SUCCEEDED,
                finished_at_ms=clock.now_ms - 100_000 + number,
                passes=(long_pass((47 if number >= 140 else 900) * MB),),
            )
        )
    assert shown(traffic.out_of("a")).bytes_per_s == 47 * MB
