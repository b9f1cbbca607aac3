"""What a plan says of each server of a host: its way, its target, its turn, or why it stays."""

import msgspec
import pytest

from backend.evacuations.planning.planner import as_server
from backend.moments import now_ms
from tests.unit.backend.evacuations.planned import (
    GIB,
    MIB,
    Planned,
    disk,
    line,
    order,
    pool,
    routes,
)
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import EvacuationKind, MoveOptions, MoveState, PlanEdit, Way
from wire.fleet import OwnerPhase, PowerState
from wire.forecast import Ease
from wire.migration import MigrationState, Pass


async def test_each_server_has_a_line_with_its_way_and_target():
    town = Planned(hosts=2)
    town.server("web-1")
    town.server("paused-1", state=PowerState.PAUSED)
    town.server("stopped-1", state=PowerState.SHUT_OFF)
    town.server("elsewhere", on=2)
    made = await town.plan()
    assert made.kind is EvacuationKind.EVACUATE
    assert {one.server_name: one.way for one in made.moves} == {
        "web-1": Way.LIVE,
        "paused-1": Way.LIVE,
        "stopped-1": Way.COLD,
    }
    assert set(routes(made).values()) == {"kvm-02"}
    assert made.refusals == ()


async def test_one_that_fell_and_is_wanted_on_is_started_on_its_target_and_needs_room_there():
    town = Planned(hosts=2)
    for name, gib in (("fell", 1), ("large", 40)):
        record = town.server(name, gib=gib, state=PowerState.SHUT_OFF)
        town.fleet.put_record(record.server_id, msgspec.structs.replace(record, wanted_on=True))
    record = town.server("paused", state=PowerState.SHUT_OFF)
    paused = msgspec.structs.replace(record, wanted_on=True, suspended=True)
    town.fleet.put_record(record.server_id, paused)
    made = await town.plan()
    assert line(made, "fell").way is Way.COLD
    assert line(made, "fell").options.auto_start
    assert "it is off and wanted on: it is started there" in line(made, "fell").why
    assert not line(made, "paused").options.auto_start
    assert line(made, "large").way is Way.STAYS
    assert "32768 MiB free" in line(made, "large").why


async def test_those_that_are_started_there_do_not_get_the_same_room_twice():
    town = Planned(hosts=2)
    for name in ("a", "b"):
        record = town.server(name, gib=20, state=PowerState.SHUT_OFF)
        town.fleet.put_record(record.server_id, msgspec.structs.replace(record, wanted_on=True))
    made = await town.plan()
    assert sorted(one.way for one in made.moves) == [Way.COLD, Way.STAYS]


async def test_small_ones_over_a_link_that_only_its_card_tells_of_do_not_all_start_at_once():
    town = Planned(hosts=2, link=1200 * MIB)
    town.host(2, free_gib=60, link=1200 * MIB)
    for number in range(6):
        town.server(f"idle-{number}", gib=0.05)
    made = await town.plan()
    assert [one.starts_in_s for one in made.moves] == [0, 0, 2, 2, 3, 3]
    assert made.finish_in_s == made.moves[-1].ends_in_s >= 5
    assert made.finish_high_s >= 10 * made.finish_in_s - 5, "both are rounded"


async def test_servers_that_cannot_move_stay_with_their_reason_and_come_last():
    town = Planned(hosts=2)
    town.server("a-lost", phase=OwnerPhase.LOST)
    town.server("a-tied", passthrough=("PCI device 0000:3b:00.0",))
    town.server("a-big", gib=40)
    town.server("web-1")
    made = await town.plan()
    assert order(made)[0] == "web-1"
    assert {one.way for one in made.moves[1:]} == {Way.STAYS}
    assert "0000:3b:00.0" in line(made, "a-tied").why
    assert "40960 MiB" in line(made, "a-big").why
    assert "32768 MiB free" in line(made, "a-big").why
    assert "server-settle" in line(made, "a-lost").why
    assert all(one.target_host_id == "" for one in made.moves[1:])
    assert sum("stays" in one for one in made.warnings) == 3


