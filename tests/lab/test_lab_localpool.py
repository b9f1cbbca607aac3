"""A host's local pool runs full, for whoever writes there, and is given back."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.fleet import Lab
from lab.server import MIB

pytestmark = pytest.mark.lab

POOL = "/var/lib/libvirt/images"
_WRITE = """
import sys, time
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(bytes(1 << 16))
        time.sleep(0.005)
"""


@pytest.fixture
def own_lab():
    lab = Lab(f"test-{os.getpid()}-77")
    try:
        lab.up(host_count=1, server_count=0)
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


def free_bytes(lab, host: str) -> int:
    told = lab.virsh(host, "pool-dumpxml local")
    return int(re.findall(r"<available unit='bytes'>(\d+)<", told)[0])


def written_mb(lab, host: str, mb: int, *options: str) -> int:
    """Write zeros into the pool; how many MiB of them fit."""
    path = f"{POOL}/written"
    lab.execute(host, "dd", "if=/dev/zero", f"of={path}", "bs=64K", f"count={mb * 16}", *options)
    size = lab.path(host, path).stat().st_size
    lab.path(host, path).unlink()
    return size // MIB


def test_pool_is_as_full_as_it_was_made_and_whole_again_when_cleared(lab):
    before = lab.virsh("kvm-02", "pool-dumpxml local")
    lab.limit_pool("kvm-02", 20)
    assert 19 * MIB < free_bytes(lab, "kvm-02") <= 21 * MIB
    assert lab.virsh("kvm-02", "vol-list local").strip() == ""
    assert free_bytes(lab, "kvm-01") > 100 * MIB
    for options in ((), ("oflag=direct",)):
        assert 15 <= written_mb(lab, "kvm-02", 40, *options) <= 20
    lab.limit_pool("kvm-02", 50)
    assert written_mb(lab, "kvm-02", 40) == 40
    lab.limit_pool("kvm-02", 0)
    assert written_mb(lab, "kvm-02", 40) == 0
    # what is taken there is not taken of the machine's own disk
    assert lab.folders.local_disk("kvm-02").stat().st_blocks * 512 < 150 * MIB
    lab.limit_pool("kvm-02", None)
    capacity = re.compile("<capacity.*>")
    assert capacity.findall(lab.virsh("kvm-02", "pool-dumpxml local")) == capacity.findall(before)
    assert str(lab.folders.root) not in Path("/proc/self/mountinfo").read_text()


def test_disk_runs_full_under_a_writer(lab):
    lab.limit_pool("kvm-02", 1000)
    path = lab.path("kvm-02", f"{POOL}/growing")
    argv = lab.exec_argv("kvm-02", [sys.executable, "-c", _WRITE, f"{POOL}/growing"])
    writer = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    with writer:
        while not path.exists() or path.stat().st_size < MIB:
            time.sleep(0.01)
        lab.limit_pool("kvm-02", 0)
        assert "No space left on device" in writer.stderr.read()
    assert writer.returncode != 0
    lab.limit_pool("kvm-02", None)
    # what is there stays readable, and there is space beside it
    assert path.stat().st_size >= MIB
    assert written_mb(lab, "kvm-02", 40) == 40
    path.unlink()


def test_guest_lives_in_a_small_pool_and_over_a_power_cut(lab, add_server, alive):
    lab.limit_pool("kvm-02", 100)
    spec = add_server(host="kvm-02", storage="local", data_mb=10)
    assert alive("kvm-02", spec.name, beats=2).disk_errors == 0
    assert lab.data_losses("kvm-02", spec.name) == []
    with pytest.raises(LabError, match="cannot be written on kvm-02: No space left"):
        add_server(name="large", host="kvm-02", storage="local", disk_mb=300, data_mb=200)
    lab.power_cut("kvm-02")
    lab.power_on("kvm-02")
    lab.wait_until_ready()
    assert lab.data_losses("kvm-02", spec.name) == []
    lab.virsh("kvm-02", f"start {spec.name}", "pool-refresh local")
    assert alive("kvm-02", spec.name, beats=2).boots == 2
    assert free_bytes(lab, "kvm-02") < 100 * MIB
    lab.limit_pool("kvm-02", None)
    assert free_bytes(lab, "kvm-02") > 1000 * MIB


def test_pool_that_holds_images_is_not_hidden(lab, add_server):
    spec = add_server(storage="local", stopped=True)
    with pytest.raises(LabError, match=rf"kvm-01 holds {spec.name}.img: fill it while it is empty"):
        lab.limit_pool("kvm-01", 20)
    assert lab.data_losses("kvm-01", spec.name) == []


def test_command_fills_and_clears(lab):
    def fill(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.cli", "fill", "--name", lab.name, "kvm-02"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert fill("--leave-mb", "7").returncode == 0
    assert 7 * MIB <= free_bytes(lab, "kvm-02") < 8 * MIB
    assert fill("--clear").returncode == 0
    assert free_bytes(lab, "kvm-02") > 100 * MIB
    assert fill().returncode == fill("--clear", "--leave-mb", "1").returncode == 2
    refused = fill("--leave-mb", "-1")
    assert refused.stderr == "godwit-lab: -1 MB cannot be left free: give 0 to 16383\n"
    assert refused.returncode == 1


def test_full_disk_ends_with_its_lab(own_lab, leftovers):
    own_lab.limit_pool("kvm-01", 1)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        own_lab.path("kvm-01", f"{POOL}/x").write_bytes(bytes(2 * MIB))
    made = own_lab.state
    assert any("loop" in line for line in leftovers(made, own_lab.folders.root))
    own_lab.down()
    deadline = time.monotonic() + 10
    while left := leftovers(made, own_lab.folders.root):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
