"""The forecast of a move in a fleet: what it rests on, its verdict, and what would help."""

import re

import msgspec
import pytest

from backend.forecast.forecasts import forecast_of
from backend.forecast.rates import Rates
from backend.forecast.traffic import Second
from backend.migrations.jobs import Jobs
from wire.agent import AgentSnapshot, Job, JobState
from wire.fleet import Disk, PowerState
from wire.forecast import Basis, Dirtying, DirtySample, Ease
from wire.migration import Migration, MigrationOptions, MigrationState, Pass, Statistics

MIB, GIB = 1 << 20, 1 << 30
LINK = 50 * MIB
LOCAL = Disk(target="vdb", source="/local/b.img", capacity_bytes=4 * GIB, allocation_bytes=GIB)


def dirtying(*mib_by_window: tuple[int, float], resident_mib: int = 0, at_ms: int = 5) -> Dirtying:
    return Dirtying(
        server_id="id-web-1",
        samples=tuple(
            DirtySample(window_ms=1000 * seconds, dirtied_bytes=int(mib * MIB), at_ms=at_ms)
            for seconds, mib in mib_by_window
        ),
        resident_bytes=resident_mib * MIB,
    )


IDLE = dirtying((1, 0), (3, 0))
WARM = dirtying((1, 10), (3, 20))
HEAVY = dirtying((1, 40), (3, 110), (10, 300))
SLOWED = dirtying((1, 60), (3, 110), (10, 130))
HOT = dirtying((1, 80), (3, 120), (10, 125))


class Case:
    def __init__(self, two) -> None:
        self.fleet, self.jobs = two.fleet, Jobs()
        self.two = two

    def measure(self, told: Dirtying) -> None:
        self.fleet.put_dirtying(told)

    def ask(self, kind="live", *, bandwidth=LINK, target="host-2", **options: object):
        return forecast_of(
            self.fleet,
            self.jobs,
            self.fleet.records["id-web-1"],
            kind=kind,
            options=MigrationOptions(**options),
            bandwidth_bytes_per_s=bandwidth,
            target_host_id=target,
        )


@pytest.fixture
def case(two):
    return Case(two)


def test_nothing_measured_is_a_guess_with_a_wide_band(case):
    told = case.ask()
    assert (told.basis, told.ease) == (Basis.GUESSED, Ease.EASY)
    case.measure(IDLE)
    known = case.ask()
    assert known.basis is Basis.MEASURED
    assert told.high_ms / told.total_ms > known.high_ms / known.total_ms


def test_classes_of_guests(case):
    eases = []
    for told in (IDLE, WARM, HEAVY, SLOWED, HOT):
        case.measure(told)
        eases.append(case.ask().ease)
    assert eases == [Ease.EASY, Ease.EASY, Ease.HEAVY, Ease.HEAVY, Ease.STUCK]


def test_who_has_to_be_held_back_a_little_goes_alone_and_by_more_needs_a_lever(case):
    case.measure(SLOWED)
    told = case.ask()
    assert (told.ease, told.lever) == (Ease.HEAVY, "")
    assert 20 <= told.throttle_percent <= 60
    assert told.floor_ms > 300
    case.measure(HOT)
    told = case.ask()
    percent = int(re.search(r"before QEMU holds it back by (\d+) %", told.lever)[1])
    assert (told.ease, percent > 60) == (Ease.STUCK, True)
    case.measure(WARM)
    assert case.ask().throttle_percent == 0


def test_a_busier_guest_takes_longer_and_sends_more(case):
    case.measure(IDLE)
    idle = case.ask()
    case.measure(HEAVY)
    heavy = case.ask()
    assert heavy.total_ms > idle.total_ms
    assert heavy.sent_bytes > idle.sent_bytes
    assert heavy.pass_count > idle.pass_count
    assert heavy.low_ms < heavy.total_ms < heavy.high_ms
    assert idle.floor_ms == heavy.floor_ms == 0
    assert idle.lever == heavy.lever == ""