async def test_one_that_could_not_leave_keeps_that_reason_though_it_is_wished_to_stay():
    town = Planned(hosts=2)
    town.server("tied-1", passthrough=("PCI device 0000:3b:00.0",))
    town.server("lost-1", phase=OwnerPhase.LOST)
    town.server("web-1")
    names = ("tied-1", "lost-1", "web-1")
    made = await town.plan(edits=tuple(PlanEdit(server=one, way=Way.STAYS) for one in names))
    assert all(one.chosen_way for one in made.moves)
    assert "it could not leave: " in line(made, "tied-1").why
    assert "0000:3b:00.0" in line(made, "tied-1").why
    assert "server-settle" in line(made, "lost-1").why
    assert line(made, "web-1").why == "an operator wants it to stay"


async def test_a_server_that_moves_already_has_no_target_until_that_has_ended():
    town = Planned(hosts=2)
    town.server("web-1", phase=OwnerPhase.MIGRATING, migration_id="move-web-1")
    town.moving("web-1", source=1, target=2)
    town.server("web-2")
    made = await town.plan()
    assert (line(made, "web-1").way, line(made, "web-1").target_host_id) == (Way.LIVE, "")
    assert "move-web-1" in line(made, "web-1").why
    assert as_server(line(made, "web-1")).state is MoveState.WAITING


async def test_a_server_that_its_host_does_not_report_stays():
    town = Planned(hosts=2)
    town.server("web-1")
    town.server("web-2")
    town.fleet.drop_report("host-1", "id-web-1")
    made = await town.plan()
    assert line(made, "web-1").way is Way.STAYS
    assert "kvm-01 does not have it" in line(made, "web-1").why


async def test_each_placement_counts_for_the_next():
    town = Planned(hosts=1)
    town.host(2, free_gib=10)
    town.host(3, free_gib=10)
    for number in range(4):
        town.server(f"web-{number}", gib=5)
    made = await town.plan()
    assert sorted(routes(made).values()) == ["kvm-02", "kvm-02", "kvm-03", "kvm-03"]
    town.server("web-4", gib=5)
    made = await town.plan()
    assert sum(one.way is Way.STAYS for one in made.moves) == 1


async def test_the_largest_are_placed_before_the_small_ones_take_their_room():
    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.host(3, free_gib=3)
    town.server("a-small", gib=2)
    town.server("b-large", gib=7)
    made = await town.plan()
    assert routes(made) == {"a-small": "kvm-03", "b-large": "kvm-02"}


async def test_one_that_few_hosts_take_is_placed_before_larger_ones():
    town = Planned(hosts=1)
    town.host(2, free_gib=8)
    town.host(3, free_gib=8, machine_types=("pc-q35-7.2",))
    town.server("picky", gib=2)
    town.server("large", gib=7, machine="")
    made = await town.plan()
    assert routes(made) == {"picky": "kvm-02", "large": "kvm-03"}


async def test_local_disks_count_in_the_pools_of_targets():
    town = Planned(hosts=1)
    town.host(2, pools=(pool("shared"), pool("local", free_gib=15)))
    for number in range(2):
        town.server(
            f"db-{number}",
            pool_name="local",
            state=PowerState.SHUT_OFF,
            disks=(disk("local", gib=10),),
        )
    made = await town.plan()
    staying = [one for one in made.moves if one.way is Way.STAYS]
    assert len(staying) == 1
    assert "10240 MiB in pool local" in staying[0].why
    assert "promised" in staying[0].why


async def test_disks_of_live_moves_are_sent_at_their_full_size_whatever_is_in_them():
    town = Planned(hosts=2)
    disks = (disk("local", gib=10),)
    town.server("live-1", disks=disks)
    town.server("off-1", state=PowerState.SHUT_OFF, disks=disks)
    made = await town.plan()
    assert disks[0].allocation_bytes < 10 * GIB
    assert 10 * GIB < line(made, "live-1").forecast.sent_bytes < 11.1 * GIB
    assert line(made, "off-1").forecast.sent_bytes == disks[0].allocation_bytes
    assert made.sent_bytes >= 10 * GIB + disks[0].allocation_bytes


