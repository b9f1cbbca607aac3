"""Domain XML and states, as libvirt 9 gives them, in our words."""

import libvirt
import pytest

from hostagent.domain import describe_state, parse_definition
from hostagent.pools import holding_pool
from wire.fleet import PowerState, StoragePool

XML = """
<domain type='kvm' id='7'>
  <name>we&lt;b</name>
  <uuid>c9c56251-fe98-494c-b5a0-8b05e4434b32</uuid>
  <memory unit='KiB'>262144</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <cpu mode='custom' match='exact'><model fallback='forbid'>Haswell</model></cpu>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/pool/a.qcow2'/><target dev='vda'/>
    </disk>
    <disk type='volume' device='disk'>
      <source pool='ceph' volume='b'/><target dev='vdb'/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/><source protocol='rbd' name='rbd/c'/><target dev='vdc'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/template.img'/><target dev='vdd'/><readonly/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
  </devices>
</domain>
"""


def test_a_definition_with_every_kind_of_disk():
    found = parse_definition(XML)
    assert (found.name, found.vcpu_count, found.memory_bytes) == ("we<b", 2, 256 << 20)
    assert (found.cpu_model, found.machine, found.virt_type) == ("Haswell", "pc-q35-7.2", "kvm")
    brief = [
        (one.disk.target, one.disk.source, one.disk.device, one.disk.format, one.pool_name)
        for one in found.disks
    ]
    assert brief == [
        ("vda", "/pool/a.qcow2", "disk", "qcow2", ""),
        ("vdb", "b", "disk", "raw", "ceph"),
        ("vdc", "rbd/c", "disk", "raw", ""),
        ("vdd", "/pool/template.img", "disk", "raw", ""),
        ("sda", "", "cdrom", "raw", ""),
    ]
    assert [one.writable for one in found.disks] == [True, True, True, False, False]


def test_a_cpu_that_is_the_hosts_own_is_named_by_its_mode():
    xml = XML.replace("<model fallback='forbid'>Haswell</model>", "").replace(
        "mode='custom'", "mode='host-passthrough'"
    )
    assert parse_definition(xml).cpu_model == "host-passthrough"
    assert parse_definition("<domain type='qemu'><uuid>x</uuid></domain>").cpu_model == ""


@pytest.mark.parametrize(
    ("state", "reason", "power", "detail"),
    [
        (
            libvirt.VIR_DOMAIN_RUNNING,
            libvirt.VIR_DOMAIN_RUNNING_MIGRATED,
            PowerState.RUNNING,
            "migrated",
        ),
        (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            PowerState.PAUSED,
            "migrating",
        ),
        (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
            PowerState.PAUSED,
            "post-copy failed",
        ),
        (
            libvirt.VIR_DOMAIN_SHUTOFF,
            libvirt.VIR_DOMAIN_SHUTOFF_CRASHED,
            PowerState.SHUT_OFF,
            "crashed",
        ),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, PowerState.RUNNING, "shutting down"),
        (libvirt.VIR_DOMAIN_CRASHED, 0, PowerState.PAUSED, "crashed"),
        (libvirt.VIR_DOMAIN_PAUSED, 9999, PowerState.PAUSED, ""),
    ],
)
def test_states_with_their_reasons(state, reason, power, detail):
    described = describe_state(state, reason)
    assert (described.power, described.detail) == (power, detail)


def pool(name: str, path: str) -> StoragePool:
    return StoragePool(
        pool_id=f"id of {name}",
        name=name,
        shared=False,
        path=path,
        capacity_bytes=10,
        available_bytes=5,
    )


@pytest.mark.parametrize(
    ("source", "pool_name", "expected"),
    [
        ("/pool/a.img", "", "dir"),
        ("/pool/sub/a.img", "", None),
        ("/pool2/a.img", "", None),
        ("rbd/c", "", "ceph"),
        ("b", "ceph", "ceph"),
        ("/pool/a.img", "ceph", "ceph"),
        ("b", "unknown", None),
        ("", "", None),
    ],
)
def test_which_pool_holds_a_disk(source, pool_name, expected):
    pools = (pool("dir", "/pool/"), pool("ceph", "rbd"))
    found = holding_pool(pools, source=source, pool_name=pool_name)
    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("file", "file"),
        ("volume", "file"),
        ("block", "block"),
        ("network", "network"),
        ("nvme", "other"),
    ],
)
def test_what_a_disk_is(kind, expected):
    (found,) = parse_definition(
        f"<domain type='qemu'><devices><disk type='{kind}'><target dev='vda'/></disk></devices>"
        "</domain>"
    ).disks
    assert found.disk.kind == expected


def test_what_a_definition_tells_of_the_hosts_that_could_have_it():
    xml = """
    <domain type='kvm'>
      <os>
        <type arch='x86_64' machine='q35'>hvm</type>
        <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/nvram/web.fd</nvram>
      </os>
      <cpu mode='custom' match='exact'>
        <model fallback='forbid'>Haswell</model>
        <feature policy='require' name='avx2'/>
      </cpu>
    </domain>"""
    found = parse_definition(xml)
    assert (found.architecture, found.nvram_path) == ("x86_64", "/nvram/web.fd")
    assert found.cpu_xml == (
        '<cpu mode="custom" match="exact"><model fallback="forbid">Haswell</model>'
        '<feature policy="require" name="avx2" /></cpu>'
    )
    source = xml.replace("/nvram/web.fd", "<source file='/nvram/new.fd'/>")
    assert parse_definition(source).nvram_path == "/nvram/new.fd"
    assert parse_definition("<domain/>").cpu_xml == ""


def test_the_chain_below_a_disk():
    below = "<backingStore type='{}'><source {}='{}'/>"
    chain = (
        below.format("file", "file", "/pool/base.qcow2")
        + below.format("block", "dev", "/dev/vg/root")
        + "<backingStore/></backingStore></backingStore>"
    )
    xml = "<domain><devices><disk type='file'>{}<target dev='vda'/></disk></devices></domain>"
    (one,) = parse_definition(xml.format(chain)).disks
    assert (one.backing_known, one.disk.backing_paths) == (
        True,
        ("/pool/base.qcow2", "/dev/vg/root"),
    )
    (alone,) = parse_definition(xml.format("<backingStore/>")).disks
    assert (alone.backing_known, alone.disk.backing_paths) == (True, ())
    (unknown,) = parse_definition(xml.format("")).disks
    assert (unknown.backing_known, unknown.disk.backing_paths) == (False, ())
