"""What can be done to a migration under way, by the command line, on real hosts."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]

SOURCE, TARGET = "kvm-01", "kvm-02"
ENDS = {"succeeded", "failed", "cancelled"}


def begin_hot(fleet: Any) -> tuple[str, str]:
    """A migration that does not end by itself soon; the server's name and the migration's id."""
    fleet.limit_links("100mbit")
    name = fleet.add_server(SOURCE, memory_mb=96, working_set_mb=48, dirty_mb_per_s=60)
    fleet.wait_for_working_set(SOURCE, name)
    return name, fleet.start_migration(name, TARGET)


def test_bandwidth_and_downtime_are_changed_while_it_runs(fleet: Any):
    name, migration_id = begin_hot(fleet)
    changed = ["--max-bandwidth-mb", "4", "--downtime-limit-ms", "900"]
    done = fleet.godwit("server-set-live-migrate-params", *changed, name)
    assert done.returncode == 0, done.stderr
    time.sleep(1)
    rate = fleet.received_mb_per_s(TARGET, over_s=3)
    assert 1 < rate <= 4 * 1.25, rate
    assert fleet.lab.virsh(SOURCE, f"migrate-getmaxdowntime {name}").strip() == "900"
    assert fleet.godwit("server-cancel-live-migrate", name).returncode == 0
    record = fleet.end_of(migration_id)
    assert record["state"] == "cancelled", record
    assert fleet.running_on(name) == [SOURCE]
    told = " ".join(note["text"] for note in record["notes"])
    assert "4 MiB/s" in told, record["notes"]
    assert "900 ms" in told, record["notes"]


@pytest.mark.parametrize("verb", ["server-live-migrate", "server-migrate"])
def test_a_cap_is_taken_away_while_it_runs(fleet: Any, verb: str):
    fleet.limit_links("100mbit")
    stopped = verb == "server-migrate"
    name = fleet.add_server(SOURCE, storage="local", data_mb=96, stopped=stopped)
    begun = fleet.ask(verb, "--max-bandwidth-mb", "2", "--prefer-host", TARGET, name)
    fleet.until_state(begun["migration_id"], "copying_disks")
    # QEMU sends the first 16 MiB of a running guest's disk at once, and then waits
    capped = fleet.received_mb_per_s(TARGET, over_s=12)
    done = fleet.godwit("server-set-live-migrate-params", "--no-bandwidth-limit", name)
    assert done.returncode == 0, done.stderr
    assert "has no cap from now on" in done.stderr
    rate = fleet.received_mb_per_s(TARGET, over_s=2)
    record = fleet.end_of(begun["migration_id"])
    assert record["state"] == "succeeded", record
    assert capped <= 2 * 1.25, capped
    assert rate > 4, rate
    assert "bandwidth cap changed from 2 MiB/s to none" in [
        note["text"] for note in record["notes"]
    ]


def test_a_server_that_does_not_converge_arrives_by_post_copy(fleet: Any):
    name, migration_id = begin_hot(fleet)
    done = fleet.godwit("server-switch-to-postcopy", name)
    assert done.returncode == 0, done.stderr
    record = fleet.end_of(migration_id)
    assert record["state"] == "succeeded", record
    assert record["postcopy"] == "active"
    assert fleet.running_on(name) == [TARGET]
    assert fleet.lab.memory_losses(TARGET, name) == []
    report = fleet.lab.guest_report(TARGET, name)
    assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)


def begin_postcopy(fleet: Any) -> tuple[str, str]:
    """A guest in post-copy that is far from having all of its memory, and its migration's id."""
    fleet.limit_links("20mbit")
    name = fleet.add_server(SOURCE, memory_mb=96, working_set_mb=64, dirty_mb_per_s=30)
    fleet.wait_for_working_set(SOURCE, name)
    migration_id = fleet.start_migration(name, TARGET)
    assert fleet.godwit("server-switch-to-postcopy", name).returncode == 0

    def begun() -> bool:
        states = [fleet.lab.virsh(host, f"domstate --reason {name}") for host in (SOURCE, TARGET)]
        words = ("paused (post-copy)", "running (post-copy)")
        return all(word in state for word, state in zip(words, states, strict=True))

    fleet.eventually(begun, within_s=30, what=f"{name} is in post-copy")
    return name, migration_id


