"""Each host of a lab is a host of its own, and the machine notices nothing of it."""

import re
import signal
import time
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.fleet import Lab
from lab.server import ServerSpec

pytestmark = pytest.mark.lab


def shown_cpus(lab: Lab) -> dict[str, tuple[str, str]]:
    cpus = {}
    for host in lab.state.hosts:
        text = lab.execute(host.name, "cat", "/proc/cpuinfo").stdout
        models = set(re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE))
        microcodes = set(re.findall(r"^microcode\s*: (.*)$", text, re.MULTILINE))
        assert len(models) == len(microcodes) == 1, f"{host.name}: processors differ"
        cpus[host.name] = (models.pop(), microcodes.pop())
    return cpus


def test_hosts_have_names_ids_and_boots_of_their_own(lab):
    machine_boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    boots, host_ids = {machine_boot}, set()
    for host in lab.state.hosts:
        assert lab.execute(host.name, "hostname").stdout.strip() == host.name
        boots.add(lab.execute(host.name, "cat", "/proc/sys/kernel/random/boot_id").stdout)
        host_ids.add(re.findall(r"<uuid>(.*)</uuid>", lab.virsh(host.name, "capabilities"))[0])
    assert len(boots) == len(lab.state.hosts) + 1
    assert len(host_ids) == len(lab.state.hosts)


def test_one_host_differs_in_microcode_and_one_in_cpu_model(lab):
    cpus = shown_cpus(lab)
    assert cpus["kvm-01"] == cpus["kvm-02"]
    assert cpus["kvm-03"][0] == cpus["kvm-01"][0]
    assert cpus["kvm-03"][1] != cpus["kvm-01"][1]
    assert cpus["kvm-04"][0] != cpus["kvm-01"][0]


def test_hosts_reach_each_other_by_tls_under_their_names(lab):
    uri = "qemu+tls://kvm-02/system"
    done = lab.execute("kvm-01", "virsh", "--connect", uri, "hostname")
    assert done.stdout.strip() == "kvm-02", done.stderr


def test_shared_pool_is_one_and_local_pools_are_many(lab):
    def uuids(pool: str) -> set[str]:
        return {lab.virsh(host.name, f"pool-uuid {pool}").strip() for host in lab.state.hosts}

    assert len(uuids("shared")) == 1
    assert len(uuids("local")) == len(lab.state.hosts)
    lab.execute("kvm-01", "touch", "/var/lib/libvirt/shared/seen-by-all")
    try:
        assert lab.execute("kvm-02", "ls", "/var/lib/libvirt/shared/seen-by-all").returncode == 0
    finally:
        lab.execute("kvm-01", "rm", "/var/lib/libvirt/shared/seen-by-all")


def test_machine_sees_no_mount_and_no_libvirt_of_a_host(lab):
    mark = str(lab.folders.root)
    assert mark not in Path("/proc/self/mountinfo").read_text()
    inside = lab.execute("kvm-01", "cat", "/proc/self/mountinfo").stdout
    assert mark in inside or lab.name in inside
    lab.execute("kvm-01", "touch", "/run/only-here", "/etc/only-here")
    assert not Path("/run/only-here").exists()
    assert not Path("/etc/only-here").exists()
    assert lab.execute("kvm-02", "ls", "/etc/only-here").returncode != 0


def test_secrets_are_readable_by_their_owner_alone(lab):
    secrets = [
        path
        for path in lab.folders.root.rglob("*")
        if path.is_file() and re.search(r"key\.pem$|\.token$|tokens\.toml$", path.name)
    ]
    assert len(secrets) > len(lab.state.nodes)
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_program_that_is_killed_comes_back(lab):
    def pid() -> str:
        return lab.execute("kvm-04", "cat", "/run/godwit-lab/libvirtd").stdout

    before = pid()
    lab.signal_program("kvm-04", "libvirtd", signal.SIGKILL)
    deadline = time.monotonic() + 30
    while pid() in {before, ""}:
        assert time.monotonic() < deadline
    lab.wait_until_ready()


def test_signal_to_a_program_that_is_not_there_is_refused(lab):
    with pytest.raises(LabError, match="etcd does not run there now"):
        lab.signal_program("kvm-01", "etcd", signal.SIGKILL)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (ServerSpec(name="x", host="kvm-99"), "no host 'kvm-99'"),
        (ServerSpec(name="x", host="controller"), "controller runs no servers"),
        (ServerSpec(name="a;b", host="kvm-01"), "cannot name a server"),
        (ServerSpec(name="x", host="kvm-01", memory_mb=4), "cannot hold a working set"),
    ],
)
def test_server_that_cannot_be_is_refused_in_one_sentence(lab, spec, sentence):
    before = lab.state
    with pytest.raises(LabError, match=re.escape(sentence)):
        lab.add_server(spec)
    assert lab.state == before


def test_second_server_of_a_name_is_refused(lab, add_server):
    spec = add_server(stopped=True)
    with pytest.raises(LabError, match="already"):
        lab.add_server(spec)
