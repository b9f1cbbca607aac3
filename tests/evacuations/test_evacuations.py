"""Hosts that are emptied on real hosts, while backends and targets die; and filled again."""

import time
from typing import Any

import pytest

from lab import hypervisor
from lab.state import LinkLimit
from tests.evacuations.outcome import assert_true, assert_whole, some
from tests.fleet import Fleet
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    EvacuationState,
    MoveState,
    PlanEdit,
    PlanRequest,
)
from wire.rescue import DeclareOff

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SOURCE = "kvm-01"
RATE_BITS_PER_S = 400_000_000
EVENING_S = 10.0
MOVING, LEFT, STAYED = MoveState.MOVING, MoveState.LEFT, MoveState.STAYED


def test_a_mixed_host_empties_although_the_backend_dies_and_is_filled_again(
    fleet: Fleet, office: Any
):
    live = fleet.add_server(working_set_mb=16, dirty_mb_per_s=4)
    disks = fleet.add_server(storage="local", data_mb=16)
    off = fleet.add_server(storage="local", data_mb=16, stopped=True)
    tied = fleet.add_server(stopped=True, passthrough=True)
    (evacuation,) = office.begin(SOURCE)
    office.until(evacuation, lambda now: MOVING in {one.state for one in now.servers}, "it moves")
    fleet.kill_program("controller", "backend")
    report = office.end(evacuation)
    assert office.states(report) == {live: LEFT, disks: LEFT, off: LEFT, tied: STAYED}
    lines = office.lines(report)
    assert "cannot move" in lines[tied].reason
    assert {one.tries for one in lines.values() if one.state is LEFT} == {1}
    assert_true(office, report)
    for name in (live, disks):
        assert_whole(fleet, name, lines[name].plan.target_host_name)
    assert fleet.defined_on(off) == [lines[off].plan.target_host_name]
    assert fleet.defined_on(tied) == [SOURCE]
    assert hypervisor.running_names(fleet.init(SOURCE)) == []

    assert "maintenance" in office.refusal(f"/v1/hosts/{SOURCE}/return")
    office.leave_maintenance(SOURCE)
    back = office.end(office.bring_back(SOURCE))
    assert back.kind is EvacuationKind.RETURN
    assert set(office.states(back).values()) == {LEFT}
    assert sorted(hypervisor.running_names(fleet.init(SOURCE))) == sorted((live, disks))
    assert fleet.defined_on(off) == [SOURCE]
    assert all(one.returned for one in office.now(report).servers if one.state is LEFT)


def test_what_was_to_go_to_a_target_that_dies_goes_to_another(fleet: Fleet, office: Any):
    first = fleet.add_server(storage="local", data_mb=64)
    second = fleet.add_server(storage="local", data_mb=16)
    # a cap that has room for one move alone
    (evacuation,) = office.begin(
        SOURCE, edits=(PlanEdit(server=first, first=True),), max_bandwidth_bytes_per_s=1 << 20
    )
    target = office.lines(evacuation)[first].plan.target_host_name
    migration_id = office.until(
        evacuation, lambda _: office.lines(evacuation)[first].migration_id, "the first moves"
    )
    fleet.until_state(migration_id, "copying_disks")
    fleet.lab.power_cut(target)
    office.act(evacuation, "change", EvacuationChange(no_bandwidth_limit=True))
    # it is not known to be dead, so that the first one's end cannot be told: others go on
    office.until(
        evacuation, lambda _: office.states(evacuation)[second] is LEFT, "the second leaves"
    )
    assert office.lines(evacuation)[second].plan.target_host_name != target
    assert office.states(evacuation)[first] is MOVING
    fleet.lab.power_on(target)
    report = office.end(evacuation)
    lines = office.lines(report)
    assert office.states(report) == {first: LEFT, second: LEFT}
    assert lines[first].tries == 2
    assert_true(office, report)
    for name in (first, second):
        assert_whole(fleet, name, lines[name].plan.target_host_name)


def test_two_hosts_empty_at_once_and_fill_neither(fleet: Fleet, office: Any):
    names = {host: fleet.add_server(host) for host in ("kvm-01", "kvm-02")}
    begun, told = office.begin_twice("kvm-01", "kvm-02", max_bandwidth_bytes_per_s=4 << 20)
    assert [one.host_name for one in begun] == ["kvm-01", "kvm-02"]
    assert f"by operator (evacuation {begun[0].evacuation_id})" in told
    said = office.refusal("/v1/hosts/kvm-01/exit-maintenance")
    assert f"evacuation-cancel {begun[0].evacuation_id}" in said
    for evacuation in begun:
        report = office.end(evacuation)
        name = names[evacuation.host_name]
        line = office.lines(report)[name]
        assert line.state is LEFT
        assert line.plan.target_host_name in {"kvm-03", "kvm-04"}
        assert_whole(fleet, name, line.plan.target_host_name)
        record = office.detail(line.migration_id).migration
        assert record.max_bandwidth_bytes_per_s == 4 << 20


