"""The lab's guest as an image and as a libvirt domain; what it does is told in guest.asm."""

import struct
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec

from lab.errors import LabError
from lab.folders import CONSOLES_PATH
from lab.processes import run

MIB = 1024 * 1024
PAGE_BYTES = 4096
WORKING_SET_ADDRESS = 0x100000
FIRMWARE_MB = 8
"""Memory that the working set leaves alone: what is below it, and the BIOS's tables at the top."""
BOOT_DISK_BYTES = MIB
_PARAMETERS_OFFSET = 510 - 12


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest does with its memory."""

    working_set_mb: int = 4
    dirty_mb_per_s: float = 0.0

    @property
    def pages(self) -> int:
        """Size of the working set."""
        return self.working_set_mb * MIB // PAGE_BYTES

    @property
    def pages_per_s(self) -> int:
        """How many pages are written each second."""
        return round(self.dirty_mb_per_s * MIB / PAGE_BYTES)


class GuestDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A raw image attached to the IDE controller."""

    path: Path
    """As the host sees it."""


class GuestDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes a libvirt domain."""

    name: str
    server_id: str
    memory_mb: int
    disks: tuple[GuestDisk, ...]
    virt_type: str
    """``qemu`` (software emulation) or ``kvm``."""


def check_workload(memory_mb: int, workload: Workload) -> None:
    """See whether a guest can hold its working set.

    Raises:
        LabError: it cannot, or a figure is not positive.
    """
    if workload.working_set_mb < 1:
        raise LabError(f"a working set of {workload.working_set_mb} MB is none: give at least 1")
    if workload.dirty_mb_per_s < 0:
        raise LabError(f"a guest cannot dirty {workload.dirty_mb_per_s:g} MB/s: give 0 or more")
    if memory_mb < workload.working_set_mb + FIRMWARE_MB:
        raise LabError(
            f"{memory_mb} MB of memory cannot hold a working set of {workload.working_set_mb} MB: "
            f"give at least {workload.working_set_mb + FIRMWARE_MB}"
        )


def assemble(output: Path) -> None:
    """Assemble guest.asm, unless ``output`` is newer than it."""
    source = Path(__file__).with_name("guest.asm")
    if not output.exists() or output.stat().st_mtime < source.stat().st_mtime:
        run(["nasm", "-f", "bin", "-w+error", str(source), "-o", str(output)])


def boot_image(program: bytes, workload: Workload, *, drive_count: int) -> bytes:
    """The boot disk's first bytes: the assembled program with its three parameters in place."""
    image = bytearray(program)
    parameters = (workload.pages, workload.pages_per_s, drive_count)
    struct.pack_into("<III", image, _PARAMETERS_OFFSET, *parameters)
    return bytes(image)


def console_path(name: str) -> Path:
    """A guest's serial output, as every host sees it."""
    return CONSOLES_PATH / f"{name}.log"


def domain_xml(definition: GuestDefinition) -> str:
    """The libvirt domain: one CPU, IDE disks without host caching, a serial port into a file."""
    disks = "".join(
        f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{escape(str(disk.path))}'/>
      <target dev='{target}' bus='ide'/>
    </disk>"""
        for disk, target in zip(definition.disks, ("hda", "hdb"), strict=False)
    )
    return f"""\
<domain type='{definition.virt_type}'>
  <name>{escape(definition.name)}</name>
  <uuid>{definition.server_id}</uuid>
  <memory unit='MiB'>{definition.memory_mb}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
  </features>
  <clock offset='utc'>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>{disks}
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='{escape(str(console_path(definition.name)))}' append='on'/>
    </serial>
    <video>
      <model type='none'/>
    </video>
    <memballoon model='none'/>
  </devices>
</domain>
"""
