"""Room for one more host's death: what is refused, with which numbers, and that it holds."""

from hypothesis import given
from hypothesis import strategies as st

from backend.evacuations.placing.spare import Guest, Spare
from tests.unit.backend.evacuations.planned import GIB, MIB, Planned, line
from wire.evacuation import Way


def spare(free: dict[str, int], running: dict[str, list[int]]) -> Spare:
    guests = {
        host: [Guest(size, f"{host}-{number}") for number, size in enumerate(sizes)]
        for host, sizes in running.items()
    }
    return Spare(free, guests, {host: host.upper() for host in free | running})


def taken_up(host: str, free: dict[str, int], running: dict[str, list[int]]) -> bool:
    """First fit decreasing in plain words, as it stands now."""
    left = sorted((room for one, room in free.items() if one != host), reverse=True)
    for size in sorted(running.get(host, ()), reverse=True):
        place = next((number for number, room in enumerate(left) if room >= size), None)
        if place is None:
            return False
        left[place] -= size
    return True


def test_a_placement_that_leaves_room_for_any_death_is_taken():
    room = spare({"a": 10, "b": 10, "c": 10}, {"a": [4], "b": [4], "c": [4]})
    assert room.take("a", Guest(4, "web-1")) == ""


def test_a_host_that_could_not_die_any_more_is_named_with_the_numbers():
    room = spare({"a": 4 * MIB, "b": 4 * MIB}, {"a": [3 * MIB], "b": [3 * MIB]})
    refusal = room.take("a", Guest(2 * MIB, "web-1"))
    assert refusal == (
        "if A died, its 2 running servers need 5 MiB, the others have 4 MiB free, and web-1 with "
        "2 MiB would find at most 1 MiB on one host"
    )


def test_a_refusal_changes_nothing():
    room = spare({"a": 4, "b": 4}, {"a": [3], "b": [3]})
    assert room.take("a", Guest(2, "web-1"))
    assert room.take("a", Guest(1, "web-2")) == ""


def test_a_fleet_without_a_spare_says_so_and_takes_what_makes_it_no_worse():
    room = spare({"a": 1, "b": 1}, {"a": [3]})
    assert "A died" in room.lacking
    assert room.take("b", Guest(1, "web-1")) == ""
    refusal = room.take("a", Guest(1, "web-2"))
    assert "if A died" in refusal
    assert room._free == {"a": 1, "b": 0}


def test_room_that_the_dead_could_use_is_kept_though_it_is_not_enough():
    room = spare({"a": 0, "b": 2, "c": 1}, {"a": [3, 2]})
    assert "A died" in room.lacking
    assert "if A died" in room.take("b", Guest(1, "web-1"))
    assert room.take("c", Guest(1, "web-2")) == ""


sizes = st.integers(1, 12)
fleets = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 30), st.lists(sizes, max_size=4)),
    min_size=1,
)


@given(fleets, st.lists(st.tuples(st.integers(0, 5), sizes), max_size=12))
def test_what_was_taken_can_be_taken_up_whichever_host_dies(fleet, placements):
    free = {host: room for host, (room, _) in fleet.items()}
    running = {host: list(guests) for host, (_, guests) in fleet.items()}
    room = spare(free, running)
    assert bool(room.lacking) is not all(taken_up(host, free, running) for host in fleet)
    taken: dict[str, list[int]] = {}
    for number, (which, size) in enumerate(placements):
        host = sorted(free)[which % len(free)]
        if free[host] < size:
            continue
        if room.take(host, Guest(size, f"new-{number}")) == "":
            free[host] -= size
            running[host].append(size)
            taken.setdefault(host, []).append(size)
            # what is leant on was found earlier: it holds as long as each has that much room
            for dead, death in room._deaths.items():
                assert sum(death.on.values()) + death.lacking_bytes == sum(running[dead])
                assert dead not in death.on
                assert all(room._free[one] >= needed for one, needed in death.on.items())
        assert room._free == free


async def test_with_keep_spare_a_target_is_refused_that_plain_planning_takes():
    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.host(3, free_gib=8)
    town.server("old-2", on=2, gib=4)
    town.server("old-3", on=3, gib=4)
    town.server("web-1", gib=3)
    town.server("web-2", gib=3)
    assert all(one.way is Way.LIVE for one in (await town.plan()).moves)
    made = await town.plan(keep_spare=True)
    staying = [one for one in made.moves if one.way is Way.STAYS]
    assert staying
    assert "only without a spare: if kvm-0" in staying[0].why
    assert "MiB" in staying[0].why


async def test_a_spare_that_is_not_there_even_now_is_a_warning_and_the_reason_of_each():
    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.server("old-2", on=2, gib=40)
    town.server("web-1")
    made = await town.plan(keep_spare=True)
    assert any("spared even now" in one and "if kvm-02 died" in one for one in made.warnings)
    assert "if kvm-02 died" in line(made, "web-1").why


async def test_a_host_is_emptied_where_that_costs_no_spare_though_another_cannot_be_spared():
    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.host(3, free_gib=8)
    town.server("old-2", on=2, gib=40)
    town.server("web-1")
    made = await town.plan(keep_spare=True)
    assert line(made, "web-1").target_host_name == "kvm-03"
    assert any("spared even now" in one for one in made.warnings)


async def test_stopped_servers_need_no_spare():
    from wire.fleet import PowerState

    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.server("old-2", on=2, gib=40)
    town.server("off-1", state=PowerState.SHUT_OFF)
    assert line(await town.plan(keep_spare=True), "off-1").way is Way.COLD


def test_sizes_are_bytes():
    room = spare({"a": 2 * GIB, "b": 2 * GIB}, {"a": [GIB]})
    assert room.take("b", Guest(GIB, "web-1")) == ""
