"""What a server may be, the usual mixture, and the guest's image."""

import struct
import xml.etree.ElementTree as ET

import pytest

from lab.disks import data_block, disks_of, pools_of
from lab.domain import domain_xml
from lab.errors import LabError
from lab.guest import assemble, boot_image
from lab.server import ServerSpec, Workload, check_spec, usual_servers

HOSTS = ["kvm-01", "kvm-02", "kvm-03"]


def test_usual_servers_are_five_of_a_kind_each_on_known_hosts():
    specs = {spec.name: spec for spec in usual_servers(HOSTS, 5)}
    assert list(specs) == ["web-1", "db-1", "cache-1", "batch-1", "files-1"]
    assert specs["web-1"].host == specs["db-1"].host == "kvm-01"
    assert specs["db-1"].workload == Workload(working_set_mb=64, dirty_mb_per_s=20)
    assert specs["batch-1"].stopped
    assert specs["files-1"].storage == "local"


@pytest.mark.parametrize("count", [0, 1, 5, 23])
@pytest.mark.parametrize("host_count", [1, 2, 3])
def test_any_number_of_usual_servers_can_be_made(count, host_count):
    specs = usual_servers(HOSTS[:host_count], count)
    assert len({spec.name for spec in specs}) == count
    assert {spec.host for spec in specs} <= set(HOSTS[:host_count])
    for spec in specs:
        check_spec(spec)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": ""}, "cannot name a server"),
        ({"name": "a b"}, "cannot name a server"),
        ({"name": "-x"}, "cannot name a server"),
        ({"workload": Workload(working_set_mb=0)}, "at least 1"),
        ({"workload": Workload(dirty_mb_per_s=-1)}, "give 0 to"),
        ({"workload": Workload(dirty_mb_per_s=float("nan"))}, "give 0 to"),
        ({"workload": Workload(dirty_mb_per_s=float("inf"))}, "give 0 to"),
        ({"memory_mb": 99_999_999}, "more than this machine"),
        ({"memory_mb": 64, "workload": Workload(working_set_mb=60)}, "at least 68"),
        ({"data_mb": 1}, "give local or mixed storage"),
        ({"disk_mb": 64}, "give local or mixed storage"),
        ({"chain": True}, "give local or mixed storage"),
        ({"storage": "local", "disk_mb": 1}, "give at least 2"),
        ({"storage": "local", "data_mb": 32}, "give 0 to 31"),
        ({"storage": "mixed", "data_mb": -1}, "give 0 to 31"),
        ({"cpu_feature": "aes'/>"}, "names no CPU feature"),
        ({"passthrough": True}, "cannot start"),
        ({"paused": True, "stopped": True}, "choose one"),
    ],
)
def test_impossible_server_is_refused(change, sentence):
    with pytest.raises(LabError, match=sentence):
        check_spec(ServerSpec(**{"name": "x", "host": "kvm-01", **change}))


def test_parameters_stand_before_the_signature(tmp_path):
    assemble(tmp_path / "guest.bin")
    program = (tmp_path / "guest.bin").read_bytes()
    assert program[510:512] == b"\x55\xaa"
    assert len(program) % 512 == 0
    workload = Workload(working_set_mb=3, dirty_mb_per_s=2.5)
    image = boot_image(program, workload, drive_count=2)
    assert struct.unpack_from("<III", image, 498) == (768, 640, 2)
    assert image[:498] + image[510:] == program[:498] + program[510:]


@pytest.mark.parametrize(
    ("storage", "files"),
    [
        ("shared", ["/var/lib/libvirt/shared/x.img"]),
        ("local", ["/var/lib/libvirt/images/x.img"]),
        ("mixed", ["/var/lib/libvirt/shared/x.img", "/var/lib/libvirt/images/x-data.img"]),
    ],
)
def test_domain_has_the_disks_that_were_asked_for(storage, files):
    spec = ServerSpec(name="x", host="kvm-01", storage=storage)
    domain = ET.fromstring(domain_xml(spec, "8f6bd2b1-3d1c-4b2c-8e0f-2a8f3f0d4d11", "qemu"))  # noqa: S314  (our own text)
    assert [source.get("file") for source in domain.findall("devices/disk/source")] == files
    assert {driver.get("type") for driver in domain.findall("devices/disk/driver")} == {"raw"}
    assert {driver.get("cache") for driver in domain.findall("devices/disk/driver")} == {"none"}


def test_chain_is_of_the_local_disk_alone():
    spec = ServerSpec(name="x", host="kvm-01", storage="mixed", chain=True)
    assert [(disk.pool, disk.format) for disk in disks_of(spec)] == [
        ("shared", "raw"),
        ("local", "qcow2"),
    ]
    assert pools_of(spec) == {"shared", "local", "image-cache"}


def test_seeded_data_is_the_same_each_time_and_differs_from_place_to_place():
    blocks = [data_block("x", 0), data_block("x", 1), data_block("y", 0)]
    assert data_block("x", 0) == blocks[0]
    assert len(set(blocks)) == 3
    assert {len(block) for block in blocks} == {1024 * 1024}
