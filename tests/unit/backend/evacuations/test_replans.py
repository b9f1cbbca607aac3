"""Planning an open evacuation anew."""

import msgspec

from tests.unit.backend.evacuations.planned import Planned, line
from wire.evacuation import EvacuatedServer, Evacuation, MoveOptions, MoveState, PlanEdit, Way
from wire.fleet import OwnerPhase, PowerState
from wire.migration import MigrationState


def of(evacuation: Evacuation, name: str) -> EvacuatedServer:
    (found,) = [one for one in evacuation.servers if one.plan.server_name == name]
    return found


def with_state(known: Evacuation, name: str, state: MoveState, **changes: object) -> Evacuation:
    servers = tuple(
        msgspec.structs.replace(one, state=state, **changes)
        if one.plan.server_name == name
        else one
        for one in known.servers
    )
    return msgspec.structs.replace(known, servers=servers)


async def test_what_waits_gets_another_target_and_what_moved_is_kept():
    town = Planned(hosts=3)
    town.host(2, free_gib=60)
    for name in ("web-1", "web-2", "web-3"):
        town.server(name)
    known = await town.begun()
    known = with_state(known, "web-1", MoveState.LEFT, sent_bytes=7)
    known = with_state(known, "web-2", MoveState.FAILED, reason="libvirt said no")
    town.moved("web-1", to=2)
    town.dies(2, proven=True)
    fresh = await town.again(known)
    assert of(fresh, "web-1") == of(known, "web-1")
    assert of(fresh, "web-2") == of(known, "web-2")
    assert of(fresh, "web-3").plan.target_host_name == "kvm-03"
    assert of(fresh, "web-3").state is MoveState.WAITING


async def test_a_server_that_turned_up_is_added():
    town = Planned(hosts=2)
    town.server("web-1")
    known = await town.begun()
    town.server("late-1")
    fresh = await town.again(known)
    assert of(fresh, "late-1").state is MoveState.WAITING
    assert of(fresh, "late-1").plan.target_host_name == "kvm-02"


async def test_one_that_stayed_for_want_of_room_goes_once_there_is_room_and_back():
    town = Planned(hosts=1)
    town.host(2, free_gib=1)
    town.server("web-1", gib=4)
    town.server("web-2", gib=1)
    known = await town.begun()
    assert of(known, "web-1").state is MoveState.STAYED
    town.host(2, free_gib=32)
    fresh = await town.again(known)
    assert of(fresh, "web-1").state is MoveState.WAITING
    assert of(fresh, "web-1").reason == ""
    town.host(2, free_gib=1)
    assert of(await town.again(fresh), "web-1").state is MoveState.STAYED


async def test_wishes_are_remembered_and_a_lost_pin_says_so_until_its_target_is_back():
    town = Planned(hosts=3)
    for name in ("pinned", "stays", "first", "quick"):
        town.server(name)
    known = await town.begun(
        edits=(
            PlanEdit(server="pinned", target="kvm-03"),
            PlanEdit(server="stays", way=Way.STAYS),
            PlanEdit(server="first", first=True),
            PlanEdit(server="quick", options=MoveOptions(quickly_finish=True)),
        )
    )
    fresh = await town.again(known)
    assert of(fresh, "pinned").plan.target_host_name == "kvm-03"
    assert of(fresh, "stays").state is MoveState.STAYED
    assert of(fresh, "first").plan.first
    assert of(fresh, "quick").plan.options.quickly_finish
    town.maintenance(3)
    waits = await town.again(fresh)
    assert of(waits, "pinned").plan.way is Way.STAYS
    assert "kvm-03 is in maintenance" in of(waits, "pinned").plan.why
    town.fleet.put_policy("host-3", None)
    assert of(await town.again(waits), "pinned").plan.target_host_name == "kvm-03"


