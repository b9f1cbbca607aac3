"""The guest does what it was asked to, and notices each thing that must not happen to it."""

import socket
import time

import pytest

from lab.disks import volumes
from lab.report import RECORD_OFFSET, WORKING_SET_ADDRESS, read_disk_record
from lab.server import PAGE_BYTES, Workload

pytestmark = pytest.mark.lab


def test_guest_dirties_what_it_was_asked_to(lab, add_server, alive):
    workload = Workload(working_set_mb=32, dirty_mb_per_s=16)
    spec = add_server(workload=workload)
    first = alive("kvm-01", spec.name, beats=2)
    last = alive("kvm-01", spec.name, beats=first.beats + 4)
    # in the guest's own seconds; a busy machine may make it slower, nothing makes it faster
    seconds = last.beats - first.beats
    dirtied = last.pages_dirtied - first.pages_dirtied
    assert 0.5 * workload.pages_per_s * (seconds - 1) < dirtied
    assert dirtied < 1.1 * workload.pages_per_s * (seconds + 1)
    assert last.memory_faults == last.disk_splits == last.disk_errors == 0


def test_idle_guest_lives_and_dirties_nothing(lab, add_server, alive):
    spec = add_server()
    report = alive("kvm-01", spec.name, beats=3)
    assert report.pages_dirtied == 0
    assert lab.memory_losses("kvm-01", spec.name) == []


def test_no_byte_is_lost_on_the_way_to_another_host(lab, add_server, alive, live_migrate):
    spec = add_server(memory_mb=96, workload=Workload(working_set_mb=64, dirty_mb_per_s=20))
    for source, target in (("kvm-01", "kvm-02"), ("kvm-02", "kvm-01")):
        before = alive(source, spec.name, beats=2)
        live_migrate(spec.name, source, target)
        after = alive(target, spec.name, beats=before.beats + 2)
        assert after.pages_dirtied > before.pages_dirtied
        assert (after.boots, after.memory_faults, after.disk_splits) == (1, 0, 0)
        assert lab.memory_losses(target, spec.name) == []
        assert spec.name not in lab.virsh(source, "list --all --name").split()


def test_local_disk_goes_along_whole(lab, add_server, alive, live_migrate):
    spec = add_server(storage="mixed", workload=Workload(working_set_mb=4, dirty_mb_per_s=4))
    before = alive("kvm-01", spec.name, beats=2)
    assert before.drive_count == 2
    live_migrate(spec.name, "kvm-01", "kvm-02", "--copy-storage-all", "--migrate-disks", "hdb")
    after = alive("kvm-02", spec.name, beats=before.beats + 2)
    assert (after.boots, after.disk_splits, after.disk_errors) == (1, 0, 0)


def test_memory_that_changes_by_itself_is_reported(lab, add_server, alive):
    spec = add_server(workload=Workload(working_set_mb=1, dirty_mb_per_s=1))
    alive("kvm-01", spec.name, beats=2)
    address = WORKING_SET_ADDRESS + 100 * PAGE_BYTES
    overwrite_memory(lab, spec.name, address)
    deadline = time.monotonic() + 60
    while (report := lab.guest_report("kvm-01", spec.name)).memory_faults == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (report.memory_faults, report.fault_address) == (1, address)
    console = (lab.folders.consoles / f"{spec.name}.log").read_text()
    assert f"MEMORY FAULT at {address:08x}" in console


def overwrite_memory(lab, server: str, address: int) -> None:
    """Change four bytes of a running guest by QEMU's debugger port."""
    path = "/var/lib/libvirt/debugger"
    chardev = f"unix:{path},server=on,wait=off"
    lab.virsh("kvm-01", f"qemu-monitor-command {server} --hmp 'gdbserver {chardev}'")
    with socket.socket(socket.AF_UNIX) as debugger:
        debugger.settimeout(30)
        debugger.connect(str(lab.folders.node("kvm-01") / "libvirt" / "debugger"))
        for command in (f"M{address:x},4:deadbeef", "D"):
            checksum = sum(command.encode()) % 256
            debugger.sendall(f"${command}#{checksum:02x}".encode())
            answer = b""
            while b"$OK#9a" not in answer:
                answer += debugger.recv(4096)
            debugger.sendall(b"+")


def test_second_writer_of_a_disk_is_reported(lab, add_server, alive):
    spec = add_server()
    before = alive("kvm-01", spec.name, beats=2)
    image = volumes(spec, lab.folders)[0][1]
    record = read_disk_record(image)
    assert record.boots == before.boots
    with image.open("r+b") as file:
        file.seek(RECORD_OFFSET + 12)
        file.write((record.beats + 1000).to_bytes(4, "little"))
    report = alive("kvm-01", spec.name, beats=before.beats + 3)
    assert report.disk_splits == 1
    assert "DISK SPLIT" in (lab.folders.consoles / f"{spec.name}.log").read_text()


def test_disk_remembers_over_a_restart(lab, add_server, alive):
    spec = add_server()
    before = alive("kvm-01", spec.name, beats=2)
    lab.virsh("kvm-01", f"destroy {spec.name}", f"start {spec.name}")
    after = alive("kvm-01", spec.name, beats=before.beats + 1)
    assert after.boots == before.boots + 1
    assert after.disk_splits == 0
