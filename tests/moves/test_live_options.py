"""Each option of ``godwit server-live-migrate`` on real hosts does what it says."""

import json
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from lab.certificates import issue, new_authority
from lab.disks import data_block, nvram_path
from lab.report import WORKING_SET_ADDRESS
from lab.server import MIB, PAGE_BYTES

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]

SOURCE, TARGET = "kvm-01", "kvm-02"
OTHER_MICROCODE = "kvm-03"


def moved(fleet: Any, *arguments: str) -> dict[str, Any]:
    """Move a server live with ``--wait``, which must succeed; the final record."""
    done = fleet.godwit("server-live-migrate", "--wait", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def refused(fleet: Any, *arguments: str) -> str:
    """The sentences of a move that is refused, with nothing begun."""
    before = fleet.migration_ids()
    done = fleet.godwit("server-live-migrate", *arguments)
    assert done.returncode in {1, 2}, done
    assert done.stdout == ""
    assert fleet.migration_ids() == before
    return str(done.stderr)


def test_prefer_host_is_the_only_host_to_go_to(fleet: Any):
    name = fleet.add_server(SOURCE)
    sentence = refused(fleet, "--prefer-host", OTHER_MICROCODE, name)
    assert f"{name} cannot go to {OTHER_MICROCODE}" in sentence
    assert "microcode 0x42e on kvm-01, 0x428 on kvm-03" in sentence
    assert moved(fleet, "--prefer-host", TARGET, name)["target_host_name"] == TARGET


def test_the_strict_checks_are_not_lifted_by_the_other_option(fleet: Any):
    name = fleet.add_server(SOURCE)
    sentence = refused(fleet, "--skip-kernel-check", "--prefer-host", OTHER_MICROCODE, name)
    assert "microcode" in sentence


def page_words(address: int) -> bytes:
    """Words of a page of the working set that its guest never changes: each holds its address."""
    return array("I", range(address + 16, address + 48, 4)).tobytes()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_enable_tls_hides_memory_and_disk_on_the_wire(fleet: Any, tmp_path: Path, *, tls: bool):
    name = fleet.add_server(SOURCE, storage="local", data_mb=8, working_set_mb=8, dirty_mb_per_s=1)
    fleet.wait_for_working_set(SOURCE, name)
    # a pattern may lie across two packets, so each is looked for in many places
    on_disk = [data_block(name, index)[:32] for index in range(8)]
    in_memory = [page_words(WORKING_SET_ADDRESS + index * PAGE_BYTES) for index in range(64)]
    option = ["--enable-tls"] if tls else []
    with fleet.lab.capture(TARGET, tmp_path / "wire"):
        moved(fleet, *option, "--prefer-host", TARGET, name)
    wire = (tmp_path / "wire").read_bytes()
    assert len(wire) > 8 * MIB, "nothing was recorded"
    seen = [any(each in wire for each in patterns) for patterns in (on_disk, in_memory)]
    assert seen == [not tls, not tls]


def test_enable_tls_refuses_a_peer_of_another_authority(fleet: Any):
    name = fleet.add_server(SOURCE)
    pki = fleet.lab.folders.etc(TARGET) / "pki" / "qemu"
    kept = {each: each.read_bytes() for each in pki.iterdir()}
    stranger = issue(new_authority("somebody else"), TARGET)
    try:
        (pki / "server-cert.pem").write_bytes(stranger.certificate)
        (pki / "server-key.pem").write_bytes(stranger.key)
        done = fleet.godwit(
            "server-live-migrate", "--wait", "--enable-tls", "--prefer-host", TARGET, name
        )
        assert done.returncode == 1, done
        assert "certificate" in done.stderr.lower(), done.stderr
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert fleet.running_on(name) == [SOURCE]
    moved(fleet, "--enable-tls", "--prefer-host", TARGET, name)


def hot_server(fleet: Any) -> str:
    """A guest that dirties memory faster than its link carries it."""
    fleet.limit_links("200mbit")
    name = fleet.add_server(SOURCE, memory_mb=96, working_set_mb=48, dirty_mb_per_s=80)
    fleet.wait_for_working_set(SOURCE, name)
    return str(name)


def test_quickly_finish_ends_what_does_not_converge_with_the_pause_that_it_announced(fleet: Any):
    name = hot_server(fleet)
    options = ["--quickly-finish", "--downtime-bound-ms", "8000", "--prefer-host", TARGET, name]
    record = moved(fleet, *options)
    raised = [note["text"] for note in record["notes"] if "downtime limit raised" in note["text"]]
    assert raised, record["notes"]
    announced_ms = int(raised[-1].split(" to ")[1].split()[0])
    assert 300 < announced_ms <= 8000
    assert record["statistics"]["downtime_ms"] <= announced_ms, (raised, record["statistics"])
    took_s = record["statistics"]["total_ms"] / 1000
    # the same guest, the other way, without the option: in twice the time it has not arrived
    begun = fleet.ask("server-live-migrate", "--prefer-host", SOURCE, name)
    time.sleep(2 * took_s)
    assert fleet.migration(begun["migration_id"])["state"] == "copying_memory"
    assert fleet.godwit("server-cancel-live-migrate", name).returncode == 0
    assert fleet.end_of(begun["migration_id"])["state"] == "cancelled"


def test_quickly_finish_never_goes_above_its_bound(fleet: Any):
    name = hot_server(fleet)
    options = ["--quickly-finish", "--downtime-bound-ms", "400", "--prefer-host", TARGET, name]
    begun = fleet.ask("server-live-migrate", *options)
    migration_id = begun["migration_id"]
    until = time.monotonic() + 60
    while len(fleet.migration(migration_id)["passes"]) < 6 and time.monotonic() < until:
        time.sleep(0.5)
    limit = fleet.lab.virsh(SOURCE, f"migrate-getmaxdowntime {name}").strip()
    record = fleet.migration(migration_id)
    assert int(limit) <= 400, (limit, record["notes"])
    fleet.godwit("server-cancel-live-migrate", name)
    fleet.end_of(migration_id)


@pytest.mark.parametrize("limit_ms", [300, 700])
def test_the_downtime_limit_is_300_ms_unless_told_otherwise(fleet: Any, limit_ms: int):
    name = hot_server(fleet)
    option = [] if limit_ms == 300 else ["--downtime-limit-ms", str(limit_ms)]
    begun = fleet.ask("server-live-migrate", *option, "--prefer-host", TARGET, name)
    fleet.until_state(begun["migration_id"], "copying_memory")
    assert fleet.lab.virsh(SOURCE, f"migrate-getmaxdowntime {name}").strip() == str(limit_ms)
    fleet.godwit("server-cancel-live-migrate", name)
    assert fleet.end_of(begun["migration_id"])["state"] == "cancelled"


def test_max_bandwidth_is_one_total_for_memory_and_disks(fleet: Any):
    name = fleet.add_server(
        SOURCE, storage="local", data_mb=24, working_set_mb=32, dirty_mb_per_s=1
    )
    fleet.wait_for_working_set(SOURCE, name)
    begun = fleet.ask(
        "server-live-migrate", "--max-bandwidth-mb", "8", "--prefer-host", TARGET, name
    )
    fleet.until_state(begun["migration_id"], "copying_disks")
    # QEMU sends the first part of a disk at once and then waits: the cap is one on average
    rates = [fleet.received_mb_per_s(TARGET, over_s=4)]
    fleet.until_state(begun["migration_id"], "copying_memory")
    rates.append(fleet.received_mb_per_s(TARGET, over_s=2))
    assert fleet.end_of(begun["migration_id"])["state"] == "succeeded"
    assert max(rates) <= 8 * 1.25, rates
    assert max(rates) > 8 * 0.4, rates


@pytest.mark.parametrize("there_before", [False, True])
def test_uefi_variables_are_left_on_no_source_that_nobody_else_sees(fleet: Any, there_before: Any):
    name = fleet.add_server(SOURCE, uefi=True, stopped=True, memory_mb=128)
    path = str(nvram_path(name))
    fleet.lab.virsh(SOURCE, f"start {name}")
    fleet.until_status(name, "running")
    if there_before:  # as the source's own file is where hosts share the folder
        fleet.lab.execute(TARGET, "cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", path)
    record = moved(fleet, "--prefer-host", TARGET, name)
    assert fleet.running_on(name) == [TARGET]
    assert fleet.lab.execute(TARGET, "test", "-s", path).returncode == 0
    left = fleet.lab.execute(SOURCE, "test", "-e", path).returncode == 0
    assert left is there_before, record["notes"]


def test_local_disks_travel_with_a_running_guest_and_leave_nothing_behind(fleet: Any):
    name = fleet.add_server(SOURCE, storage="mixed", data_mb=16)
    local = {host: fleet.lab.folders.local(host) for host in (SOURCE, TARGET)}
    before = [each.name for each in local[SOURCE].iterdir() if name in each.name]
    assert before
    record = moved(fleet, "--prefer-host", TARGET, name)
    assert record["statistics"]["disk_transferred_bytes"] > 0
    assert [each.name for each in local[TARGET].iterdir() if name in each.name] == before
    assert [each for each in local[SOURCE].iterdir() if name in each.name] == []
    assert fleet.lab.memory_losses(TARGET, name) == []
    report = fleet.lab.guest_report(TARGET, name)
    assert (report.disk_splits, report.disk_errors) == (0, 0)


def test_a_paused_server_moves_and_stays_paused(fleet: Any):
    name = fleet.add_server(SOURCE)
    fleet.lab.virsh(SOURCE, f"suspend {name}")
    fleet.until_status(name, "suspend")
    record = moved(fleet, "--prefer-host", TARGET, name)
    assert "is paused on kvm-02" in record["outcome"]
    assert fleet.lab.virsh(TARGET, f"domstate {name}").strip() == "paused"


@pytest.mark.parametrize("keep", [False, True], ids=["removed", "kept"])
def test_keep_dest_guest_leaves_what_a_failed_move_made(fleet: Any, *, keep: bool):
    name = fleet.add_server(SOURCE, storage="local", data_mb=24)
    fleet.limit_links("40mbit")
    option = ["--keep-dest-guest-on-failed"] if keep else []
    begun = fleet.ask("server-live-migrate", *option, "--prefer-host", TARGET, name)
    fleet.until_state(begun["migration_id"], "copying_disks")
    time.sleep(1)
    fleet.kill_program(TARGET, "libvirtd")
    record = fleet.end_of(begun["migration_id"])
    assert record["state"] == "failed", record
    pool = fleet.lab.folders.local(TARGET)
    left = [each for each in pool.iterdir() if name in each.name]
    if not keep:
        assert (record["kept"], left) == ([], [])
        return
    assert {one["kind"] for one in record["kept"]} == {"definition", "disk", "log", "job"}
    for one in record["kept"]:
        inside = f"test -s {one['path']}"
        assert fleet.lab.execute(TARGET, "sh", "-c", inside).returncode == 0, one
    fleet.clear_links()
    fleet.wait_until_healthy()
    moved(fleet, "--prefer-host", TARGET, name)
    assert fleet.godwit("migration-remove-kept", begun["migration_id"]).returncode == 0
    assert fleet.migration(begun["migration_id"])["kept"] == []
    for one in record["kept"]:
        assert fleet.lab.execute(TARGET, "test", "-e", one["path"]).returncode != 0, one


def test_without_wait_the_verb_answers_with_the_migrations_id(fleet: Any):
    name = fleet.add_server(SOURCE)
    done = fleet.godwit("server-live-migrate", "--prefer-host", TARGET, name)
    assert done.returncode == 0, done.stderr
    assert fleet.end_of(done.stdout.strip())["state"] == "succeeded"


def test_the_guides_example_without_a_number_means_no_cap(fleet: Any):
    name = fleet.add_server(SOURCE)
    options = [
        "--prefer-host",
        TARGET,
        "--skip-cpu-check",
        "--max-bandwidth-mb",
        "--quickly-finish",
    ]
    done = fleet.godwit("server-live-migrate", *options, name)
    assert done.returncode == 0, done.stderr
    assert "--max-bandwidth-mb without a number means no cap" in done.stderr
    record = fleet.end_of(done.stdout.strip())
    assert record["options"]["max_bandwidth_bytes_per_s"] is None
    assert record["options"]["quickly_finish"]