def test_a_dead_host_is_emptied_once_it_is_declared_to_be_off(fleet: Fleet, office: Any):
    on, off = fleet.add_server(), fleet.add_server(stopped=True)
    fleet.lab.power_cut(SOURCE)
    fleet.eventually(
        lambda: fleet.ask("host-show", SOURCE)["status"] == "offline",
        within_s=60,
        what=f"{SOURCE} is offline",
    )
    request = PlanRequest(hosts=(SOURCE,), confirmed=(SOURCE,))
    assert SOURCE in office.refusal("/v1/evacuations", request)
    declared = office.post(f"/v1/hosts/{SOURCE}/declare-off", DeclareOff(host_name=SOURCE))
    assert declared.is_success, declared.text
    fleet.eventually(
        lambda: fleet.ask("host-show", SOURCE)["dead"], within_s=30, what=f"{SOURCE} is dead"
    )
    (evacuation,) = office.begin(SOURCE)
    assert evacuation.kind is EvacuationKind.RESCUE
    report = office.end(evacuation)
    lines = office.lines(report)
    assert office.states(report) == {on: LEFT, off: LEFT}
    alive = [host for host in fleet.hosts if host != SOURCE]
    running = [host for host in alive if on in hypervisor.running_names(fleet.init(host))]
    assert running == [lines[on].plan.target_host_name]
    assert fleet.defined_on(off, alive) == [lines[off].plan.target_host_name]
    fleet.lab.power_on(SOURCE)
    fleet.wait_until_healthy()
    assert fleet.running_on(on) == [lines[on].plan.target_host_name]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twelve_of_mixed_kind_leave_whatever_happens(fleet: Fleet, office: Any):
    idle = [fleet.add_server(working_set_mb=40) for _ in range(2)]
    warm = [fleet.add_server(working_set_mb=16, dirty_mb_per_s=4) for _ in range(2)]
    hot = fleet.add_server(working_set_mb=32, dirty_mb_per_s=24)
    local = [fleet.add_server(storage="local", data_mb=256) for _ in range(2)]
    mixed = fleet.add_server(storage="mixed", data_mb=64)
    paused = fleet.add_server()
    fleet.lab.virsh(SOURCE, f"suspend {paused}")
    fleet.until_status(paused, "suspend")
    off, off_local = (
        fleet.add_server(stopped=True),
        fleet.add_server(storage="local", data_mb=64, stopped=True),
    )
    tied = fleet.add_server(stopped=True, passthrough=True)
    running = [*idle, *warm, hot, *local, mixed]
    fleet.lab.limit_link(SOURCE, LinkLimit(rate_bits_per_s=RATE_BITS_PER_S))

    (evacuation,) = office.begin(SOURCE)
    assert len(evacuation.servers) == 12
    office.until(evacuation, lambda now: some(now, MOVING), "one moves")
    fleet.kill_program("controller", "backend")

    office.until(evacuation, lambda now: some(now, LEFT), "one has left")
    office.act(evacuation, "pause")
    evening = office.until(
        evacuation, lambda now: None if some(now, MOVING) else now, "none moves any more"
    )
    assert evening.state is EvacuationState.PAUSED
    assert some(evening, MoveState.WAITING), "something is left for the next day"
    time.sleep(EVENING_S)
    assert [one.state for one in office.now(evacuation).servers] == [
        one.state for one in evening.servers
    ]
    office.act(evacuation, "resume")

    cut = office.until(evacuation, lambda now: one_that_copies(office, now), "one copies")
    fleet.lab.partition(cut.plan.target_host_name)
    had_left = len(some(office.now(evacuation), LEFT))
    office.until(
        evacuation,
        lambda now: len(some(now, LEFT)) > had_left,
        "another leaves although a target is cut off",
        within_s=120,
    )
    fleet.lab.heal(cut.plan.target_host_name)

    report = office.end(evacuation, within_s=300)
    lines = office.lines(report)
    gone = [*running, paused, off, off_local]
    assert office.states(report) == dict.fromkeys(gone, LEFT) | {tied: STAYED}
    assert "cannot move" in lines[tied].reason
    assert_true(office, report)
    for name in running:
        assert_whole(fleet, name, lines[name].plan.target_host_name)
    assert fleet.lab.virsh(lines[paused].plan.target_host_name, f"domstate {paused}").strip() == (
        "paused"
    )
    for name in (paused, off, off_local):
        assert fleet.defined_on(name) == [lines[name].plan.target_host_name]
    assert fleet.defined_on(tied) == [SOURCE]


def one_that_copies(office: Any, evacuation: Evacuation) -> EvacuatedServer | None:
    """One of which something crosses the link at this moment, while others wait."""
    for line in some(evacuation, MOVING):
        state = office.detail(line.migration_id).migration.state if line.migration_id else ""
        if state.startswith("copying") and some(evacuation, MoveState.WAITING):
            return line
    return None
