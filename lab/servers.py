"""Servers of the lab: their disks in the pools of a host, their domains in its libvirt."""

import uuid
from pathlib import Path
from typing import Literal

import msgspec

from lab import hypervisor
from lab.errors import LabError
from lab.folders import LOCAL_PATH, SHARED_PATH, LabFolders
from lab.guest import (
    BOOT_DISK_BYTES,
    MIB,
    GuestDefinition,
    GuestDisk,
    Workload,
    boot_image,
    check_workload,
    domain_xml,
)
from lab.processes import ProcessId

Storage = Literal["shared", "local", "mixed"]
LOCAL_DISK_BYTES = 32 * MIB


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A server to be added."""

    name: str
    host: str
    memory_mb: int = 128
    workload: Workload = Workload()
    storage: Storage = "shared"
    """Where its disks are; ``mixed`` is a boot disk on shared and a second one on local storage."""
    stopped: bool = False


_MIXTURE: tuple[tuple[str, int, ServerSpec], ...] = (
    # host index, so that the mixture spreads over any number of hosts
    ("web", 0, ServerSpec(name="", host="", memory_mb=128)),
    (
        "db",
        0,
        ServerSpec(
            name="",
            host="",
            memory_mb=256,
            workload=Workload(working_set_mb=64, dirty_mb_per_s=20),
        ),
    ),
    (
        "cache",
        1,
        ServerSpec(
            name="",
            host="",
            memory_mb=192,
            workload=Workload(working_set_mb=128, dirty_mb_per_s=60),
        ),
    ),
    ("batch", 1, ServerSpec(name="", host="", memory_mb=256, stopped=True)),
    ("files", 2, ServerSpec(name="", host="", memory_mb=128, storage="local")),
)


def usual_servers(host_names: list[str], count: int) -> list[ServerSpec]:
    """A small fleet's usual mixture, repeated until there are ``count`` servers."""
    found = []
    for number in range(count):
        kind, host_index, spec = _MIXTURE[number % len(_MIXTURE)]
        turn = number // len(_MIXTURE)
        host = host_names[(host_index + turn) % len(host_names)]
        found.append(msgspec.structs.replace(spec, name=f"{kind}-{turn + 1}", host=host))
    return found


def check_spec(spec: ServerSpec, taken: set[str]) -> None:
    """See whether a server can be added.

    Raises:
        LabError: its name is taken or no name, or its figures do not fit one another.
    """
    if not spec.name or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in spec.name):
        raise LabError(f"{spec.name!r} cannot name a server: use a-z, 0-9, '-', '_' and '.'")
    if spec.name in taken:
        raise LabError(f"there is a server {spec.name!r} already: choose another name")
    check_workload(spec.memory_mb, spec.workload)


def _volumes(spec: ServerSpec, folders: LabFolders) -> list[tuple[Path, Path]]:
    """Each disk's folder on the machine and in the host; the boot disk first."""
    shared = (folders.shared, SHARED_PATH)
    local = (folders.local(spec.host), LOCAL_PATH)
    return {"shared": [shared], "local": [local], "mixed": [shared, local]}[spec.storage]


def create(
    spec: ServerSpec, server_id: uuid.UUID, folders: LabFolders, init: ProcessId, virt_type: str
) -> None:
    """Make a server's disks and define its domain on its host; start it unless it is to be stopped.

    Raises:
        LabError: libvirt refused, with its words.
    """
    volumes = _volumes(spec, folders)
    program = (folders.root / "guest.bin").read_bytes()
    disks = []
    for index, (outside, inside) in enumerate(volumes):
        volume = f"{spec.name}.img" if index == 0 else f"{spec.name}-{index}.img"
        path = outside / volume
        on_local_storage = inside == LOCAL_PATH
        path.write_bytes(
            boot_image(program, spec.workload, drive_count=len(volumes)) if index == 0 else b""
        )
        with path.open("r+b") as image:
            image.truncate(LOCAL_DISK_BYTES if on_local_storage else BOOT_DISK_BYTES)
        disks.append(GuestDisk(path=inside / volume))
    definition = GuestDefinition(
        name=spec.name,
        server_id=str(server_id),
        memory_mb=spec.memory_mb,
        disks=tuple(disks),
        virt_type=virt_type,
    )
    xml = folders.etc(spec.host) / "godwit" / f"{spec.name}.xml"
    xml.write_text(domain_xml(definition), encoding="utf-8")
    pools = ["shared" if inside == SHARED_PATH else "local" for _, inside in volumes]
    commands = [f"pool-refresh {pool}" for pool in pools]
    commands.append(f"define /etc/godwit/{spec.name}.xml")
    if not spec.stopped:
        commands.append(f"start {spec.name}")
    hypervisor.virsh(init, *commands)
    xml.unlink()
