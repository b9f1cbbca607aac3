"""Whether KVM runs the lab's guest here: tried, since a KVM that is offered may not do it."""

import subprocess
import time
from pathlib import Path

from lab.folders import LabFolders
from lab.guest import boot_image
from lab.node import enter_argv
from lab.processes import ProcessId
from lab.server import MIB, Workload

PROBE_S = 3.0


def probe_kvm(folders: LabFolders, init: ProcessId) -> bool:
    """Let the guest run under KVM inside a node until its first heartbeat, three seconds at most.

    It runs there so that it ends with the node, whatever becomes of this program.
    """
    if not Path("/dev/kvm").exists():
        return False
    image, serial, output = (folders.root / f"probe.{kind}" for kind in ("img", "serial", "log"))
    program = (folders.root / "guest.bin").read_bytes()
    workload = Workload(working_set_mb=1, dirty_mb_per_s=1)
    with image.open("wb") as file:
        file.write(boot_image(program, workload, drive_count=1))
        file.truncate(MIB)
    argv = ["timeout", str(PROBE_S + 2), "qemu-system-x86_64", "-machine", "pc,accel=kvm"]
    argv += ["-m", "32", "-nodefaults", "-display", "none", "-monitor", "stdio"]
    argv += ["-drive", f"file={image},format=raw,if=ide", "-serial", f"file:{serial}"]
    with output.open("wb") as log:
        qemu = subprocess.Popen(
            enter_argv(init, argv), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        return _beats(qemu, serial, output)
    finally:
        qemu.communicate(b"quit\n")


def _beats(qemu: subprocess.Popen[bytes], serial: Path, output: Path) -> bool:
    deadline = time.monotonic() + PROBE_S
    while time.monotonic() < deadline and qemu.poll() is None:
        if serial.exists() and b"beat" in serial.read_bytes():
            return b"faults 00000000" in serial.read_bytes()
        if b"KVM internal error" in output.read_bytes():
            return False
        time.sleep(0.05)
    return False
