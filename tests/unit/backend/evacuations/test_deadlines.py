"""Whether a host is empty in time, and which lever would make it."""

import msgspec
import pytest

from backend.evacuations.timing.deadline import Verdict, Verdicts
from backend.evacuations.timing.reckoning import Reckoner
from backend.moments import lasting, now_ms
from tests.unit.backend.evacuations.planned import MIB, Planned
from wire.evacuation import MoveOptions, PlanEdit, Way
from wire.fleet import PowerState


async def judged(town: Planned, within_s: int, **request: object):
    return await town.plan(empty_by_ms=now_ms() + within_s * 1000, **request)


def town_of(count: int = 3, **changes: object) -> Planned:
    town = Planned(hosts=2)
    town.host(2, free_gib=60)
    for number in range(count):
        town.server(f"web-{number}", gib=2, **changes)
    return town


async def test_without_a_deadline_nothing_is_said():
    made = await town_of().plan()
    assert (made.deadline, made.meets_deadline) == ("", True)


async def test_a_deadline_that_is_kept_says_so_with_the_numbers():
    made = await judged(town_of(), 1800)
    assert made.meets_deadline
    assert made.deadline.startswith("probably empty in time: it takes ")
    assert "if the link is 10 times slower than its card says" in made.deadline
    assert "30 min are left" in made.deadline


async def test_a_cap_is_named_if_lifting_it_makes_the_deadline():
    town = town_of()
    made = await judged(town, 300, max_bandwidth_bytes_per_s=5 * MIB)
    assert not made.meets_deadline
    assert "without the cap of 5 MiB/s it takes" in made.deadline
    assert "all" not in made.deadline


async def test_stopped_ones_with_disks_are_left_for_later_if_that_makes_it():
    town = town_of(1)
    for number in range(6):
        town.server(f"disk-{number}", pool_name="local", state=PowerState.SHUT_OFF)
    made = await judged(town, 90)
    assert not made.meets_deadline
    assert "with disk-0, disk-1, disk-2 and 3 more left for later it takes" in made.deadline


async def test_a_deadline_that_nothing_makes_says_what_all_levers_come_to():
    made = await judged(town_of(), 3, max_bandwidth_bytes_per_s=5 * MIB)
    assert not made.meets_deadline
    assert "even without the cap of 5 MiB/s it takes" in made.deadline
    made = await judged(town_of(), 3)
    assert made.deadline.endswith("no lever is left")


async def test_a_lever_has_only_its_own_plan_reckoned_again(monkeypatch):
    reckoned: list[int] = []
    timed = Reckoner.timed

    def counting(self, sheets):
        reckoned.append(len(sheets))
        return timed(self, sheets)

    monkeypatch.setattr(Reckoner, "timed", counting)
    town = Planned(hosts=3)
    for number in range(8):
        town.server(f"web-{number}", on=1 + number % 2, gib=2)
    hosts, cap = (1, 2), 5 * MIB
    by_ms = now_ms() + 300_000
    made = await town.plans(*hosts, max_bandwidth_bytes_per_s=cap, empty_by_ms=by_ms)
    assert all("without the cap of 5 MiB/s it takes" in one.deadline for one in made)
    assert reckoned[0] == len(hosts)
    assert set(reckoned[1:]) == {1}


def test_a_verdict_holds_for_ten_seconds_unless_its_terms_change():
    verdicts, made = Verdicts(), iter("abcdef")

    def judge():
        return Verdict(sentence=next(made))

    evacuation = Planned().evacuation(1, empty_by_ms=90_000)
    later = msgspec.structs.replace(evacuation, empty_by_ms=99_000)
    asked = [(evacuation, 1_000), (evacuation, 10_999), (evacuation, 11_000), (later, 11_001)]
    told = [verdicts.of(one, at_ms, judge).sentence for one, at_ms in asked]
    assert told == ["a", "a", "b", "c"]
    verdicts.forget(later.evacuation_id)
    assert verdicts.of(later, 11_002, judge).sentence == "d"


async def test_a_stuck_server_breaks_the_deadline_and_quickly_finish_is_its_lever():
    town = town_of(1)
    town.server("hot-1", gib=1, dirties_mib_per_s=150, hot_mib=150)
    made = await judged(town, 600)
    assert not made.meets_deadline
    assert "hot-1 waits for a lever" in made.deadline
    assert "quickly finish (f in its options, --quickly-finish)" in made.deadline
    assert "for hot-1 it takes" in made.deadline
    made = await judged(
        town,
        600,
        edits=(PlanEdit(server="hot-1", options=MoveOptions(quickly_finish=True)),),
    )
    assert made.meets_deadline


async def test_a_stuck_server_is_named_beside_what_stays():
    town = town_of(1)
    town.server("hot-1", gib=1, dirties_mib_per_s=150, hot_mib=150)
    town.server("tied-1", passthrough=("PCI device 1",))
    made = await judged(town, 600)
    assert made.deadline == "not empty in time: tied-1 stays, and hot-1 waits for a lever"


async def test_what_stays_unwillingly_breaks_the_deadline_and_what_was_wished_does_not():
    town = town_of(1)
    town.server("tied-1", passthrough=("PCI device 1",))
    made = await judged(town, 3600)
    assert not made.meets_deadline
    assert "tied-1 stays" in made.deadline
    made = await judged(town, 3600, edits=(PlanEdit(server="tied-1", way=Way.STAYS),))
    assert made.meets_deadline


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (119, "119 s"), (150, "3 min"), (3600, "1 h 0 min"), (7501, "2 h 6 min")],
)
def test_durations_are_said_in_few_words(seconds, words):
    assert lasting(seconds) == words
