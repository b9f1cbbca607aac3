"""The lab's guest on a host, as boot disk and libvirt domain; what it does is told in guest.asm."""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

from lab import disks, hypervisor, node, report
from lab.domain import domain_xml
from lab.errors import LabError
from lab.folders import LIBVIRT_PATH, LabFolders
from lab.processes import ProcessId, run
from lab.server import ServerSpec, Workload

_PARAMETERS_OFFSET = 510 - 16
_TICKS_PER_S = 100
_BEGIN_TIMEOUT_S = 60.0


def assemble(output: Path) -> None:
    """Assemble guest.asm."""
    source = Path(__file__).with_name("guest.asm")
    run(["nasm", "-f", "bin", "-w+error", str(source), "-o", str(output)])


def boot_image(program: bytes, workload: Workload, *, drive_count: int, trace_ms: int = 0) -> bytes:
    """The boot disk's first bytes: the assembled program with its four parameters in place."""
    image = bytearray(program)
    ticks = trace_ms * _TICKS_PER_S // 1000
    parameters = (ticks, workload.pages, workload.pages_per_s, drive_count)
    struct.pack_into("<IIII", image, _PARAMETERS_OFFSET, *parameters)
    return bytes(image)


def create(
    spec: ServerSpec, server_id: str, folders: LabFolders, init: ProcessId, virt_type: str
) -> None:
    """Make a server on its host and start it, unless it is to be stopped.

    What a broken-off attempt left is taken over.

    Raises:
        LabError: libvirt refused, with its words; then nothing of the server is left.
    """
    known = spec.name in hypervisor.kept_names(init)
    if known and spec.name in hypervisor.running_names(init):
        return
    program = (folders.root / "guest.bin").read_bytes()
    drive_count = len(disks.disks_of(spec))
    boot = boot_image(program, spec.workload, drive_count=drive_count, trace_ms=spec.trace_ms)
    definition = folders.etc(spec.host) / "godwit" / f"{spec.name}.xml"
    definition.write_text(domain_xml(spec, server_id, virt_type), encoding="utf-8")
    commands = [f"pool-refresh {pool}" for pool in disks.pools_of(spec)]
    commands.append(f"define /etc/godwit/{spec.name}.xml")
    if not spec.stopped:
        commands.append(f"start {spec.name}")
    try:
        _write_files(spec, init, boot)
        hypervisor.virsh(init, *commands)
        if spec.paused:
            _pause(spec, init)
    except LabError:
        _remove_domain(spec.name, init)
        disks.remove_files(spec.name, node.inside(init, LIBVIRT_PATH))
        raise
    finally:
        definition.unlink()


def _write_files(spec: ServerSpec, init: ProcessId, boot: bytes) -> None:
    try:
        disks.write_files(spec, init, boot)
    except OSError as error:
        raise LabError(
            f"the images of {spec.name} cannot be written on {spec.host}: {error.strerror}"
        ) from None


def _pause(spec: ServerSpec, init: ProcessId) -> None:
    """Suspend a server that was just started, as soon as its memory holds what it must."""
    deadline = time.monotonic() + _BEGIN_TIMEOUT_S
    while not spec.uefi:
        try:
            report.read_guest_report(init, spec.name)
            break
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    hypervisor.virsh(init, f"suspend {spec.name}")


def remove(name: str, folders: LabFolders, hosts: Mapping[str, ProcessId | None]) -> None:
    """Remove a server's domain from every host that is on, and its files from every host.

    ``hosts`` is name to PID 1, which is None for a host that is off.

    Raises:
        LabError: libvirt refused, with its words.
    """
    for host, init in hosts.items():
        if init is None:
            disks.remove_files(name, folders.node(host) / "libvirt")
        else:
            _remove_domain(name, init)
            disks.remove_files(name, node.inside(init, LIBVIRT_PATH))
    # the shared pool is there although all hosts are off
    disks.remove_files(name, folders.root)
    (folders.consoles / f"{name}.log").unlink(missing_ok=True)


def _remove_domain(name: str, init: ProcessId) -> None:
    if name not in hypervisor.kept_names(init):
        return
    if name in hypervisor.running_names(init):
        hypervisor.virsh(init, f"destroy {name}")
    if name in hypervisor.defined_names(init):
        hypervisor.virsh(init, f"undefine {name} --nvram")
