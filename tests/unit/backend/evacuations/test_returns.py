"""Bringing back what left a host."""

import msgspec
import pytest

from backend.evacuations.planning.planner import as_server
from tests.unit.backend.evacuations.planned import Planned, line
from wire.errors import GodwitError
from wire.evacuation import EvacuationKind, EvacuationState, MoveState, PlanEdit, Way
from wire.fleet import PowerState


async def emptied() -> Planned:
    """kvm-01 was emptied: two servers run on kvm-02 and kvm-03, one is stopped on kvm-02."""
    town = Planned(hosts=3)
    town.server("web-1")
    town.server("web-2")
    town.server("off-1", state=PowerState.SHUT_OFF)
    town.server("stayed-1", on=2)
    made = await town.plan()
    servers = tuple(
        msgspec.structs.replace(as_server(one), state=MoveState.LEFT) for one in made.moves
    )
    town.moved("web-1", to=2)
    town.moved("web-2", to=3)
    town.moved("off-1", to=2)
    town.evacuation(1, servers, state=EvacuationState.ENDED)
    return town


async def test_what_left_comes_back_from_where_it_is_now():
    town = await emptied()
    made = await town.returns()
    assert made.kind is EvacuationKind.RETURN
    assert {one.server_name: (one.source_host_name, one.way) for one in made.moves} == {
        "web-1": ("kvm-02", Way.LIVE),
        "web-2": ("kvm-03", Way.LIVE),
        "off-1": ("kvm-02", Way.COLD),
    }
    assert {one.target_host_name for one in made.moves} == {"kvm-01"}
    assert made.refusals == ()
    assert made.finish_in_s == max(one.ends_in_s for one in made.moves) > 0


async def test_one_that_came_back_or_is_gone_is_not_in_the_plan():
    town = await emptied()
    town.moved("web-1", to=1)
    town.fleet.put_record("id-web-2", None)
    assert [one.server_name for one in (await town.returns()).moves] == ["off-1"]


async def test_one_that_was_brought_back_once_is_not_brought_back_again():
    town = await emptied()
    known = town.fleet.evacuations["e-1"]
    servers = tuple(msgspec.structs.replace(one, returned=True) for one in known.servers)
    town.evacuation(1, servers, state=EvacuationState.ENDED)
    made = await town.returns()
    assert made.moves == ()
    assert any("nothing is left to return to kvm-01" in one for one in made.refusals)


async def test_a_host_in_maintenance_or_under_evacuation_is_refused():
    town = await emptied()
    town.maintenance(1)
    made = await town.returns()
    assert any("host-exit-maintenance kvm-01" in one for one in made.refusals)
    town.evacuation(1, evacuation_id="e-2")
    made = await town.returns()
    assert any("e-2 of anna" in one for one in made.refusals)


async def test_an_evacuation_under_way_is_nothing_to_return_from():
    town = await emptied()
    town.evacuation(1, town.fleet.evacuations["e-1"].servers, state=EvacuationState.PAUSED)
    assert (await town.returns()).moves == ()


async def test_what_the_host_has_no_room_for_stays_where_it_is():
    town = await emptied()
    town.host(1, free_gib=1)
    made = await town.returns()
    staying = [one for one in made.moves if one.way is Way.STAYS]
    assert len(staying) == 1
    assert "kvm-01 has 0 MiB free" in staying[0].why


async def test_edits_hold_and_another_target_is_refused():
    town = await emptied()
    made = await town.returns(
        edits=(
            PlanEdit(server="web-1", way=Way.STAYS),
            PlanEdit(server="web-2", target="kvm-01", first=True),
        )
    )
    assert line(made, "web-1").way is Way.STAYS
    assert made.moves[0].server_name == "web-2"
    with pytest.raises(GodwitError, match="a return goes to kvm-01 alone"):
        await town.returns(edits=(PlanEdit(server="web-1", target="kvm-03"),))
    with pytest.raises(GodwitError, match="did not leave kvm-01"):
        await town.returns(edits=(PlanEdit(server="stayed-1", first=True),))
