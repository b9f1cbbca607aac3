"""What waits is judged anew once links have shown what they carry."""

from typing import Any

import msgspec
import pytest

from backend.evacuations.timing.outlook import Outlook
from backend.forecast.rates import Rates
from backend.forecast.traffic import Traffic
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    MoveState,
    PlannedMove,
    Way,
)
from wire.forecast import Dirtying, DirtySample, Ease
from wire.migration import Migration, MigrationState, Sample

MB = 1_000_000
GIB = 1 << 30


def sample(elapsed_ms: int, rate_mb: int) -> Sample:
    sent = elapsed_ms * rate_mb * MB // 1000
    return Sample(
        elapsed_ms=elapsed_ms,
        pass_number=1,
        memory_total_bytes=4 * GIB,
        memory_processed_bytes=sent,
        memory_remaining_bytes=4 * GIB - sent,
        bandwidth_bytes_per_s=rate_mb * MB,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=300,
        throttle_percent=0,
    )


@pytest.fixture
def show_rate(scene: Any):
    """Let moves have shown what leaves kvm-01 and enters kvm-02."""

    def show(rate_mb: int) -> None:
        at_ms = 1_000_000
        traffic = Traffic(lambda: at_ms)
        move = Migration(
            migration_id="m",
            server_id="other",
            server_name="other",
            source_host_id=scene.host_id("kvm-01"),
            source_host_name="kvm-01",
            target_host_id=scene.host_id("kvm-02"),
            state=MigrationState.COPYING_MEMORY,
        )
        for step in range(50):
            at_ms += 100
            traffic.saw(move, sample(step * 100, rate_mb))
        scene.fleet.traffic = traffic

    return show


@pytest.fixture
def evacuation(scene: Any) -> Evacuation:
    """Two guests of kvm-01 over cards of 10 Gbit/s: the first one dirties 40 MB/s over 1 GB."""
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=1250 * MB)
        scene.fleet.put_facts(host.host_id, facts)
    outlook = Outlook(scene.fleet, scene.jobs)
    servers = []
    for name, rate_mb in (("hot", 40), ("calm", 0)):
        record = scene.add(name, memory_bytes=2 * GIB)
        samples = tuple(
            DirtySample(window_ms=ms, dirtied_bytes=rate_mb * MB * ms // 1000, at_ms=1)
            for ms in (1_000, 3_000)
        )
        dirtying = Dirtying(server_id=record.server_id, samples=samples, resident_bytes=GIB)
        scene.fleet.put_dirtying(dirtying)
        plan = PlannedMove(
            server_id=record.server_id,
            server_name=name,
            way=Way.LIVE,
            source_host_id=scene.host_id("kvm-01"),
            source_host_name="kvm-01",
            target_host_id=scene.host_id("kvm-02"),
            target_host_name="kvm-02",
        )
        plan = msgspec.structs.replace(plan, forecast=outlook.of(plan, None, Rates(scene.fleet)))
        servers.append(EvacuatedServer(plan=plan, state=MoveState.WAITING))
    return Evacuation(
        evacuation_id="e",
        kind=EvacuationKind.EVACUATE,
        host_id=scene.host_id("kvm-01"),
        host_name="kvm-01",
        servers=tuple(servers),
    )


def eases(evacuation: Evacuation) -> dict[str, Ease | None]:
    return {
        one.plan.server_name: one.plan.forecast.ease if one.plan.forecast else None
        for one in evacuation.servers
    }


async def test_by_the_word_of_a_fast_card_all_is_easy(scene, evacuation):
    assert eases(evacuation) == {"hot": Ease.EASY, "calm": Ease.EASY}
    assert not Outlook(scene.fleet, scene.jobs).differs(evacuation)


async def test_a_slow_link_makes_one_heavy_and_puts_it_behind_the_calm(
    scene, evacuation, show_rate
):
    show_rate(50)
    outlook = Outlook(scene.fleet, scene.jobs)
    assert outlook.differs(evacuation)
    renewed = outlook.renewed(evacuation)
    assert list(eases(renewed).items()) == [("calm", Ease.EASY), ("hot", Ease.HEAVY)]
    assert not outlook.differs(renewed)


async def test_what_a_line_says_follows_the_cap_and_the_link_at_once(scene, evacuation, show_rate):
    outlook = Outlook(scene.fleet, scene.jobs)
    capped = msgspec.structs.replace(evacuation, max_bandwidth_bytes_per_s=20 * MB)
    assert outlook.differs(capped)
    capped = outlook.renewed(capped)
    hot = next(one.plan for one in capped.servers if one.plan.server_name == "hot")
    assert hot.forecast.bandwidth_bytes_per_s == 20 * MB
    assert hot.why == hot.forecast.lever
    assert "without its cap it gets" in hot.why
    assert "by the word of its card" in hot.why
    show_rate(90)
    assert outlook.differs(capped), "the lever tells of the card still"
    seen = outlook.renewed(capped)
    hot = next(one.plan for one in seen.servers if one.plan.server_name == "hot")
    assert "without its cap it gets 85.8 MiB/s, which is enough" in hot.why
    free = msgspec.structs.replace(seen, max_bandwidth_bytes_per_s=None)
    assert outlook.differs(free)
    free = outlook.renewed(free)
    assert {one.plan.forecast.bandwidth_bytes_per_s for one in free.servers} == {90 * MB}
    hot = next(one.plan for one in free.servers if one.plan.server_name == "hot")
    assert "cap" not in hot.why
    assert not outlook.differs(free)


async def test_a_line_keeps_what_it_says_beside_its_forecast(scene, evacuation, show_rate):
    hot, calm = evacuation.servers
    hot = msgspec.structs.replace(
        hot, plan=msgspec.structs.replace(hot.plan, why="the kernel differs")
    )
    show_rate(50)
    renewed = Outlook(scene.fleet, scene.jobs).renewed(
        msgspec.structs.replace(evacuation, servers=(hot, calm))
    )
    told = {one.plan.server_name: one.plan.why for one in renewed.servers}
    alone = "it goes alone: it converges only on the whole link"
    assert told["calm"] == ""
    assert told["hot"].startswith(f"the kernel differs; {alone}")
    assert Outlook(scene.fleet, scene.jobs).renewed(renewed) == renewed


async def test_one_that_a_move_has_shown_to_be_stuck_stays_so(scene, evacuation, show_rate):
    show_rate(50)
    outlook = Outlook(scene.fleet, scene.jobs)
    hot, _ = evacuation.servers
    stuck = msgspec.structs.replace(hot.plan.forecast, ease=Ease.STUCK, lever="a pause")
    given_up = msgspec.structs.replace(
        hot, tries=1, plan=msgspec.structs.replace(hot.plan, forecast=stuck)
    )
    evacuation = msgspec.structs.replace(evacuation, servers=(given_up,))
    assert not outlook.differs(evacuation)
    assert eases(outlook.renewed(evacuation))["hot"] is Ease.STUCK


async def test_what_has_begun_stays_first_and_as_it_was(scene, evacuation, show_rate):
    show_rate(50)
    hot, calm = evacuation.servers
    moving = msgspec.structs.replace(hot, state=MoveState.MOVING)
    renewed = Outlook(scene.fleet, scene.jobs).renewed(
        msgspec.structs.replace(evacuation, servers=(moving, calm))
    )
    assert renewed.servers[0] == moving