async def test_a_stopped_server_takes_no_memory_on_its_target():
    town = Planned(hosts=1)
    town.host(2, free_gib=1)
    for number in range(3):
        town.server(f"off-{number}", gib=8, state=PowerState.SHUT_OFF)
    made = await town.plan()
    assert {one.way for one in made.moves} == {Way.COLD}


async def test_hosts_that_are_planned_together_are_no_targets_of_each_other():
    town = Planned(hosts=3)
    town.server("web-1", on=1)
    town.server("web-2", on=2)
    made = await town.plans(1, 2)
    assert [one.host_name for one in made] == ["kvm-01", "kvm-02"]
    assert [routes(one) for one in made] == [{"web-1": "kvm-03"}, {"web-2": "kvm-03"}]


async def test_a_rack_does_not_fill_one_host_twice():
    town = Planned(hosts=2)
    town.host(3, free_gib=6)
    town.server("web-1", on=1, gib=4)
    town.server("web-2", on=2, gib=4)
    made = await town.plans(1, 2)
    assert sum(one.way is Way.STAYS for each in made for one in each.moves) == 1


async def test_hosts_in_maintenance_and_hosts_that_are_being_emptied_are_no_targets():
    town = Planned(hosts=4)
    town.server("web-1")
    town.maintenance(2)
    town.evacuation(3)
    assert routes(await town.plan()) == {"web-1": "kvm-04"}


async def test_what_other_evacuations_have_promised_is_not_free():
    town = Planned(hosts=1)
    town.host(2, free_gib=1)
    town.host(3, free_gib=6)
    town.server("web-1", on=1, gib=4)
    town.server("web-2", on=2, gib=4)
    await town.begun(1)
    made = await town.plan(2)
    assert line(made, "web-2").way is Way.STAYS
    assert "promised" in line(made, "web-2").why


async def test_only_with_other_hosts_alike_one_is_asked_about_cpus():
    town = Planned(hosts=5)
    for number in range(3):
        town.server(f"web-{number}", cpu_xml="<cpu/>", cpu_model="IvyBridge")
    made = await town.plan()
    assert len(town.agents.asked) == 1
    assert all(one.way is Way.LIVE for one in made.moves)


async def test_a_host_whose_cpu_lacks_features_is_no_target():
    town = Planned(hosts=1)
    town.host(2, guest_cpus=("qemu:other",))
    town.server("web-1", cpu_xml="<cpu/>")
    town.agents.lacking["host-2"] = ("avx2",)
    made = await town.plan()
    assert line(made, "web-1").way is Way.STAYS
    assert "lacks: avx2" in line(made, "web-1").why


async def test_a_skipped_check_opens_hosts_and_their_risk_is_told():
    town = Planned(hosts=1)
    town.host(2, kernel="6.2.0")
    town.server("web-1")
    assert "6.2.0" in line(await town.plan(), "web-1").why
    made = await town.plan(options=MoveOptions(skip_kernel_check=True))
    assert line(made, "web-1").target_host_name == "kvm-02"
    assert "kernel 6.1.0-1-amd64 on kvm-01, 6.2.0 on kvm-02" in line(made, "web-1").why


async def test_no_other_host_and_no_server_are_said():
    town = Planned(hosts=1)
    made = await town.plan()
    assert made.moves == ()
    assert "kvm-01 has no servers" in made.warnings
    town.server("web-1")
    made = await town.plan()
    assert "there is no other host" in line(made, "web-1").why
    assert made.refusals == (
        "the only server of kvm-01 stays: web-1, since there is no other host",
    )


async def test_all_targets_dead_or_unreachable_refuse_the_start_with_their_reason():
    town = Planned(hosts=3)
    town.server("web-1")
    town.dies(2, proven=True)
    town.fleet.agent_lost("host-3", "its agent answers nobody", silent=True)
    made = await town.plan()
    assert len(made.refusals) == 1
    assert "not online" in made.refusals[0]


async def test_a_late_host_is_a_target_only_where_there_is_no_other():
    town = Planned(hosts=3)
    town.host(2, free_gib=60)
    town.server("web-1")
    assert routes(await town.plan()) == {"web-1": "kvm-02"}
    town.fleet.put_late("host-2", "3 s left of 10")
    assert routes(await town.plan()) == {"web-1": "kvm-03"}
    town.maintenance(3)
    assert routes(await town.plan()) == {"web-1": "kvm-02"}


