"""How often what has no target is planned anew: seldom in vain, at once when it may help."""

import itertools

import msgspec
import pytest

from backend.evacuations.planning import planner
from backend.evacuations.planning.planner import Sources
from backend.evacuations.running import replanner
from tests.unit.backend.evacuations.conftest import GIB
from wire.agent import AgentSnapshot
from wire.evacuation import Evacuation
from wire.fleet import HostMeters


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    told = Clock()
    monkeypatch.setattr(replanner, "time", told)
    return told


@pytest.fixture
def plans(monkeypatch, clock):
    """When plans were made anew."""
    made: list[float] = []
    real = planner.replan

    async def counted(sources: Sources, evacuation: Evacuation) -> Evacuation:
        made.append(clock.now_s)
        return await real(sources, evacuation)

    monkeypatch.setattr(planner, "replan", counted)
    return made


def used(scene, host: str, used_bytes: int) -> None:
    facts = scene.hosts[host]
    meters = HostMeters(cpu_percent=1.0, memory_used_bytes=used_bytes)
    scene.fleet.put_snapshot(
        facts.host_id, AgentSnapshot(facts=facts, servers=(), jobs=(), meters=meters)
    )


async def without_room(scene, clock):
    """A server for which no host has room any more, and some minutes of that."""
    scene.add("a")
    evacuation = await scene.start()
    for name in ("kvm-02", "kvm-03"):
        used(scene, name, scene.hosts[name].memory_total_bytes)
    clock.now_s += 10
    line = scene.line(evacuation, "a")
    plan = msgspec.structs.replace(line.plan, target_host_id="", target_host_name="")
    bare = msgspec.structs.replace(
        scene.known(evacuation), servers=(msgspec.structs.replace(line, plan=plan),)
    )
    await scene.records.change(evacuation.evacuation_id, lambda _: bare)
    await looked(scene, clock, 300)
    return evacuation


async def looked(scene, clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now_s += 1
        await scene.look()


async def test_what_brings_nothing_is_tried_more_and_more_seldom(scene, clock, plans):
    evacuation = await without_room(scene, clock)
    gaps = [round(later - before) for before, later in itertools.pairwise(plans)]
    assert gaps == [3, 6, 12, 24, 48, 60, 60, 60]
    assert scene.line(evacuation, "a").reason.startswith("no host takes it now: ")


async def test_more_room_is_seen_at_once(scene, clock, plans):
    evacuation = await without_room(scene, clock)
    count = len(plans)
    full = scene.hosts["kvm-02"].memory_total_bytes
    used(scene, "kvm-02", full - (32 << 20))  # what is used goes up and down
    await looked(scene, clock, 4)
    assert len(plans) == count
    used(scene, "kvm-02", full - 2 * GIB)
    await looked(scene, clock, 4)
    assert len(plans) == count + 1
    assert scene.under_way()["a"].options.prefer_host == "host-2"
    assert scene.states(evacuation) == {"a": "moving"}


@pytest.mark.parametrize("what", ["came", "stopped", "other evacuation ended"])
async def test_what_else_may_help_is_seen_at_once(scene, clock, plans, what):
    if what == "came":
        health = scene.fleet.health[scene.host_id("kvm-03")]
        scene.drop_host("kvm-03")
    if what == "other evacuation ended":
        other = await scene.start("kvm-03")
        await scene.steering.pause(other.evacuation_id, requested_by="alice")
        scene.add("late", "kvm-03")
    await without_room(scene, clock)
    count, since_s = len(plans), clock.now_s
    if what == "came":
        scene.fleet.put_health(scene.host_id("kvm-03"), health)
    elif what == "stopped":
        record = scene.fleet.records["id-a"]
        owner = msgspec.structs.replace(record.owner, generation=9)
        scene.put(msgspec.structs.replace(record, owner=owner))
    else:
        scene.fleet.put_evacuation(other.evacuation_id, None)
    await looked(scene, clock, 4)
    assert plans[count] <= since_s + 3


async def test_a_host_that_goes_brings_nothing(scene, clock, plans):
    await without_room(scene, clock)
    count = len(plans)
    scene.drop_host("kvm-03")
    await looked(scene, clock, 4)
    assert len(plans) == count
