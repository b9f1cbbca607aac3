"""Plans are reckoned beside the event loop, on what was known when they were asked for."""

import asyncio
import threading
from typing import Any

import pytest

from backend.evacuations.planning import planner
from backend.evacuations.planning.making import make
from backend.evacuations.planning.snapshot import snapshot_of
from tests.unit.backend.evacuations.planned import Planned, line
from wire.evacuation import Plan, PlanRequest


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> "Held":
    held = Held()
    monkeypatch.setattr(planner, "make", held.make)
    return held


class Held:
    """Has plans wait in their thread until they are let go."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        self.now = self.most = 0

    def make(self, *given: Any, **named: Any) -> tuple[Plan, ...]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.reached.set()
        assert self.let_go.wait(30)
        made = make(*given, **named)
        self.now -= 1
        return made


async def test_the_loop_goes_on_and_changes_the_fleet_while_a_plan_is_made(held):
    town = Planned(hosts=2)
    town.server("web-1")
    asked = asyncio.create_task(town.plan())
    assert await asyncio.to_thread(held.reached.wait, 30)
    town.fleet.put_facts("host-2", None)
    town.fleet.put_record("id-web-1", None)
    held.let_go.set()
    assert line(await asked, "web-1").target_host_name == "kvm-02"


async def test_one_plan_is_made_at_a_time(held):
    town = Planned(hosts=2)
    town.server("web-1")
    sources = town.sources
    request = PlanRequest(hosts=("kvm-01",))
    asked = [asyncio.create_task(planner.plan(sources, request)) for _ in range(3)]
    assert await asyncio.to_thread(held.reached.wait, 30)
    held.let_go.set()
    await asyncio.gather(*asked)
    assert held.most == 1


def test_a_snapshot_stays_as_it_was_and_shares_the_records():
    town = Planned(hosts=2)
    record = town.server("web-1")
    town.moving("web-2", source=2, target=1)
    before = snapshot_of(town.fleet)
    town.server("web-9", on=2)
    town.fleet.drop_report("host-1", "id-web-1")
    town.fleet.agent_lost("host-1", "gone", silent=True)
    town.moved("web-1", to=2)
    assert before.owned["host-1"] == {"id-web-1"}
    assert set(before.reports["host-1"]) == {"id-web-1"}
    assert before.link("host-1").connected
    assert before.records["id-web-1"] is record
    assert "id-web-9" not in before.records


def test_what_a_snapshot_notes_of_links_is_its_own():
    town = Planned(hosts=1)
    before = snapshot_of(town.fleet)
    before.link("host-9").reason = "read"
    assert "host-9" not in town.fleet.links
    assert before.traffic is not town.fleet.traffic
    assert before.traffic._out is not town.fleet.traffic._out