async def test_the_order_is_definitions_easy_small_to_large_heavy_disks_and_those_that_wait():
    town = Planned(hosts=2)
    town.host(2, free_gib=60)
    town.server("disks", state=PowerState.SHUT_OFF, pool_name="local")
    town.server("large", gib=8)
    town.server("small", gib=2)
    town.server("heavy", gib=1, dirties_mib_per_s=65, hot_mib=200)
    town.server("stuck", gib=4, dirties_mib_per_s=400, hot_mib=2000)
    town.server("definition", state=PowerState.SHUT_OFF)
    made = await town.plan()
    easy = [line(made, name).forecast.ease for name in ("small", "large")]
    assert easy == [Ease.EASY, Ease.EASY]
    assert line(made, "stuck").forecast.ease is Ease.STUCK
    assert order(made)[0] == "definition"
    assert order(made).index("small") < order(made).index("large")
    assert order(made)[-2:] == ["disks", "stuck"]


async def test_one_put_first_begins_first():
    from wire.evacuation import PlanEdit

    town = Planned(hosts=2)
    town.server("small", gib=1)
    town.server("large", gib=8)
    assert order(await town.plan()) == ["small", "large"]
    made = await town.plan(edits=(PlanEdit(server="large", first=True),))
    assert order(made) == ["large", "small"]
    assert line(made, "large").first
    assert line(made, "large").starts_in_s == 0
    assert line(made, "small").starts_in_s > 0


async def test_times_add_up_over_the_link_and_have_a_band():
    town = Planned(hosts=2, link=100 * MIB)
    for number in range(4):
        town.server(f"web-{number}", gib=1)
    made = await town.plan()
    assert made.sent_bytes >= 3.5 * GIB
    assert made.finish_in_s >= made.sent_bytes / (100 * MIB)
    assert 0 < made.finish_low_s < made.finish_in_s < made.finish_high_s
    assert made.finish_in_s == max(one.ends_in_s for one in made.moves)
    starts = [one.starts_in_s for one in made.moves]
    assert starts == sorted(starts)


async def test_a_cap_makes_the_plan_longer_and_is_no_option_of_the_single_move():
    town = Planned(hosts=2)
    town.server("web-1", gib=4)
    free, capped = await town.plan(), await town.plan(max_bandwidth_bytes_per_s=10 * MIB)
    assert capped.finish_in_s > 5 * free.finish_in_s
    assert line(capped, "web-1").options.max_bandwidth_bytes_per_s is None


async def test_one_that_qemu_slows_down_goes_alone_and_is_named():
    town = Planned(hosts=2)
    town.server("slowed", gib=4, dirties_mib_per_s=110, hot_mib=500)
    made = await town.plan()
    moved = line(made, "slowed")
    assert moved.forecast.ease is Ease.HEAVY
    assert 20 <= moved.forecast.throttle_percent <= 60
    assert f"slows it down by {moved.forecast.throttle_percent} %" in moved.why
    named = f"slowed (by {moved.forecast.throttle_percent} %)"
    assert any(named in one for one in made.warnings)


async def test_a_stuck_server_is_named_and_in_no_time():
    town = Planned(hosts=2)
    town.host(2, free_gib=60)
    town.server("hot-1", gib=4, dirties_mib_per_s=400, hot_mib=2000)
    town.server("web-1")
    made = await town.plan()
    waits = line(made, "hot-1")
    assert waits.target_host_name == "kvm-02"
    assert waits.forecast.lever
    assert waits.forecast.lever in waits.why
    assert waits.starts_in_s == waits.ends_in_s == 0
    assert any(one.startswith("hot-1 waits: ") for one in made.warnings)


async def test_guests_that_nobody_measured_and_links_that_only_the_card_tells_are_named():
    town = Planned(hosts=2)
    town.server("new-1", dirties_mib_per_s=None)
    made = await town.plan()
    assert any("new-1" in one and "measured" in one for one in made.warnings)
    assert any(
        "100 MiB/s, as its card says: nobody knows how fast it is" in one for one in made.warnings
    )
    assert made.finish_high_s >= 10 * made.finish_in_s - 5, "both are rounded"