async def test_a_pin_outlives_that_its_target_was_taken_away_for_a_while():
    town = Planned(hosts=3)
    town.host(2, free_gib=60)
    town.server("pinned")
    known = await town.begun(edits=(PlanEdit(server="pinned", target="kvm-03"),))
    plan = msgspec.structs.replace(of(known, "pinned").plan, target_host_id="", target_host_name="")
    known = with_state(known, "pinned", MoveState.WAITING, plan=plan)
    assert of(await town.again(known), "pinned").plan.target_host_name == "kvm-03"


async def test_edits_change_what_waits_and_bring_a_failed_one_back():
    town = Planned(hosts=3)
    town.server("web-1")
    town.server("web-2")
    known = with_state(await town.begun(), "web-2", MoveState.FAILED, tries=2)
    fresh = await town.again(
        known,
        PlanEdit(server="web-1", way=Way.STAYS),
        PlanEdit(server="web-2", target="kvm-03"),
    )
    assert of(fresh, "web-1").state is MoveState.STAYED
    assert of(fresh, "web-2").state is MoveState.WAITING
    assert of(fresh, "web-2").tries == 2
    back = await town.again(fresh, PlanEdit(server="web-1", way=Way.LIVE))
    assert of(back, "web-1").state is MoveState.WAITING


async def test_one_that_was_stopped_meanwhile_goes_cold_in_spite_of_the_way_once_chosen():
    town = Planned(hosts=2)
    town.server("web-1")
    known = await town.begun(edits=(PlanEdit(server="web-1", way=Way.LIVE),))
    report = town.fleet.reports["host-1"]["id-web-1"]
    town.fleet.put_report("host-1", msgspec.structs.replace(report, state=PowerState.SHUT_OFF))
    assert of(await town.again(known), "web-1").plan.way is Way.COLD


async def test_its_own_promises_are_not_held_against_it():
    town = Planned(hosts=1)
    town.host(2, free_gib=4)
    town.server("web-1", gib=4)
    known = await town.begun()
    assert of(await town.again(known), "web-1").plan.target_host_name == "kvm-02"


async def test_one_that_waits_and_moves_already_is_left_as_it_is():
    town = Planned(hosts=2)
    town.server("web-1")
    known = await town.begun()
    town.server("web-1", phase=OwnerPhase.MIGRATING, migration_id="m-1")
    assert (await town.again(known)).servers == known.servers


async def test_times_count_from_the_beginning_and_the_moves_under_way_hold_the_link():
    town = Planned(hosts=2)
    town.server("web-1", gib=8)
    town.server("web-2", gib=1)
    made = await town.plan()
    known = await town.begun()
    forecast = line(made, "web-1").forecast
    begun_at_ms = made.made_at_ms
    known = msgspec.structs.replace(known, created_at_ms=begun_at_ms)
    known = with_state(
        known, "web-1", MoveState.MOVING, forecast=forecast, started_at_ms=begun_at_ms
    )
    fresh = await town.again(known)
    assert of(fresh, "web-2").plan.ends_in_s > forecast.total_ms / 1000 * 0.9
    assert [one.plan.server_name for one in fresh.servers] == ["web-1", "web-2"]


async def test_those_that_failed_somewhere_go_elsewhere_as_long_as_there_is_room():
    town = Planned(hosts=1)
    town.host(2, free_gib=60)
    town.host(3, free_gib=5)
    for name in ("web-1", "web-2"):
        town.server(name, gib=4)
    known = await town.begun()
    assert {one.plan.target_host_name for one in known.servers} == {"kvm-02"}
    for name in ("web-1", "web-2"):
        failed = town.moving(name, source=1, target=2)
        town.fleet.put_migration(
            failed.migration_id,
            msgspec.structs.replace(
                failed, state=MigrationState.FAILED, evacuation_id=known.evacuation_id
            ),
        )
    fresh = await town.again(known)
    targets = sorted(one.plan.target_host_name for one in fresh.servers)
    assert targets == ["kvm-02", "kvm-03"], "the last room is given once"