def paused_or_ended(fleet: Any, migration_id: str) -> Callable[[], bool]:
    def holds() -> bool:
        record = fleet.migration(migration_id)
        return bool(record["postcopy"] == "paused" or record["state"] in ENDS)

    return holds


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cut_s", [5, pytest.param(40, marks=pytest.mark.long)])
def test_post_copy_broken_by_the_link_ends_with_a_whole_guest(fleet: Any, cut_s: int):
    name, migration_id = begin_postcopy(fleet)
    assert fleet.godwit("server-cancel-live-migrate", name).returncode == 1
    fleet.lab.partition(TARGET)
    time.sleep(cut_s)
    if cut_s > 30:  # libvirt's keepalive
        fleet.eventually(paused_or_ended(fleet, migration_id), within_s=60, what="paused")
    fleet.lab.heal(TARGET)
    fleet.clear_links()
    fleet.wait_until_healthy()
    fleet.eventually(paused_or_ended(fleet, migration_id), within_s=90, what="paused or ended")
    recovered = fleet.godwit("server-recover-postcopy", name)
    record = fleet.end_of(migration_id)
    assert record["state"] == "succeeded", (record, recovered)
    check_whole(fleet, name, record)


@pytest.mark.long
def test_post_copy_whose_connection_ended_on_the_source_only_is_recovered(fleet: Any):
    name, migration_id = begin_postcopy(fleet)
    fleet.lab.partition(TARGET)
    # as TCP itself does after a quarter of an hour: the target hears nothing of it
    ports = "( dport >= :49152 and dport <= :49215 )"
    ended = fleet.lab.execute(SOURCE, "ss", "--kill", "--tcp", "--numeric", ports)
    assert ":491" in ended.stdout, ended
    fleet.eventually(paused_or_ended(fleet, migration_id), within_s=90, what="paused")
    assert fleet.godwit("server-recover-postcopy", name).returncode == 0
    fleet.lab.heal(TARGET)
    fleet.clear_links()
    record = fleet.end_of(migration_id)
    assert record["state"] == "succeeded", record
    assert record["notes"][-1]["text"].startswith(("post-copy went on", "post-copy goes on"))
    check_whole(fleet, name, record)


def check_whole(fleet: Any, name: str, record: dict[str, Any]) -> None:
    """The guest is on its target with all of its memory, and the source has nothing of it."""
    assert record["outcome"] == f"{name} runs on {TARGET}"
    assert record["postcopy"] == "active"
    assert fleet.running_on(name) == [TARGET]
    assert name not in fleet.lab.virsh(SOURCE, "list --all --name").split()
    assert fleet.lab.memory_losses(TARGET, name) == []
    report = fleet.lab.guest_report(TARGET, name)
    assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)


@pytest.mark.timeout(300)
def test_a_target_that_loses_power_in_post_copy_ends_the_record_and_keeps_the_disks(fleet: Any):
    name, migration_id = begin_postcopy(fleet)
    (disk,) = (one["source"] for one in fleet.ask("server-show", name)["disks"])
    fleet.lab.power_cut(TARGET)
    fleet.eventually(paused_or_ended(fleet, migration_id), within_s=90, what="paused")
    fleet.lab.power_on(TARGET)
    record = fleet.end_of(migration_id, within_s=150)
    assert record["state"] == "failed", record
    assert record["outcome"].startswith(f"{name} is lost: it ran in post-copy"), record
    fleet.wait_until_healthy()
    # libvirt defines a guest on its target as soon as it runs there
    done = fleet.godwit("server-settle", "--keep-host", TARGET, name)
    assert done.returncode == 0, done
    fleet.until_status(name, "ready")
    assert fleet.running_on(name) == []
    assert name not in fleet.lab.virsh(SOURCE, "list --all --name").split()
    assert fleet.lab.execute(TARGET, "test", "-s", disk).returncode == 0
    fleet.lab.virsh(TARGET, f"start {name}")
    assert fleet.running_on(name) == [TARGET]
