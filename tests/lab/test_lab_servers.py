"""Servers of every kind that a move has to deal with are made, and removed without a trace."""

import json
import re
import subprocess
import sys

import pytest

from lab.disks import base_path, disks_of, nvram_path, snapshot_path
from lab.errors import LabError
from lab.fleet import Lab
from lab.server import MIB, OWN_MB, ServerSpec

pytestmark = pytest.mark.lab


def traces(lab: Lab, spec: ServerSpec) -> list[str]:
    """What there is of a server on any host: files and domains, apart from logs, which stay."""
    own = re.compile(rf"{re.escape(spec.name)}\b")
    files = [path for path in lab.folders.root.rglob("*") if own.match(path.name)]
    hosts = [host.name for host in lab.state.hosts]
    domains = [h for h in hosts if spec.name in lab.virsh(h, "list --all --name").split()]
    logs = {lab.folders.node(host) / "libvirt-log" / "qemu" for host in hosts}
    found = [str(path) for path in files if path.parent not in logs]
    return found + [f"domain on {host}" for host in domains]


def chain_of(lab: Lab, host: str, spec: ServerSpec) -> list[str]:
    path = str(disks_of(spec)[-1].path)
    told = lab.execute(host, "qemu-img", "info", "-U", "--backing-chain", "--output=json", path)
    return [image["filename"] for image in json.loads(told.stdout)]


def test_guest_lives_on_a_qcow2_disk_beside_seeded_data(lab, add_server, alive):
    spec = add_server(storage="local", format="qcow2", disk_mb=64, data_mb=3)
    assert alive("kvm-01", spec.name, beats=2).disk_errors == 0
    assert lab.data_losses("kvm-01", spec.name) == []
    image = lab.folders.local("kvm-01") / disks_of(spec)[0].path.name
    assert 3 * MIB < image.stat().st_blocks * 512 < 8 * MIB
    told = lab.virsh("kvm-01", f"vol-dumpxml {image.name} local")
    assert f"<capacity unit='bytes'>{64 * MIB}</capacity>" in told
    assert "<format type='qcow2'/>" in told


def test_any_change_of_the_data_is_reported(lab, add_server):
    spec = add_server(storage="mixed", data_mb=2, disk_mb=2000, stopped=True)
    assert lab.data_losses("kvm-01", spec.name) == []
    image = lab.folders.local("kvm-01") / disks_of(spec)[1].path.name
    with image.open("r+b") as file:
        for position in (OWN_MB * MIB, 1500 * MIB):
            file.seek(position)
            file.write(b"?")
    first, second = lab.data_losses("kvm-01", spec.name)
    assert first.startswith(f"MiB {OWN_MB} of ")
    assert second.startswith("MiB 1500 of ")
    with image.open("r+b") as file:
        file.truncate(1000 * MIB)
    assert f"{1000 * MIB} bytes instead of {2000 * MIB}" in lab.data_losses("kvm-01", spec.name)[0]


def test_every_image_of_a_chain_holds_some_of_the_disk(lab, add_server, alive):
    spec = add_server(storage="local", chain=True, data_mb=4)
    top, snapshot, base = disks_of(spec)[0].path, snapshot_path(spec.name), base_path(spec.name)
    assert chain_of(lab, "kvm-01", spec) == [str(top), str(snapshot), str(base)]
    assert alive("kvm-01", spec.name, beats=2).disk_errors == 0
    assert lab.data_losses("kvm-01", spec.name) == []
    for host in lab.state.hosts:
        assert "image-cache" in lab.virsh(host.name, "pool-list --name").split()
    assert base.name in lab.virsh("kvm-01", "vol-list image-cache")
    assert base.name not in lab.virsh("kvm-02", "vol-list image-cache")
    lab.virsh("kvm-01", f"destroy {spec.name}")
    overlay = ["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", str(base), str(top)]
    assert lab.execute("kvm-01", *overlay).returncode == 0
    lost = [line.split(" of ")[0] for line in lab.data_losses("kvm-01", spec.name)]
    assert lost == [f"MiB {OWN_MB + 2}", f"MiB {OWN_MB + 3}"]


@pytest.mark.parametrize(
    "fields",
    [
        {"storage": "local", "chain": True, "data_mb": 2},
        {"storage": "mixed", "format": "qcow2", "cdrom": "local", "floppy": "shared"},
        {"uefi": True, "cdrom": "shared", "paused": True},
        {"uefi": True, "passthrough": True, "stopped": True},
    ],
    ids="-".join,
)
def test_removal_leaves_nothing_of_a_server(lab, fields):
    spec = ServerSpec(name="removed", host="kvm-01", **fields)
    assert traces(lab, spec) == []
    lab.add_server(spec)
    try:
        assert "domain on kvm-01" in traces(lab, spec)
        if spec.uefi:
            outside = lab.folders.node("kvm-01") / "libvirt" / "qemu" / "nvram"
            assert (outside / nvram_path(spec.name).name).stat().st_size > 0
    finally:
        lab.remove_server(spec.name)
    assert traces(lab, spec) == []
    assert "image-cache" not in lab.virsh("kvm-01", "pool-list --all --name").split()


def test_definition_has_the_devices_that_were_asked_for(lab, add_server):
    spec = add_server(cdrom="local", floppy="shared", passthrough=True, uefi=True, stopped=True)
    shown = lab.virsh("kvm-01", f"dumpxml {spec.name}")
    devices = set(re.findall(r"<disk type='file' device='(\w+)'>", shown))
    assert devices == {"disk", "cdrom", "floppy"}
    assert f"/var/lib/libvirt/images/{spec.name}-cdrom.iso" in shown
    assert f"/var/lib/libvirt/shared/{spec.name}-floppy.img" in shown
    assert "<hostdev mode='subsystem' type='pci' managed='yes'>" in shown
    assert str(nvram_path(spec.name)) in shown


def test_command_adds_what_its_options_say(lab):
    command = [sys.executable, "-m", "lab.cli", "add-server", "--name", lab.name, "optioned"]
    options = "--host kvm-02 --storage local --disk-mb 40 --data-mb 2 --format qcow2 --cdrom local"
    options += " --floppy shared --passthrough --uefi --cpu-feature aes --stopped"
    done = subprocess.run([*command, *options.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert lab.state.servers[-1].spec == ServerSpec(
            name="optioned",
            host="kvm-02",
            storage="local",
            disk_mb=40,
            data_mb=2,
            format="qcow2",
            cdrom="local",
            floppy="shared",
            passthrough=True,
            uefi=True,
            cpu_feature="aes",
            stopped=True,
        )
        assert lab.data_losses("kvm-02", "optioned") == []
    finally:
        lab.remove_server("optioned")


def test_paused_server_is_paused_with_its_memory_whole(lab, add_server):
    spec = add_server(paused=True, cdrom="shared")
    for _ in range(2):
        assert lab.memory_losses("kvm-01", spec.name) == []
        assert lab.virsh("kvm-01", f"domstate {spec.name}").strip() == "paused"


def test_server_that_cannot_start_leaves_nothing(lab):
    spec = ServerSpec(name="impossible", host="kvm-01", cpu_feature="no-such-feature", uefi=True)
    with pytest.raises(LabError, match="no-such-feature"):
        lab.add_server(spec)
    assert traces(lab, spec) == []
    assert spec.name not in {entry.spec.name for entry in lab.state.servers}
