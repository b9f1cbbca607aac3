"""What libvirt is told of a guest that leaves."""

from types import SimpleNamespace

import libvirt
import msgspec

from hostagent.bandwidth import NO_LIMIT_MIB_PER_S
from hostagent.departure import Departure, relocated
from hostagent.domain import parse_definition
from wire.agent import MigrateCommand
from wire.migration import MigrationOptions
from wire.storage import FileRole, IncomingFile

XML = """
<domain type='kvm'>
  <name>web-1</name>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/><source file='/shared/web-1.img'/>
      <backingStore/><target dev='vda'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/><source file='/images/web-1.s2'/>
      <backingStore type='file'><format type='raw'/><source file='/images/web-1.img'/>
        <backingStore/></backingStore>
      <target dev='vdb'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='raw'/><source pool='local' volume='web-1-2.img'/>
      <target dev='vdc'/>
    </disk>
  </devices>
</domain>
"""


def arriving(target: str, path: str, image_format: str) -> IncomingFile:
    return IncomingFile(
        source_path="/images/x",
        path=path,
        role=FileRole.DISK,
        disk_target=target,
        format=image_format,
    )


DISKS = (arriving("vdb", "/pool/web-1.qcow2", "qcow2"), arriving("vdc", "/pool/c.img", "raw"))
COMMAND = MigrateCommand(
    migration_id="m1",
    server_id="s1",
    generation=1,
    target_host_id="host-2",
    target_host_name="kvm-02",
    target_libvirt_uri="qemu+tls://kvm-02/system",
    target_address="10.0.0.2",
    options=MigrationOptions(enable_tls=True),
    disks=DISKS,
)
DEPARTURE = Departure(command=COMMAND, unsafe=False, postcopy=True, max_bandwidth_bytes_per_s=None)
DOMAIN = SimpleNamespace(XMLDesc=lambda _: XML)


def test_copied_disks_are_elsewhere_and_others_as_they_were():
    first, second, third = parse_definition(relocated(XML, DISKS, running=True)).disks
    assert first.disk.source == "/shared/web-1.img"
    assert (second.disk.source, second.disk.format) == ("/pool/web-1.qcow2", "qcow2")
    assert (second.backing_known, second.disk.backing_paths) == (True, ())
    assert (third.disk.source, third.pool_name) == ("/pool/c.img", "")
    # in a saved definition nothing is said of what is below, so that the image itself counts
    saved = parse_definition(relocated(XML, DISKS, running=False)).disks
    assert [one.backing_known for one in saved] == [True, False, False]
    assert [one.disk.source for one in saved] == [
        "/shared/web-1.img",
        "/pool/web-1.qcow2",
        "/pool/c.img",
    ]


def test_all_that_was_asked_for_is_told():
    told = DEPARTURE.parameters(DOMAIN)
    assert told["tls.destination"] == "kvm-02"
    assert told["migrate_uri"] == "tcp://10.0.0.2"
    assert told["migrate_disks"] == ["vdb", "vdc"]
    assert "/pool/c.img" in told["destination_xml"]
    assert "/pool/c.img" in told["persistent_xml"]
    # without it libvirt would keep an earlier migration's cap
    assert told["bandwidth"] == told["bandwidth.postcopy"] == NO_LIMIT_MIB_PER_S
    for flag in (
        libvirt.VIR_MIGRATE_TLS,
        libvirt.VIR_MIGRATE_POSTCOPY,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK,
    ):
        assert DEPARTURE.flags & flag
    assert not DEPARTURE.flags & libvirt.VIR_MIGRATE_UNSAFE


def test_what_was_not_asked_for_is_not_told():
    plain = msgspec.structs.replace(COMMAND, options=MigrationOptions(), disks=())
    departure = Departure(
        command=plain, unsafe=True, postcopy=False, max_bandwidth_bytes_per_s=5 << 20
    )
    assert departure.parameters(DOMAIN) == {"migrate_uri": "tcp://10.0.0.2", "bandwidth": 5}
    for flag in (
        libvirt.VIR_MIGRATE_TLS,
        libvirt.VIR_MIGRATE_POSTCOPY,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK,
    ):
        assert not departure.flags & flag
    assert departure.flags & libvirt.VIR_MIGRATE_UNSAFE


def test_a_post_copy_is_resumed_without_its_disks():
    resuming = msgspec.structs.replace(DEPARTURE, resumes_postcopy=True)
    assert resuming.flags & libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    assert resuming.flags & libvirt.VIR_MIGRATE_TLS
    assert not resuming.flags & libvirt.VIR_MIGRATE_NON_SHARED_DISK
    assert "migrate_disks" not in resuming.parameters(DOMAIN)