def test_a_stuck_guest_has_a_floor_and_a_lever_that_helps(case):
    case.measure(HOT)
    told = case.ask()
    assert told.floor_ms > 300
    limit_ms = int(re.search(r"downtime limit of (\d+) ms", told.lever)[1])
    bound_ms = int(re.search(r"bound of (\d+) ms", told.lever)[1])
    longer = case.ask(downtime_limit_ms=limit_ms)
    assert (longer.ease, longer.lever) == (Ease.HEAVY, "")
    quick = case.ask(quickly_finish=True, downtime_bound_ms=bound_ms)
    assert (quick.ease, quick.lever) == (Ease.HEAVY, "")
    assert case.ask(quickly_finish=True, downtime_bound_ms=400).ease is Ease.STUCK


def test_who_may_write_in_order_is_not_called_stuck(case):
    case.measure(dirtying((1, 32), (3, 64), (10, 64)))
    told = case.ask(bandwidth=36 * MIB)
    assert (told.ease, told.lever) == (Ease.HEAVY, "")
    case.measure(dirtying((1, 63), (3, 64), (10, 64)))
    assert case.ask(bandwidth=36 * MIB).ease is Ease.STUCK


def test_one_noisy_window_makes_no_guest_stuck(case):
    """Of 256 MiB QEMU samples 128 pages: 22 MiB in a second may look like 38."""
    small = msgspec.structs.replace(case.two.server, memory_bytes=256 * MIB)
    case.two.add_record(small, case.two.hosts[0])
    case.two.report(case.two.hosts[0], small)
    case.measure(dirtying((1, 38), (3, 38)))
    told = case.ask(bandwidth=45 * MIB)
    assert (told.ease, told.lever) == (Ease.HEAVY, "")
    # where it is more than sampling can be wrong by, it is
    case.measure(dirtying((1, 110), (3, 120), (10, 120)))
    assert case.ask(bandwidth=45 * MIB).ease is Ease.STUCK


def test_a_cap_can_be_what_holds_it_back(case):
    case.measure(HEAVY)
    told = case.ask(max_bandwidth_bytes_per_s=20 * MIB)
    assert told.ease is Ease.STUCK
    assert told.bandwidth_bytes_per_s == 20 * MIB
    assert "without its cap it gets 50.0 MiB/s" in told.lever


def test_what_would_stand_still_for_too_long_is_no_live_move(case):
    case.two.add_record(
        msgspec.structs.replace(case.two.server, memory_bytes=64 * GIB), case.two.hosts[0]
    )
    case.two.report(
        case.two.hosts[0], msgspec.structs.replace(case.two.server, memory_bytes=64 * GIB)
    )
    case.measure(dirtying((1, 900), (3, 2700), (10, 9000)))
    told = case.ask()
    assert told.ease is Ease.STUCK
    assert "downtime limit of" not in told.lever
    assert "post-copy" in told.lever


def test_only_memory_that_is_in_use_is_sent(case):
    case.measure(IDLE)
    whole = case.ask()
    case.measure(dirtying((1, 0), (3, 0), resident_mib=300, at_ms=6))
    part = case.ask()
    assert whole.sent_bytes == GIB
    assert 200 * MIB < part.sent_bytes < 300 * MIB


def test_local_disks_go_along(case):
    case.measure(IDLE)
    without = case.ask()
    server = msgspec.structs.replace(case.two.server, disks=(*case.two.server.disks, LOCAL))
    case.two.report(case.two.hosts[0], server)
    along = case.ask()
    assert along.sent_bytes - without.sent_bytes == 4 * GIB, "at its full size"
    assert along.total_ms - without.total_ms == pytest.approx(GIB / LINK * 1000, abs=2)


