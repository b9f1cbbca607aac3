"""A server as a libvirt domain."""

from pathlib import Path
from xml.sax.saxutils import escape

from lab import disks
from lab.folders import CONSOLES_PATH
from lab.server import ServerSpec

_LOADER = "/usr/share/OVMF/OVMF_CODE_4M.fd"

_UEFI = """
    <loader readonly='yes' type='pflash'>{loader}</loader>
    <nvram template='{template}'>{nvram}</nvram>"""

_CPU = """
  <cpu mode='custom' match='exact'>
    <model>qemu64</model>
    <feature policy='require' name='{feature}'/>
  </cpu>"""

_DISK = """
    <disk type='file' device='disk'>
      <driver name='qemu' type='{format}' cache='none'/>
      <source file='{path}'/>
      <target dev='{target}' bus='ide'/>{sharing}
    </disk>"""

# without QEMU's lock on the image, which would hide that a second copy was started
_SHAREABLE = """
      <shareable/>"""

_DRIVE = """
    <disk type='file' device='{device}'>
      <driver name='qemu' type='raw'/>
      <source file='{path}'/>
      <target dev='{target}' bus='{bus}'/>
      <readonly/>
    </disk>"""

# a device that no host has: the last function of the last slot of the last bus
_PASSTHROUGH = """
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source>
        <address domain='0x0000' bus='0xff' slot='0x1f' function='0x7'/>
      </source>
    </hostdev>"""


def _path(path: Path) -> str:
    return escape(str(path), {"'": "&apos;"})


def _drives(spec: ServerSpec) -> str:
    text = "".join(
        _DISK.format(
            format=disk.format,
            path=_path(disk.path),
            target=target,
            sharing=_SHAREABLE if spec.trace_ms and disk.pool == "shared" else "",
        )
        for disk, target in zip(disks.disks_of(spec), ("hda", "hdb"), strict=False)
    )
    if spec.cdrom:
        path = _path(disks.cdrom_path(spec.name, spec.cdrom))
        text += _DRIVE.format(device="cdrom", path=path, target="hdc", bus="ide")
    if spec.floppy:
        path = _path(disks.floppy_path(spec.name, spec.floppy))
        text += _DRIVE.format(device="floppy", path=path, target="fda", bus="fdc")
    return text


def _firmware(spec: ServerSpec) -> str:
    if not spec.uefi:
        return ""
    nvram = _path(disks.nvram_path(spec.name))
    return _UEFI.format(loader=_LOADER, template=disks.NVRAM_TEMPLATE, nvram=nvram)


def domain_xml(spec: ServerSpec, server_id: str, virt_type: str) -> str:
    """The libvirt domain: one CPU, IDE disks without host caching, a serial port into a file.

    ``virt_type`` is ``qemu`` (software emulation) or ``kvm``.
    """
    cpu = _CPU.format(feature=escape(spec.cpu_feature)) if spec.cpu_feature else ""
    return f"""\
<domain type='{virt_type}'>
  <name>{escape(spec.name)}</name>
  <uuid>{server_id}</uuid>
  <memory unit='MiB'>{spec.memory_mb}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>{_firmware(spec)}
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
  </features>{cpu}
  <clock offset='utc'>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>{_drives(spec)}
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='{_path(CONSOLES_PATH / spec.name)}.log' append='on'/>
    </serial>
    <video>
      <model type='none'/>
    </video>
    <memballoon model='none'/>{_PASSTHROUGH if spec.passthrough else ""}
  </devices>
</domain>
"""
