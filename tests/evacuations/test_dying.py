"""Hosts that die while one is emptied: that one, or every other."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import hypervisor
from tests.evacuations.outcome import assert_true
from tests.fleet import Fleet
from wire.evacuation import EvacuationChange, MoveState, PlanEdit
from wire.fleet import HostStatus
from wire.life import Fence
from wire.migration import MigrationState
from wire.rescue import HostPolicyChange

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

SOURCE = "kvm-01"
SLOWLY = 1 << 20
"""The least cap: one server moves at a time, and those here take a minute."""


@pytest.fixture
def armed(office: Any) -> Iterator[None]:
    """When a test ends, rescues are armed again, and nobody has asked for those of the host."""
    yield
    for path, body in (
        ("/v1/rescue/arm", None),
        (f"/v1/hosts/{SOURCE}/policy", HostPolicyChange(auto_migrate_on_host_down=False)),
    ):
        answer = office.post(path, body)
        assert answer.is_success, answer.text


@pytest.mark.usefixtures("armed")
def test_what_has_no_target_any_more_waits_until_one_is_back(fleet: Fleet, office: Any):
    name = fleet.add_server(working_set_mb=48)
    (evacuation,) = office.begin(SOURCE, max_bandwidth_bytes_per_s=SLOWLY)
    office.until(evacuation, lambda _: office.states(evacuation)[name] is MoveState.MOVING, "moves")
    office.act(evacuation, "cancel")
    office.end(evacuation)
    targets = [host for host in fleet.hosts if host != SOURCE]
    for host in targets:
        fleet.lab.power_cut(host)
    fleet.eventually(
        lambda: {office.hosts()[host].status for host in targets} == {HostStatus.OFFLINE},
        within_s=60,
        what="every target is offline",
    )
    office.act(evacuation, "retry")
    office.act(evacuation, "change", EvacuationChange(no_bandwidth_limit=True))
    waiting = office.lines(evacuation)[name]
    assert (waiting.state, waiting.plan.target_host_name) == (MoveState.WAITING, "")
    assert "none of 3 hosts takes it" in waiting.reason
    assert "offline" in waiting.reason
    assert hypervisor.running_names(fleet.init(SOURCE)) == [name]
    for host in targets:
        fleet.lab.power_on(host)
    report = office.end(evacuation)
    line = office.lines(report)[name]
    assert line.state is MoveState.LEFT
    assert fleet.running_on(name) == [line.plan.target_host_name]
    assert_true(office, report)


@pytest.mark.long
@pytest.mark.usefixtures("armed")
def test_a_host_that_dies_while_it_is_emptied_is_the_incidents(fleet: Fleet, office: Any):
    moving, waiting = (fleet.add_server(working_set_mb=48) for _ in range(2))
    bound = fleet.add_server(storage="local", data_mb=16)
    answer = office.post(
        f"/v1/hosts/{SOURCE}/policy", HostPolicyChange(auto_migrate_on_host_down=True)
    )
    assert answer.is_success, answer.text
    fleet.eventually(
        lambda: (health := office.hosts()[SOURCE].health) and health.fence is Fence.WATCHDOG,
        within_s=60,
        what=f"{SOURCE} is fenced",
    )
    (evacuation,) = office.begin(
        SOURCE, max_bandwidth_bytes_per_s=SLOWLY, edits=(PlanEdit(server=moving, first=True),)
    )
    migration_id = office.until(
        evacuation, lambda _: office.lines(evacuation)[moving].migration_id, "the first moves"
    )
    fleet.until_state(migration_id, "copying_memory")
    fleet.lab.power_cut(SOURCE)

    report = office.end(evacuation, within_s=150)
    assert office.states(report) == {
        moving: MoveState.LEFT,
        waiting: MoveState.LEFT,
        bound: MoveState.FAILED,
    }
    lines = office.lines(report)
    assert f"{SOURCE} died before it left" in lines[bound].reason
    assert lines[moving].migration_id == migration_id
    assert office.detail(migration_id).migration.state is MigrationState.FAILED
    assert [lines[name].tries for name in (moving, waiting, bound)] == [1, 0, 0]
    alive = [host for host in fleet.hosts if host != SOURCE]
    for name in (moving, waiting):
        target = lines[name].plan.target_host_name
        running = [host for host in alive if name in hypervisor.running_names(fleet.init(host))]
        assert running == [target]
        told = re.search(r"was rescued to (\S+) .*\(migration (\w+)\)", lines[name].reason)
        assert told is not None, lines[name].reason
        rescue = office.detail(told[2]).migration
        assert (rescue.kind, rescue.state) == ("rescue", MigrationState.SUCCEEDED)
        assert (told[1], rescue.target_host_name) == (target, target)
        assert lines[name].forecast is None
        assert fleet.lab.guest_report(target, name).disk_splits == 0
    fleet.lab.power_on(SOURCE)
    fleet.until_status(bound, "running")
    for name in (moving, waiting):
        assert fleet.running_on(name) == [lines[name].plan.target_host_name]
    assert fleet.running_on(bound) == [SOURCE]