def test_a_stopped_server_with_disks_and_one_without(case):
    assert case.ask("cold") is None
    server = msgspec.structs.replace(
        case.two.server, disks=(*case.two.server.disks, LOCAL), state=PowerState.SHUT_OFF
    )
    case.two.report(case.two.hosts[0], server)
    told = case.ask("cold")
    assert (told.sent_bytes, told.downtime_ms, told.ease) == (GIB, 0, Ease.EASY)
    assert told.total_ms > GIB / LINK * 1000
    empty = msgspec.structs.replace(LOCAL, allocation_bytes=0)
    server = msgspec.structs.replace(server, disks=(empty,))
    case.two.report(case.two.hosts[0], server)
    assert case.ask("cold").sent_bytes == 0, "and still it is a copy"


def test_without_any_rate_nobody_can_say(case):
    assert case.ask(bandwidth=None) is None


def test_the_slower_end_counts_and_a_card_is_not_believed_in_full(case, make_host):
    for number, mbit in ((1, 10_000), (2, 1_000)):
        case.fleet.put_facts(f"host-{number}", make_host(number, link_bytes_per_s=mbit * 125_000))
    told = case.ask(bandwidth=None)
    assert 100_000_000 < told.bandwidth_bytes_per_s < 125_000_000
    assert case.ask(bandwidth=None, target="").bandwidth_bytes_per_s > 1_000_000_000
    assert Rates(case.fleet).out_of("host-1").measured_at_ms == 0


def test_what_moves_have_shown_beats_the_card(case, make_host, monkeypatch):
    case.fleet.put_facts("host-1", make_host(1, link_bytes_per_s=1_250_000_000))
    case.fleet.put_facts("host-2", make_host(2, link_bytes_per_s=1_250_000_000))
    shown = (
        Second(at_ms=8, bytes_per_s=LINK, moves=1),
        Second(at_ms=9, bytes_per_s=4 * LINK, moves=4),
    )
    monkeypatch.setattr(case.fleet.traffic, "out_of", lambda _: shown)
    told = case.ask(bandwidth=None)
    assert told.bandwidth_bytes_per_s == LINK
    link = Rates(case.fleet).out_of("host-1")
    assert (link.bytes_per_s, link.stream_bytes_per_s, link.measured_at_ms) == (4 * LINK, LINK, 9)


def passes(*, hot_mib: float = 80) -> tuple[Pass, ...]:
    """A guest with so much hot memory, seen by two passes over 1 GiB at 50 MiB/s."""
    values = [(0, 20_000, GIB), (20_000, 1_600, int(hot_mib * MIB)), (21_600, 900, 60 * MIB)]
    return tuple(
        Pass(
            number=number,
            started_ms=500 + started_ms,
            duration_ms=duration_ms,
            remaining_at_start_bytes=remaining,
            transferred_bytes=remaining,
            dirty_bytes_per_s=0,
            bandwidth_bytes_per_s=LINK,
            throttle_percent=0,
        )
        for number, (started_ms, duration_ms, remaining) in enumerate(values, 1)
    )


def migration(**changes: object) -> Migration:
    values: dict[str, object] = {
        "migration_id": "m",
        "server_id": "id-web-1",
        "server_name": "web-1",
        "source_host_id": "host-1",
        "source_host_name": "kvm-01",
        "target_host_id": "host-2",
        "state": MigrationState.COPYING_MEMORY,
    }
    return Migration(**(values | changes))


def test_the_last_move_tells_where_no_samples_do(case):
    ended = migration(
        state=MigrationState.SUCCEEDED, passes=passes(), statistics=Statistics(downtime_ms=1_000)
    )
    case.fleet.put_migration("m", ended)
    told = case.ask()
    assert told.basis is Basis.PAST_MOVE
    assert told.ease is Ease.HEAVY
    case.measure(IDLE)
    assert (case.ask().basis, case.ask().ease) == (Basis.MEASURED, Ease.EASY)


