"""What holds for every plan, whatever the fleet: fleets and edits made up at random."""

import asyncio
from collections import Counter

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from backend.fleet.targets import host_states, move_of
from backend.scheduler.candidates import candidates
from tests.unit.backend.evacuations.planned import GIB, Planned, disk, pool
from wire.errors import GodwitError
from wire.evacuation import Plan, PlanEdit, Way
from wire.fleet import OwnerPhase, PowerState

HOSTS = 6

servers = st.fixed_dictionaries(
    {
        "on": st.integers(1, HOSTS),
        "gib": st.sampled_from([1, 2, 3, 5, 8]),
        "state": st.sampled_from([PowerState.RUNNING, PowerState.PAUSED, PowerState.SHUT_OFF]),
        "pool_name": st.sampled_from(["shared", "shared", "local"]),
        "dirties_mib_per_s": st.sampled_from([None, 0, 30, 90, 500]),
        "passthrough": st.sampled_from([(), (), (), ("PCI device 1",)]),
        "phase": st.sampled_from([OwnerPhase.SETTLED] * 5 + [OwnerPhase.LOST]),
    }
)
hosts = st.fixed_dictionaries(
    {
        "free_gib": st.integers(0, 12),
        "kernel": st.sampled_from(["6.1", "6.1", "6.2"]),
        "pools": st.sampled_from([(pool("shared"), pool("local", free_gib=21)), (pool("shared"),)]),
    }
)
edits = st.builds(
    PlanEdit,
    server=st.integers(0, 14).map(lambda number: f"web-{number}"),
    target=st.one_of(st.none(), st.integers(1, HOSTS).map(lambda number: f"kvm-{number:02}")),
    way=st.sampled_from([None, None, Way.STAYS, Way.LIVE, Way.COLD]),
    first=st.sampled_from([None, True]),
)
scenes = st.fixed_dictionaries(
    {
        "hosts": st.lists(hosts, min_size=HOSTS, max_size=HOSTS),
        "servers": st.lists(servers, max_size=14),
        "emptied": st.lists(st.integers(1, HOSTS), min_size=1, max_size=3, unique=True),
        "maintenance": st.lists(st.integers(1, HOSTS), max_size=2),
        "keep_spare": st.booleans(),
    }
)
quietly = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)


def town_of(scene: dict) -> Planned:
    town = Planned(hosts=0)
    for number, changes in enumerate(scene["hosts"], start=1):
        town.host(number, **changes)
    for number, changes in enumerate(scene["servers"]):
        town.server(f"web-{number}", disks=(disk(changes["pool_name"], gib=10),), **changes)
    for number in scene["maintenance"]:
        town.maintenance(number)
    return town


def plans(town: Planned, scene: dict, *wanted: PlanEdit) -> tuple[Plan, ...]:
    return asyncio.run(town.plans(*scene["emptied"], edits=wanted, keep_spare=scene["keep_spare"]))


def planned_or_refused(
    town: Planned, scene: dict, *wanted: PlanEdit
) -> tuple[Plan, ...] | GodwitError:
    try:
        return plans(town, scene, *wanted)
    except GodwitError as error:
        return error


def leaving(made: tuple[Plan, ...]):
    return [move for one in made for move in one.moves if move.way is not Way.STAYS]


@quietly
@given(scenes)
def test_every_server_of_the_hosts_has_exactly_one_line(scene):
    town = town_of(scene)
    made = plans(town, scene)
    for one in made:
        ids = [move.server_id for move in one.moves]
        assert sorted(ids) == sorted(town.fleet.owned.get(one.host_id, ()))
        staying = [move.way is Way.STAYS for move in one.moves]
        assert staying == sorted(staying)
        assert all(move.why for move in one.moves if move.way is Way.STAYS)
        assert all(not move.target_host_id for move in one.moves if move.way is Way.STAYS)
        assert all(move.target_host_id for move in one.moves if move.way is not Way.STAYS)


