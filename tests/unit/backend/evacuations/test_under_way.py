"""What is left of a move by its latest sample, what links count for, and how a cap is shared."""

from typing import Any

import msgspec
import pytest

from backend.evacuations.timing.links import links_of, stream_of
from backend.evacuations.timing.pacing import Moving
from backend.evacuations.timing.sharing import share
from backend.evacuations.timing.under_way import Lead, moving, sends
from backend.forecast.rates import Rates
from backend.forecast.traffic import Second
from backend.moments import now_ms
from wire.agent import Job, JobState
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    MoveState,
    PlannedMove,
    Way,
)
from wire.fleet import Disk
from wire.forecast import Basis, Ease, Forecast
from wire.migration import Migration, MigrationState, Pass, Sample

MB = 1_000_000
MIB = 1 << 20
AT_MS = 1_700_000_000_000


def forecast(sent_mb: int, ease: Ease = Ease.EASY, *, total_ms: int = 1) -> Forecast:
    return Forecast(
        ease=ease,
        basis=Basis.MEASURED,
        total_ms=total_ms,
        low_ms=1,
        high_ms=1,
        sent_bytes=sent_mb * MB,
        downtime_ms=1,
        bandwidth_bytes_per_s=50 * MB,
    )


def line(expected: Forecast | None, state: MoveState = MoveState.MOVING) -> EvacuatedServer:
    plan = PlannedMove(
        server_id="id-a",
        server_name="a",
        way=Way.LIVE,
        source_host_id="host-1",
        source_host_name="kvm-01",
        target_host_id="host-2",
        target_host_name="kvm-02",
        forecast=expected,
    )
    return EvacuatedServer(plan=plan, state=state, forecast=expected)


def sample(pass_number: int, processed_mb: int, remaining_mb: int, **changes: int) -> Sample:
    values: dict[str, Any] = {
        "elapsed_ms": 1_000,
        "pass_number": pass_number,
        "memory_total_bytes": 500 * MB,
        "memory_processed_bytes": processed_mb * MB,
        "memory_remaining_bytes": remaining_mb * MB,
        "bandwidth_bytes_per_s": 50 * MB,
        "dirty_bytes_per_s": 0,
        "expected_downtime_ms": 0,
        "downtime_limit_ms": 300,
        "throttle_percent": 0,
    }
    return Sample(**(values | changes))


def seen(
    scene: Any,
    expected: Forecast | None,
    latest: Sample | None,
    state: MigrationState = MigrationState.COPYING_MEMORY,
    *,
    stream_mb: int = 50,
) -> Moving:
    scene.add("a")
    migration = Migration(
        migration_id="m",
        server_id="id-a",
        server_name="a",
        source_host_id="host-1",
        source_host_name="kvm-01",
        state=state,
        created_at_ms=AT_MS,
    )
    if latest is not None:
        scene.jobs.put_sample("m", latest)
    return moving(
        scene.fleet,
        scene.jobs,
        migration,
        line(expected),
        forecast=expected,
        shown_heavy=False,
        stream_bytes_per_s=stream_mb * MB,
        lead_s=2.0,
        at_ms=AT_MS + 500,
    )


@pytest.mark.parametrize(
    ("expected", "latest", "left_s"),
    [
        (forecast(100), None, 1.5 + 2.0),
        (None, None, None),
        # zero pages remain too, and cost next to nothing
        (forecast(100), sample(1, 40, 450), 60 / 50),
        (None, sample(1, 40, 450), 450 / 50),
        # the forecast was too high: so much cannot come any more
        (forecast(400), sample(1, 90, 40), 50 / 50),
        (forecast(100), sample(3, 90, 20), 20 / 50),
        (forecast(100), sample(3, 90, 20, dirty_bytes_per_s=20 * MB), 20 / 30),
        (forecast(100), sample(3, 90, 20, dirty_bytes_per_s=46 * MB), None),
        (forecast(100), sample(3, 140, 20), None),
        # what a forecast that was too low left out has to be sent, too
        (forecast(100), sample(1, 110, 20), 20 / 50),
    ],
)
async def test_what_is_left_is_told_by_the_sample_and_by_the_forecast(
    scene, expected, latest, left_s
):
    found = seen(scene, expected, latest)
    assert found.left_s == pytest.approx(left_s)
    assert found.preparing is (latest is None)
    assert (found.source_host_id, found.target_host_id) == ("host-1", "host-2")