def test_passes_of_a_guest_that_was_held_back_tell_what_it_does_when_it_is_not(case):
    """Of 1.6 s it ran 0.4: what it dirtied then it dirties in 0.4 s."""
    free, slowed = passes(), list(passes())
    slowed[1] = msgspec.structs.replace(slowed[1], throttle_percent=75)
    rates = []
    for at_ms, one in enumerate((free, tuple(slowed)), 1):
        ended = migration(
            migration_id=f"m-{at_ms}",
            state=MigrationState.SUCCEEDED,
            passes=one,
            finished_at_ms=at_ms,
            statistics=Statistics(downtime_ms=1_000),
        )
        case.fleet.put_migration(ended.migration_id, ended)
        rates.append(case.ask().dirty_bytes_per_s)
    assert rates[1] > 2 * rates[0]


def test_a_move_under_way_is_forecast_with_how_far_its_guest_is_held_back(case):
    case.two.add_record(case.two.server, case.two.hosts[0], migration_id="m")
    case.fleet.put_migration("m", migration())
    values = []
    for percent in (0, 90):
        held = tuple(msgspec.structs.replace(one, throttle_percent=percent) for one in passes()[2:])
        job = Job(
            migration_id="m",
            server_id="id-web-1",
            state=JobState.COPYING_MEMORY,
            passes=(*passes()[:2], *held),
        )
        case.jobs.put(job)
        values.append(case.ask())
    assert values[1].throttle_percent == 90
    assert values[1].total_ms < values[0].total_ms


def test_the_range_is_as_wide_as_the_sample_is_small(case):
    """The same share of its memory is written, of a guest of 256 MiB and of one of 16 GiB."""
    spreads = []
    for gib in (0.25, 16):
        server = msgspec.structs.replace(case.two.server, memory_bytes=int(gib * GIB))
        case.two.add_record(server, case.two.hosts[0])
        case.two.report(case.two.hosts[0], server)
        case.measure(dirtying((1, 0.1 * gib * 1024), (3, 0.1 * gib * 1024)))
        told = case.ask(bandwidth=int(0.16 * gib * GIB))
        spreads.append(told.high_ms / told.total_ms)
    assert spreads[0] > 1.5 * spreads[1]


def test_a_link_that_only_its_card_tells_of_may_be_ten_times_slower(case, make_host):
    case.measure(IDLE)
    for number in (1, 2):
        case.fleet.put_facts(f"host-{number}", make_host(number, link_bytes_per_s=2 * LINK))
    unseen = case.ask(bandwidth=None)
    seen = case.ask(bandwidth=unseen.bandwidth_bytes_per_s)
    assert unseen.total_ms == seen.total_ms
    copying_ms = 1000 * GIB / unseen.bandwidth_bytes_per_s
    assert unseen.high_ms > 10 * copying_ms > seen.high_ms
    assert unseen.low_ms == seen.low_ms
    assert (unseen.link_seen, seen.link_seen) == (False, True)


def test_passes_of_a_move_under_way_refine_its_forecast(case):
    case.measure(IDLE)
    before = case.ask()
    case.two.add_record(case.two.server, case.two.hosts[0], migration_id="m")
    case.fleet.put_migration("m", migration())
    job = Job(
        migration_id="m",
        server_id="id-web-1",
        state=JobState.COPYING_MEMORY,
        passes=passes(),
    )
    case.jobs.put(job)
    refined = case.ask()
    assert refined.basis is Basis.MEASURED
    assert refined.total_ms > before.total_ms
    assert refined.sent_bytes > before.sent_bytes
    assert refined.low_ms > 22_000  # so much has passed already
    assert refined.pass_count > 3


def test_what_hosts_measure_is_kept_newest_first_and_goes_with_the_server(case):
    case.measure(WARM)
    old = msgspec.structs.replace(
        IDLE,
        samples=tuple(
            DirtySample(window_ms=one.window_ms, dirtied_bytes=0, at_ms=1) for one in IDLE.samples
        ),
    )
    host = case.two.hosts[1]
    case.fleet.put_snapshot(
        host.host_id, AgentSnapshot(facts=host, servers=(), jobs=(), dirtying=(old,))
    )
    assert case.fleet.dirtying["id-web-1"] is WARM
    case.fleet.put_record("id-web-1", None)
    assert "id-web-1" not in case.fleet.dirtying