async def test_a_link_that_moves_have_shown_makes_the_band_narrow():
    town = Planned(hosts=2)
    town.server("web-1")
    one_pass = Pass(
        number=1,
        started_ms=0,
        duration_ms=20_000,
        remaining_at_start_bytes=1000 * MIB,
        transferred_bytes=1000 * MIB,
        dirty_bytes_per_s=0,
        bandwidth_bytes_per_s=50 * MIB,
        throttle_percent=0,
    )
    move = msgspec.structs.replace(
        town.moving("old-1", source=1, target=2),
        state=MigrationState.SUCCEEDED,
        finished_at_ms=now_ms(),
        passes=(one_pass,),
    )
    town.fleet.put_migration(move.migration_id, move)
    made = await town.plan()
    assert made.link is not None
    assert made.link.bytes_per_s == 50 * MIB
    assert made.finish_high_s < 10 * made.finish_in_s
    assert not any("card" in one for one in made.warnings)


async def test_without_any_rate_there_are_no_times_and_that_is_said():
    town = Planned(hosts=2, link=0)
    town.server("web-1")
    made = await town.plan()
    assert line(made, "web-1").target_host_name == "kvm-02"
    assert made.link is None
    assert made.finish_in_s == 0
    assert any("nobody knows how fast the link out of kvm-01 is" in one for one in made.warnings)


async def test_a_second_evacuation_is_refused_with_who_began_the_first():
    town = Planned(hosts=2)
    town.server("web-1")
    town.evacuation(1)
    made = await town.plan()
    assert len(made.refusals) == 1
    assert "e-1 of anna" in made.refusals[0]
    assert made.refusals[0].endswith(" ago")
    assert "UTC" not in made.refusals[0]


async def test_nothing_leaves_a_host_that_does_not_answer():
    town = Planned(hosts=2)
    town.server("web-1")
    town.fleet.agent_lost("host-1", "kvm-01 answers nobody", silent=True)
    made = await town.plan()
    assert any("kvm-01 is unreachable" in one for one in made.refusals)
    town.fleet.put_etcd_error("/godwit/", "etcd does not answer")
    made = await town.plan()
    assert any("kvm-01 is unknown" in one for one in made.refusals)


@pytest.mark.parametrize("hosts", [("kvm-99",), ("kvm-01", "kvm-99")])
async def test_a_host_that_nobody_knows_is_not_found(hosts):
    from backend.evacuations.planning.planner import plan
    from wire.evacuation import PlanRequest

    town = Planned(hosts=2)
    with pytest.raises(GodwitError, match="kvm-99") as refused:
        await plan(town.sources, PlanRequest(hosts=hosts))
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_host_named_twice_is_planned_once():
    town = Planned(hosts=2)
    assert len(await town.plans(1, 1)) == 1


async def test_servers_on_their_way_to_the_host_are_named():
    town = Planned(hosts=2)
    town.server("web-9", on=2, phase=OwnerPhase.MIGRATING, migration_id="move-web-9")
    town.moving("web-9", source=2, target=1)
    made = await town.plan()
    assert any("web-9 is on the way to kvm-01" in one for one in made.warnings)


async def test_the_same_fleet_gives_the_same_plan():
    town = Planned(hosts=4)
    for number in range(12):
        town.server(f"web-{number}", gib=1 + number % 3)
    first, second = await town.plan(), await town.plan()
    assert msgspec.structs.replace(first, made_at_ms=0) == msgspec.structs.replace(
        second, made_at_ms=0
    )


async def test_equal_hosts_take_turns():
    town = Planned(hosts=5)
    for number in range(4):
        town.server(f"web-{number}")
    assert sorted(routes(await town.plan()).values()) == ["kvm-02", "kvm-03", "kvm-04", "kvm-05"]


async def test_memory_that_was_given_away_makes_a_host_weigh_less():
    town = Planned(hosts=1)
    town.host(2, free_gib=40)
    town.host(3, free_gib=32)
    for number in range(4):
        town.server(f"web-{number}", gib=8)
    assert sorted(routes(await town.plan()).values()) == ["kvm-02"] * 2 + ["kvm-03"] * 2