async def test_nobody_can_say_before_a_link_has_shown_anything(scene):
    assert seen(scene, forecast(100), None, stream_mb=0).left_s is None
    early = sample(1, 40, 450, elapsed_ms=900)
    assert seen(scene, forecast(100), early, stream_mb=0).left_s is None
    nothing = sample(1, 40, 450, bandwidth_bytes_per_s=0)
    assert seen(scene, forecast(100), nothing, stream_mb=0).left_s is None
    own = sample(1, 40, 450, elapsed_ms=1_100)
    assert seen(scene, forecast(100), own, stream_mb=0).left_s == pytest.approx(60 / 50)


async def test_one_that_switches_over_has_sent_everything(scene):
    found = seen(scene, forecast(100), sample(1, 1, 450), MigrationState.SWITCHING_OVER)
    assert (found.left_s, found.preparing) == (0.0, False)


@pytest.mark.parametrize(
    ("expected", "latest", "heavy"),
    [
        (forecast(1, Ease.HEAVY), None, True),
        (forecast(1, Ease.EASY), sample(2, 1, 1, dirty_bytes_per_s=20 * MB), False),
        # whatever was expected
        (forecast(1, Ease.EASY), sample(2, 1, 1, dirty_bytes_per_s=26 * MB), True),
        (None, sample(1, 1, 1, dirty_bytes_per_s=26 * MB), False),
    ],
)
async def test_who_dirties_half_of_what_is_sent_needs_the_whole_link(
    scene, expected, latest, heavy
):
    assert seen(scene, expected, latest).heavy is heavy


@pytest.mark.parametrize(
    ("expected", "latest", "left_s"),
    [
        # 1.5 s pass before the first pass and after the last one, by what is known of moves;
        # its present pass is nearly over, and so is the move, or there are more to come
        (forecast(100, Ease.HEAVY, total_ms=3_500), sample(3, 90, 1), 1.5),
        (forecast(100, Ease.HEAVY, total_ms=9_000), sample(3, 90, 1), 7.0),
        (forecast(100, Ease.HEAVY, total_ms=9_000), sample(3, 90, 0), 7.0),
        (forecast(100, Ease.HEAVY, total_ms=2_500), sample(3, 90, 40), 0.8),
        # whoever would not converge by itself, and whoever nobody has a forecast of
        (forecast(100, Ease.STUCK, total_ms=1_500), sample(3, 90, 1), None),
        (None, sample(3, 90, 1, dirty_bytes_per_s=26 * MB), None),
        # the first pass says nothing of those that follow
        (forecast(100, Ease.HEAVY, total_ms=1_500), sample(1, 99, 1), None),
        (forecast(10, Ease.HEAVY), None, None),
    ],
)
async def test_the_end_of_a_pass_is_not_that_of_a_heavy_move(scene, expected, latest, left_s):
    if latest is not None:
        passes_of(scene, latest.pass_number)
    found = seen(scene, expected, latest)
    assert found.heavy
    assert found.left_s == (left_s if left_s is None else pytest.approx(left_s))
    switching = MigrationState.SWITCHING_OVER
    assert seen(scene, expected, latest, switching).left_s == 0.0


async def test_nor_that_of_an_easy_one(scene):
    passes_of(scene, 2)
    found = seen(scene, forecast(100, total_ms=6_000), sample(2, 90, 1))
    assert (found.heavy, found.left_s) == (False, pytest.approx(4.0))


def passes_of(scene: Any, count: int) -> None:
    """Have the agent tell of so many passes; the first one began half a second after the job."""
    one = Pass(
        number=1,
        started_ms=500,
        duration_ms=100,
        remaining_at_start_bytes=1,
        transferred_bytes=1,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=1,
        throttle_percent=0,
    )
    passes = tuple(msgspec.structs.replace(one, number=number + 1) for number in range(count))
    scene.jobs.put(
        Job(migration_id="m", server_id="id-a", state=JobState.COPYING_MEMORY, passes=passes)
    )


