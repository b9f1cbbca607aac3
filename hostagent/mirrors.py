"""Copies of disks during a migration, through QEMU's monitor.

libvirt's own calls about block jobs want the domain for themselves, and a migration has it until it
is over; a command to the monitor is a mere query to libvirt.
"""

import json
from typing import Any

import libvirt
import libvirt_qemu

from hostagent.bandwidth import Mirror


def read_mirrors(domain: libvirt.virDomain) -> tuple[Mirror, ...]:
    """Those under way (``query-block-jobs``). Blocks."""
    return tuple(
        Mirror(device=job["device"], speed_bytes_per_s=job["speed"], ready=job["ready"])
        for job in _command(domain, "query-block-jobs")["return"]
        if job["type"] == "mirror"
    )


def limit_mirror(domain: libvirt.virDomain, device: str, bytes_per_s: int) -> None:
    """Set what one may send (``block-job-set-speed``); one that has ended is left. Blocks."""
    _command(domain, "block-job-set-speed", device=device, speed=bytes_per_s)


def _command(domain: libvirt.virDomain, name: str, **arguments: Any) -> dict[str, Any]:
    command = {"execute": name, "arguments": arguments}
    answer: dict[str, Any] = json.loads(
        libvirt_qemu.qemuMonitorCommand(domain, json.dumps(command), 0)
    )
    return answer
