"""Plans for hosts that are down: rescues, within the rules of fencing."""

import msgspec
import pytest

from tests.unit.backend.evacuations.planned import Planned, line, order, routes
from wire.errors import GodwitError
from wire.evacuation import EvacuationKind, PlanEdit, Way
from wire.fleet import OwnerPhase, PowerState, RescuePriority, ServerPolicy
from wire.rescue import IncidentState


def lost(*, proven: bool = True, held_reason: str = "") -> Planned:
    town = Planned(hosts=3)
    town.server("web-1")
    town.server("off-1", state=PowerState.SHUT_OFF)
    town.server("paused-1", state=PowerState.PAUSED)
    town.dies(1, proven=proven, held_reason=held_reason)
    return town


async def test_servers_of_a_dead_host_are_rescued_and_paused_ones_stay_unless_wanted():
    town = lost()
    made = await town.plan()
    assert made.kind is EvacuationKind.RESCUE
    assert made.refusals == ()
    assert line(made, "web-1").way is Way.RESCUE
    assert line(made, "web-1").options.auto_start
    assert line(made, "off-1").way is Way.RESCUE
    assert not line(made, "off-1").options.auto_start
    assert line(made, "paused-1").way is Way.STAYS
    assert "paused by a person" in line(made, "paused-1").why
    assert line(made, "web-1").ends_in_s > 0
    made = await town.plan(edits=(PlanEdit(server="paused-1", way=Way.RESCUE),))
    assert line(made, "paused-1").way is Way.RESCUE
    assert not line(made, "paused-1").options.auto_start


async def test_an_unproven_death_refuses_with_what_is_missing():
    because = "kvm-01 is unfenced, so say so with godwit host-declare-off kvm-01"
    made = await lost(proven=False, held_reason=because).plan()
    (refusal,) = made.refusals
    assert because in refusal
    assert refusal.count("host-declare-off") == 1
    town = lost(proven=False)
    made = await town.plan()
    (refusal,) = made.refusals
    assert "godwit host-declare-off kvm-01" in refusal
    incident = town.fleet.incidents["incident-1"]
    declared = msgspec.structs.replace(incident, declared_off_by="carol")
    town.fleet.put_incident("incident-1", declared)
    (refusal,) = (await town.plan()).refusals
    assert refusal.endswith("; carol has declared that it is off: ask again in a moment")
    assert "godwit host-declare-off" not in refusal


async def test_what_an_unfenced_host_may_still_do_is_said_once():
    because = "kvm-01 is unfenced, so its guests may still run: switch it off"
    (refusal,) = (await lost(proven=False, held_reason=because).plan()).refusals
    assert refusal.count("may still run") == 1
    (refusal,) = (await lost(proven=False).plan()).refusals
    assert refusal.count("may still run") == 1


async def test_local_disks_and_what_is_bound_to_the_host_stay():
    town = lost()
    town.server("db-1", pool_name="local")
    town.server("bound-1", bound_by="it holds a device of this host: PCI device 0000:3b:00.0")
    town.server("undefined-1")
    town.definitions["id-undefined-1"] = ""
    town.server("held-1", phase=OwnerPhase.MIGRATING, migration_id="m-1")
    made = await town.plan()
    assert "only kvm-01 reaches" in line(made, "db-1").why
    assert "it holds a device of kvm-01: PCI device 0000:3b:00.0" in line(made, "bound-1").why
    assert "no definition" in line(made, "undefined-1").why
    assert "m-1" in line(made, "held-1").why
    assert {line(made, one).way for one in ("db-1", "bound-1", "undefined-1", "held-1")} == {
        Way.STAYS
    }


async def test_the_important_ones_are_rescued_first():
    town = lost()
    town.server("urgent-1")
    town.fleet.put_server_policy("id-urgent-1", ServerPolicy(rescue_priority=RescuePriority.HIGH))
    assert order(await town.plan())[0] == "urgent-1"


async def test_live_and_cold_are_no_ways_to_leave_a_dead_host():
    with pytest.raises(GodwitError, match="way of web-1 is live, and kvm-01 is dead"):
        await lost().plan(edits=(PlanEdit(server="web-1", way=Way.LIVE),))


async def test_memory_that_running_servers_were_given_counts_as_taken():
    town = lost()
    town.maintenance(3)
    town.host(2, free_gib=60)
    for number in range(16):
        town.server(f"idle-{number}", on=2, gib=4)
    made = await town.plan()
    assert line(made, "web-1").way is Way.STAYS


async def test_a_dead_and_a_living_host_are_planned_together():
    town = lost()
    town.server("web-2", on=2)
    dead, living = await town.plans(1, 2)
    assert (dead.kind, living.kind) == (EvacuationKind.RESCUE, EvacuationKind.EVACUATE)
    assert routes(living) == {"web-2": "kvm-03"}
    assert line(dead, "web-1").target_host_name == "kvm-03"


async def test_rescues_that_go_on_by_themselves_are_told():
    town = lost()
    incident = town.fleet.incidents["incident-1"]
    assert not any("incident-1" in one for one in (await town.plan()).warnings)
    rescuing = msgspec.structs.replace(incident, state=IncidentState.RESCUING)
    town.fleet.put_incident("incident-1", rescuing)
    assert any("incident-1" in one for one in (await town.plan()).warnings)