async def test_a_move_whose_host_is_silent_stalls(scene):
    scene.fleet.agent_lost("host-1", "cut", silent=True)
    assert seen(scene, None, None).stalled


async def test_a_definition_crosses_no_link_and_local_disks_do(scene):
    local = Disk(target="vda", source="/l/x", pool_id="p", pool_name="local", capacity_bytes=1)
    shared, own = scene.add("a"), scene.add("b", disks=(local,))
    assert [sends(shared, "live"), sends(shared, "cold"), sends(own, "cold")] == [True, False, True]
    assert not sends(own, "rescue")


async def test_the_lead_is_what_moves_took_until_they_sent(scene):
    lead = Lead()
    usual_s = lead.s
    scene.add("a")
    options = msgspec.structs.replace(line(None).plan.options)
    begun = await scene.migrations.migrate("live", "a", options, requested_by="alice")
    lead.begun(begun.migration_id)
    lead.look(scene.fleet, scene.jobs)
    assert lead.s == usual_s
    scene.jobs.put_sample(begun.migration_id, sample(1, 1, 9))
    lead.look(scene.fleet, scene.jobs)
    assert 0 < lead.s < usual_s


def evacuation(expected: Forecast | None, **changes: Any) -> Evacuation:
    values: dict[str, Any] = {
        "evacuation_id": "e1",
        "kind": EvacuationKind.EVACUATE,
        "host_id": "host-1",
        "host_name": "kvm-01",
        "servers": (line(expected, MoveState.WAITING),),
    }
    return Evacuation(**(values | changes))


class Shown:
    """Seconds in which moves sent, instead of those that samples would tell of."""

    def __init__(self, *seconds: tuple[int, int]) -> None:
        self.seconds = tuple(
            Second(at_ms=now_ms(), bytes_per_s=whole * MB, moves=moves) for whole, moves in seconds
        )

    def out_of(self, _: str) -> tuple[Second, ...]:
        return self.seconds

    def into(self, _: str) -> tuple[Second, ...]:
        return self.seconds

    def sending(self, _: str) -> int:
        return 0


def card(scene: Any, rate_mb: int) -> None:
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=rate_mb * MB)
        scene.fleet.put_facts(host.host_id, facts)


@pytest.mark.parametrize(
    ("seconds", "bytes_per_s", "measured"),
    [
        ((), 1250, False),
        # one stream alone does not show what a faster card carries
        (((48, 1),), 1250, False),
        (((48, 1), (47, 2)), 48, True),
        # nor do several that reach their full rate together
        (((48, 1), (95, 2)), 1250, False),
        (((48, 1), (95, 2), (190, 4)), 1250, False),
        (((48, 1), (95, 2), (120, 4)), 120, True),
        # who began within the second, or was held back, shows nothing
        (((48, 1), (52, 0)), 1250, False),
        # what was full once carries more by now
        (((47, 2), (95, 1)), 1250, False),
        (((1000, 1),), 1000, True),
    ],
)
async def test_a_faster_card_counts_until_streams_were_seen_to_fill_less(
    scene, seconds, bytes_per_s, measured
):
    card(scene, 1250)
    scene.fleet.traffic = Shown(*seconds)
    rate = (
        links_of(scene.fleet, Rates(scene.fleet), [evacuation(forecast(9))], []).out["host-1"].rate
    )
    assert rate.bytes_per_s == bytes_per_s * MB
    assert bool(rate.measured_at_ms) is measured


async def test_only_what_moves_have_shown_is_a_stream(scene):
    card(scene, 1250)
    assert stream_of(Rates(scene.fleet), "host-1") == 0
    scene.fleet.traffic = Shown((48, 1))
    assert stream_of(Rates(scene.fleet), "host-1") == 48 * MB


def test_a_cap_is_divided_and_never_below_what_libvirt_counts_in():
    assert share(None, 3) is None
    assert share(12 * MIB, 3) == 4 * MIB
    assert share(2 * MIB, 5) == MIB
    assert share(2 * MIB, 0) == 2 * MIB
