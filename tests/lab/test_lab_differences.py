"""Of six hosts, one shows another kernel, and on one no guest's CPU can have a certain feature."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.differences import MISSING_FEATURE, OTHER_KERNEL
from lab.fleet import Lab
from lab.server import ServerSpec

pytestmark = [
    pytest.mark.lab,
    pytest.mark.xdist_group("differences"),  # one lab of six hosts is enough
]

DEMANDING = f"""
<cpu mode='custom' match='exact'>
  <model>qemu64</model>
  <feature policy='require' name='{MISSING_FEATURE}'/>
</cpu>
"""
PLAIN = "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"


@pytest.fixture(scope="module")
def lab(six_hosts_lab):
    return six_hosts_lab


def compared(lab: Lab, host: str, cpu: str) -> subprocess.CompletedProcess[str]:
    (lab.folders.shared / "cpu.xml").write_text(cpu)
    command = f"hypervisor-cpu-compare --error --virttype {lab.state.virt_type}"
    path = "/var/lib/libvirt/shared/cpu.xml"
    return lab.execute(host, "virsh", *command.split(), path)


def hosts_that_refuse(lab: Lab, cpu: str) -> list[str]:
    refused = []
    for host in lab.state.hosts:
        done = compared(lab, host.name, cpu)
        if done.returncode:
            assert f"does not provide required features: {MISSING_FEATURE}" in done.stderr
            refused.append(host.name)
    return refused


def test_one_host_alone_shows_another_kernel(lab):
    path = Path("/proc/sys/kernel/osrelease")
    shown = {host.name: lab.execute(host.name, "cat", path).stdout for host in lab.state.hosts}
    assert shown.pop("kvm-05") == f"{OTHER_KERNEL}\n"
    assert set(shown.values()) == {path.read_text()} != {f"{OTHER_KERNEL}\n"}


def test_one_host_alone_lacks_a_feature_also_once_libvirtd_is_restarted(lab):
    assert hosts_that_refuse(lab, PLAIN) == []
    assert hosts_that_refuse(lab, DEMANDING) == ["kvm-06"]
    before = lab.execute("kvm-06", "cat", "/run/godwit-lab/libvirtd").stdout
    lab.signal_program("kvm-06", "libvirtd", signal.SIGKILL)
    deadline = time.monotonic() + 30
    while lab.execute("kvm-06", "cat", "/run/godwit-lab/libvirtd").stdout in {before, ""}:
        assert time.monotonic() < deadline
    lab.wait_until_ready()
    while "cannot connect" in compared(lab, "kvm-06", PLAIN).stderr.lower():
        assert time.monotonic() < deadline
    assert hosts_that_refuse(lab, DEMANDING) == ["kvm-06"]


def test_running_guest_that_has_the_feature_cannot_go_where_it_is_missing(lab, live_migrate):
    needs = ServerSpec(name="needs", host="kvm-01", cpu_feature=MISSING_FEATURE, paused=True)
    plain = ServerSpec(name="plain", host="kvm-01", paused=True)
    for spec in (needs, plain):
        lab.add_server(spec)
    live_migrate("plain", "kvm-01", "kvm-06")
    assert lab.memory_losses("kvm-06", "plain") == []
    live_migrate("needs", "kvm-01", "kvm-02")
    assert lab.memory_losses("kvm-02", "needs") == []
    with pytest.raises(AssertionError, match=f"missing features: {MISSING_FEATURE}"):
        live_migrate("needs", "kvm-02", "kvm-06")
    assert "needs" in lab.virsh("kvm-02", "list --name").split()