@quietly
@given(scenes)
def test_no_target_gets_more_than_its_memory_or_its_pools_hold(scene):
    town = town_of(scene)
    memory, disks = Counter[str](), Counter[str]()
    for move in leaving(plans(town, scene)):
        record = town.fleet.records[move.server_id]
        if move.way is Way.LIVE:
            memory[move.target_host_id] += record.memory_bytes
        disks[move.target_host_id] += sum(
            one.capacity_bytes for one in record.disks if not one.shared
        )
    for host_id, needed in memory.items():
        facts, meters = town.fleet.facts[host_id], town.fleet.link(host_id).meters
        assert needed <= facts.memory_total_bytes - meters.memory_used_bytes
    for host_id, needed in disks.items():
        if needed:
            local = [one for one in town.fleet.facts[host_id].pools if not one.shared]
            assert needed <= local[0].available_bytes


@quietly
@given(scenes)
def test_nobody_is_planned_to_a_host_that_is_emptied_or_in_maintenance(scene):
    town = town_of(scene)
    out = {f"host-{number}" for number in (*scene["emptied"], *scene["maintenance"])}
    assert not [one for one in leaving(plans(town, scene)) if one.target_host_id in out]


@quietly
@given(scenes)
def test_a_plan_is_the_same_whenever_it_is_made_and_in_whatever_order_the_fleet_was_learnt(scene):
    def bare(made: tuple[Plan, ...]) -> list[Plan]:
        return [msgspec.structs.replace(one, made_at_ms=0) for one in made]

    town, other = town_of(scene), town_of(scene)
    for mapping in (other.fleet.facts, other.fleet.records):
        turned = dict(reversed(mapping.items()))
        mapping.clear()
        mapping.update(turned)
    first = bare(plans(town, scene))
    assert first == bare(plans(town, scene))
    assert first == bare(plans(other, scene))


@quietly
@given(scenes, st.lists(edits, max_size=4))
def test_edits_hold_or_are_refused_or_their_server_stays_with_the_reason(scene, wanted):
    town = town_of(scene)
    before = {id_: record.owner.host_id for id_, record in town.fleet.records.items()}
    made = planned_or_refused(town, scene, *wanted)
    if isinstance(made, GodwitError):
        event("refused")
        assert wanted
        assert "\n" not in made.message
        return
    lines = {move.server_name: move for one in made for move in one.moves}
    last = {}
    for edit in wanted:
        known = last.get(edit.server, PlanEdit(server=edit.server))
        last[edit.server] = msgspec.structs.replace(
            known,
            target=edit.target or known.target,
            way=edit.way or known.way,
            first=edit.first or known.first,
        )
    for name, edit in last.items():
        move = lines[name]
        assert move.source_host_id == before[move.server_id]
        assert move.first is bool(edit.first)
        if edit.way is Way.STAYS:
            assert (move.way, move.chosen_way) == (Way.STAYS, True)
        elif move.way is Way.STAYS:
            assert move.why
        else:
            assert edit.way in {None, move.way}
            assert edit.target in {None, move.target_host_name}


@quietly
@given(scenes)
def test_the_times_of_a_plan_hold_together(scene):
    for one in plans(town_of(scene), scene):
        ends = [move.ends_in_s for move in one.moves]
        assert one.finish_in_s == max(ends, default=0)
        assert one.finish_low_s <= one.finish_in_s <= one.finish_high_s
        assert all(0 <= move.starts_in_s <= move.ends_in_s for move in one.moves)
        assert one.sent_bytes <= 20 * GIB * max(1, len(ends)) * 20


@quietly
@given(scenes)
def test_a_single_server_goes_where_the_scheduler_would_send_it(scene):
    town = town_of(scene | {"servers": scene["servers"][:1]})
    for record in list(town.fleet.records.values()):
        number = int(record.owner.host_id.removeprefix("host-"))
        (made,) = plans(town, {"emptied": [number], "keep_spare": False})
        (move,) = made.moves
        kind = "live" if record.wanted_on else "cold"
        seen = move_of(town.fleet, record, kind=kind)
        judged = candidates(seen, host_states(town.fleet)) if seen else ()
        fitting = [one.host_id for one in judged if one.fits]
        if record.owner.phase is OwnerPhase.LOST:
            assert move.way is Way.STAYS
        else:
            assert move.target_host_id == next(iter(fitting), "")
