"""What a plan says beside its lines: once for all whom it is about, and only where it is so."""

from tests.unit.backend.evacuations.planned import MIB, Planned, line
from wire.evacuation import MoveOptions, PlanEdit, Way
from wire.fleet import PowerState


def unlike(town: Planned, number: int, **changes: object) -> None:
    """A host with room of which the CPU differs."""
    town.host(number, free_gib=60, microcode="0x1", **changes)


async def test_one_lever_is_named_for_all_whom_it_helps():
    town = Planned(hosts=1)
    unlike(town, 2)
    unlike(town, 3)
    for number in range(6):
        town.server(f"web-{number}")
    town.server("tied-1", passthrough=("PCI device 1",))
    told = (await town.plan()).warnings
    names = "web-0, web-1, web-2, web-3 and 2 more"
    assert f"skip CPU check (c in the options, --skip-cpu-check) would let {names} leave" in told
    assert sum(one.startswith(f"{names} stay: none of 2 hosts takes it") for one in told) == 1
    skipped = await town.plan(options=MoveOptions(skip_cpu_check=True))
    assert {one.server_name for one in skipped.moves if one.way is Way.LIVE} == {
        f"web-{number}" for number in range(6)
    }


async def test_a_lever_is_named_only_where_it_helps():
    town = Planned(hosts=1)
    town.server("web-1")
    town.host(2, free_gib=0.1, microcode="0x1")
    assert not [one for one in (await town.plan()).warnings if "would let" in one]
    town.host(3, microcode="0x1", kernel="6.1.0-2-amd64")
    (told,) = [one for one in (await town.plan()).warnings if "would let" in one]
    both = (
        "skip CPU check (c in the options, --skip-cpu-check) with "
        "skip kernel check (n in the options, --skip-kernel-check)"
    )
    assert told == f"{both} would let web-1 leave"
    pinned = await town.plan(edits=(PlanEdit(server="web-1", target="kvm-03"),))
    assert any(one.startswith(both) for one in pinned.warnings)


async def test_the_nearest_host_is_one_that_would_fit_but_for_its_maintenance():
    town = Planned(hosts=2, free_gib=4)
    town.maintenance(2)
    unlike(town, 3)
    town.server("web-1")
    why = line(await town.plan(), "web-1").why
    assert "the nearest is kvm-02: kvm-02 is in maintenance" in why


async def test_of_reasons_of_their_own_a_few_are_told():
    town = Planned(hosts=2)
    for number in range(6):
        town.server(f"tied-{number}", passthrough=(f"PCI device {number}",))
    told = [one for one in (await town.plan()).warnings if "stay" in one]
    assert len(told) == 5
    assert told[-1] == "2 more servers stay, each with its reason"


async def test_a_plan_that_sends_nothing_says_nothing_of_the_link():
    town = Planned(hosts=2)
    town.server("off-1", state=PowerState.SHUT_OFF)
    town.server("tied-1", passthrough=("PCI device 1",))
    assert not [one for one in (await town.plan()).warnings if "link" in one]
    town.server("web-1")
    assert [one for one in (await town.plan()).warnings if "link" in one]


async def test_what_a_slower_link_comes_to_is_the_high_end_of_the_band():
    town = Planned(hosts=2, link=1200 * MIB)
    for number in range(4):
        town.server(f"idle-{number}", gib=0.05)
    made = await town.plan()
    (told,) = [one for one in made.warnings if "times slower" in one]
    assert made.finish_high_s < 60
    assert told.endswith(f"all may take {made.finish_high_s} s")
    assert 10 * made.finish_in_s - 10 <= made.finish_high_s <= 10 * made.finish_in_s + 10


async def test_what_waits_for_the_same_lever_is_told_once():
    town = Planned(hosts=2)
    for name in ("hot-1", "hot-2"):
        town.server(name, gib=1, dirties_mib_per_s=500, hot_mib=900)
    (told,) = [one for one in (await town.plan()).warnings if "wait" in one]
    assert told.startswith("hot-1, hot-2 wait: it dirties ")
