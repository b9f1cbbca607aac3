"""The lab's guest as disk images and a libvirt domain; what it does is told in guest.asm."""

import struct
from pathlib import Path
from xml.sax.saxutils import escape

from lab import hypervisor
from lab.errors import LabError
from lab.folders import CONSOLES_PATH, LOCAL_PATH, SHARED_PATH, LabFolders
from lab.processes import ProcessId, run
from lab.server import MIB, ServerSpec, Storage, Workload

_PARAMETERS_OFFSET = 510 - 12
_DISK_BYTES = {"shared": MIB, "local": 32 * MIB}
_POOLS: dict[Storage, tuple[str, ...]] = {
    "shared": ("shared",),
    "local": ("local",),
    "mixed": ("shared", "local"),
}
_POOL_PATHS = {"shared": SHARED_PATH, "local": LOCAL_PATH}


def assemble(output: Path) -> None:
    """Assemble guest.asm."""
    source = Path(__file__).with_name("guest.asm")
    run(["nasm", "-f", "bin", "-w+error", str(source), "-o", str(output)])


def boot_image(program: bytes, workload: Workload, *, drive_count: int) -> bytes:
    """The boot disk's first bytes: the assembled program with its three parameters in place."""
    image = bytearray(program)
    parameters = (workload.pages, workload.pages_per_s, drive_count)
    struct.pack_into("<III", image, _PARAMETERS_OFFSET, *parameters)
    return bytes(image)


def volumes(spec: ServerSpec, folders: LabFolders) -> list[tuple[str, Path]]:
    """Pool and image file (as the machine sees it) of each disk, the boot disk first."""
    places = {"shared": folders.shared, "local": folders.local(spec.host)}
    names = _volume_names(spec.name)
    pools = _POOLS[spec.storage]
    return [(pool, places[pool] / name) for pool, name in zip(pools, names, strict=False)]


def write_disks(spec: ServerSpec, folders: LabFolders) -> None:
    """Make a server's image files; a file of that name is overwritten."""
    program = (folders.root / "guest.bin").read_bytes()
    disks = volumes(spec, folders)
    boot = boot_image(program, spec.workload, drive_count=len(disks))
    for (pool, path), content in zip(disks, (boot, b""), strict=False):
        with path.open("wb") as image:
            image.write(content)
            image.truncate(_DISK_BYTES[pool])


def create(
    spec: ServerSpec, server_id: str, folders: LabFolders, init: ProcessId, virt_type: str
) -> None:
    """Make a server on its host and start it, unless it is to be stopped.

    What a broken-off attempt left is taken over.

    Raises:
        LabError: libvirt refused, with its words.
    """
    if spec.name in hypervisor.running_names(init):
        return
    write_disks(spec, folders)
    definition = folders.etc(spec.host) / "godwit" / f"{spec.name}.xml"
    definition.write_text(domain_xml(spec, server_id, virt_type), encoding="utf-8")
    commands = [f"pool-refresh {pool}" for pool in _POOLS[spec.storage]]
    commands.append(f"define /etc/godwit/{spec.name}.xml")
    if not spec.stopped:
        commands.append(f"start {spec.name}")
    try:
        hypervisor.virsh(init, *commands)
    except LabError:
        for _, path in volumes(spec, folders):
            path.unlink()
        raise
    finally:
        definition.unlink()


def remove(name: str, hosts: list[str], inits: list[ProcessId], folders: LabFolders) -> None:
    """Remove a server's domain from every host that is on, and its files from every pool.

    Raises:
        LabError: libvirt refused, with its words.
    """
    for init in inits:
        if name in hypervisor.running_names(init):
            hypervisor.virsh(init, f"destroy {name}")
        if name in hypervisor.defined_names(init):
            hypervisor.virsh(init, f"undefine {name}")
    for pool in (folders.shared, *(folders.local(host) for host in hosts)):
        for volume in _volume_names(name):
            (pool / volume).unlink(missing_ok=True)
    (folders.consoles / f"{name}.log").unlink(missing_ok=True)


def _volume_names(name: str) -> tuple[str, str]:
    return f"{name}.img", f"{name}-data.img"


def domain_xml(spec: ServerSpec, server_id: str, virt_type: str) -> str:
    """The libvirt domain: one CPU, IDE disks without host caching, a serial port into a file.

    ``virt_type`` is ``qemu`` (software emulation) or ``kvm``.
    """
    names = _volume_names(spec.name)
    disks = "".join(
        f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{escape(str(_POOL_PATHS[pool] / name))}'/>
      <target dev='{target}' bus='ide'/>
    </disk>"""
        for pool, name, target in zip(_POOLS[spec.storage], names, ("hda", "hdb"), strict=False)
    )
    return f"""\
<domain type='{virt_type}'>
  <name>{escape(spec.name)}</name>
  <uuid>{server_id}</uuid>
  <memory unit='MiB'>{spec.memory_mb}</memory>
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
      <source path='{escape(str(CONSOLES_PATH / spec.name))}.log' append='on'/>
    </serial>
    <video>
      <model type='none'/>
    </video>
    <memballoon model='none'/>
  </devices>
</domain>
"""
