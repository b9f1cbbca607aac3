"""Something dies in mid-migration: the migration ends, its record is true, one guest runs."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SOURCE, TARGET = "kvm-01", "kvm-02"


def check_truth(fleet: Any, name: str, record: dict[str, Any]) -> None:
    """The guest runs exactly once and whole, and where record, listing and libvirt all say."""
    expected = TARGET if record["state"] == "succeeded" else SOURCE
    (host,) = fleet.running_on(name)
    assert host == expected, record
    assert record["outcome"].startswith(f"{name} runs on {expected}"), record
    shown = fleet.show(name)
    assert (shown["status"], shown["host_name"]) == ("running", expected)
    assert fleet.lab.memory_losses(host, name) == []
    report = fleet.lab.guest_report(host, name)
    assert (report.memory_faults, report.disk_splits) == (0, 0)
    assert report.boots == 1, "the guest was started anew, not moved"


def migrate_under_load(
    fleet: Any, *, link: str = "50mbit", dirty_mb_per_s: float = 16
) -> tuple[str, str]:
    """A migration of a guest that dirties more than its link carries, unless told otherwise.

    The server's name and the migration's id; it goes on as long as the link is slow.
    """
    fleet.limit_links(link)
    name = fleet.add_server(SOURCE, working_set_mb=32, dirty_mb_per_s=dirty_mb_per_s)
    fleet.wait_for_working_set(SOURCE, name)
    return name, fleet.start_migration(name, TARGET)


def end_after_the_fault(fleet: Any, migration_id: str) -> dict[str, Any]:
    """Let the migration end when what was killed is back and has taken it up again."""
    fleet.until_driven_again(migration_id)
    fleet.clear_links()
    return dict(fleet.end_of(migration_id))


def kill(node: str, program: str) -> Callable[[Any], None]:
    return lambda fleet: fleet.kill_program(node, program)


SURVIVED = {
    "agent of the source killed": kill(SOURCE, "hostagent"),
    "agent of the target killed": kill(TARGET, "hostagent"),
    "backend killed": kill("controller", "backend.main"),
    "etcd killed": kill("controller", "etcd"),
}
AT_EVERY_STEP = {"agent of the target killed", "backend killed"}
"""Those that a run tries at other steps: see test_every_step.py."""


def test_a_live_migration_under_load_loses_no_byte(fleet: Any):
    name, migration_id = migrate_under_load(fleet, link="100mbit", dirty_mb_per_s=6)
    before = fleet.lab.guest_report(SOURCE, name)
    record = fleet.end_of(migration_id)
    assert record["state"] == "succeeded", record
    check_truth(fleet, name, record)
    assert fleet.lab.guest_report(TARGET, name).pages_dirtied > before.pages_dirtied
    assert record["statistics"]["downtime_ms"] > 0
    assert [one["number"] for one in record["passes"]] == list(range(1, len(record["passes"]) + 1))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=each, marks=pytest.mark.long if each in AT_EVERY_STEP else ())
        for each, fault in SURVIVED.items()
    ],
)
def test_a_program_dies_and_the_migration_succeeds(fleet: Any, fault: Callable[[Any], None]):
    name, migration_id = migrate_under_load(fleet)
    fault(fleet)
    record = end_after_the_fault(fleet, migration_id)
    assert record["state"] == "succeeded", record
    check_truth(fleet, name, record)


@pytest.mark.parametrize("host", [SOURCE, TARGET])
def test_a_libvirtd_dies_and_the_record_is_true(fleet: Any, host: str):
    name, migration_id = migrate_under_load(fleet)
    fleet.kill_program(host, "libvirtd")
    record = fleet.end_of(migration_id)
    check_truth(fleet, name, record)
    if record["state"] == "failed":
        assert record["error"], record


def test_everything_that_drives_the_migration_dies_at_once(fleet: Any):
    name, migration_id = migrate_under_load(fleet)
    fleet.kill_program("controller", "backend.main")
    fleet.kill_program("controller", "etcd")
    fleet.kill_program(SOURCE, "hostagent")
    fleet.kill_program(TARGET, "hostagent")
    record = end_after_the_fault(fleet, migration_id)
    assert record["state"] == "succeeded", record
    check_truth(fleet, name, record)


def test_the_targets_power_is_cut_and_the_guest_goes_on_at_home(fleet: Any):
    name, migration_id = migrate_under_load(fleet)
    fleet.lab.power_cut(TARGET)
    try:
        record = fleet.end_of(migration_id)
    finally:
        fleet.lab.power_on(TARGET)
    assert record["state"] == "failed", record
    assert record["error"], record
    fleet.wait_until_healthy()
    check_truth(fleet, name, record)
