"""What a server of the lab is asked to be, and the usual mixture of them."""

import os
import re
from typing import Literal

import msgspec

from lab.errors import LabError

MIB = 1024 * 1024
PAGE_BYTES = 4096
FIRMWARE_MB = 8
"""Memory that the working set leaves alone: what is below it, and the BIOS's tables at the top."""

FASTEST_DIRTY_MB_PER_S = 10_000
"""More than any memory could take, and what the guest's 32-bit parameter holds."""

LOCAL_DISK_MB = 32
OWN_MB = 1
"""What the guest itself uses of a disk: its program and its record, at the front."""

Storage = Literal["shared", "local", "mixed"]
ImageFormat = Literal["raw", "qcow2"]
Medium = Literal["", "shared", "local"]
"""Where the image in a drive lies; empty for no drive."""


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


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A server to be made."""

    name: str
    host: str
    memory_mb: int = 128
    workload: Workload = Workload()
    storage: Storage = "shared"
    """Where its disks are; ``mixed`` is a boot disk on shared and a second one on local storage."""
    format: ImageFormat = "raw"
    """Of its disks' images."""
    disk_mb: int = LOCAL_DISK_MB
    """Virtual size of its local disk; the image is sparse."""
    data_mb: int = 0
    """How much of the local disk holds data that the guest leaves alone (:mod:`lab.disks`)."""
    chain: bool = False
    """Whether the local disk lies over a snapshot over a base image in the image cache (qcow2)."""
    cdrom: Medium = ""
    floppy: Medium = ""
    passthrough: bool = False
    """Whether it wants a PCI device of its host; there is none, so it can only be stopped."""
    cpu_feature: str = ""
    """A CPU feature, by libvirt's name, without which it must not run."""
    uefi: bool = False
    """UEFI with its variables in a file of the host; it cannot boot the guest's program."""
    trace_ms: int = 0
    """So often it leaves a trace on its boot disk (:mod:`lab.trace`); 0 for never. Nothing keeps a
    second copy of such a server from its disk."""
    stopped: bool = False
    paused: bool = False
    """Whether it is suspended once it has begun to run."""


def check_spec(spec: ServerSpec) -> None:
    """See whether a server can be as asked.

    Raises:
        LabError: its name is no name, or its figures do not fit one another.
    """
    workload = spec.workload
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", spec.name):
        raise LabError(
            f"{spec.name!r} cannot name a server: use up to 63 of a-z, 0-9, '-', '_' and '.'"
        )
    if workload.working_set_mb < 1:
        raise LabError(f"a working set of {workload.working_set_mb} MB is none: give at least 1")
    if not 0 <= workload.dirty_mb_per_s <= FASTEST_DIRTY_MB_PER_S:
        raise LabError(
            f"a guest cannot dirty {workload.dirty_mb_per_s:g} MB/s: "
            f"give 0 to {FASTEST_DIRTY_MB_PER_S}"
        )
    if spec.memory_mb > _machine_memory_mb():
        raise LabError(
            f"{spec.memory_mb} MB of memory is more than this machine's {_machine_memory_mb()} MB"
        )
    if spec.memory_mb < workload.working_set_mb + FIRMWARE_MB:
        raise LabError(
            f"{spec.memory_mb} MB of memory cannot hold a working set of "
            f"{workload.working_set_mb} MB: give at least {workload.working_set_mb + FIRMWARE_MB}"
        )
    _check_trace(spec)
    _check_local_disk(spec)
    if not re.fullmatch(r"[a-z0-9_.-]*", spec.cpu_feature):
        raise LabError(f"{spec.cpu_feature!r} names no CPU feature: give one such as 'aes'")
    if spec.passthrough and not spec.stopped:
        raise LabError(f"{spec.name} cannot start, since its PCI device is not there: stop it too")
    if spec.paused and spec.stopped:
        raise LabError(f"{spec.name} cannot be both paused and stopped: choose one")


def _check_trace(spec: ServerSpec) -> None:
    if spec.trace_ms % 10 or not 0 <= spec.trace_ms <= 1000:
        raise LabError(f"a guest cannot leave a trace every {spec.trace_ms} ms: give 0, 10 .. 1000")
    if spec.trace_ms and (spec.storage == "local" or spec.format != "raw"):
        raise LabError(f"{spec.name} cannot leave a trace on {spec.storage} {spec.format} disks")


def _check_local_disk(spec: ServerSpec) -> None:
    if spec.storage == "shared":
        if spec.chain or spec.data_mb or spec.disk_mb != LOCAL_DISK_MB:
            raise LabError(
                f"{spec.name} has no local disk to have a size, data or a chain: "
                "give local or mixed storage"
            )
        return
    if spec.disk_mb <= OWN_MB:
        raise LabError(
            f"a local disk of {spec.disk_mb} MB cannot hold the guest: give at least {OWN_MB + 1}"
        )
    if not 0 <= spec.data_mb <= spec.disk_mb - OWN_MB:
        raise LabError(
            f"a disk of {spec.disk_mb} MB cannot hold {spec.data_mb} MB of data: "
            f"give 0 to {spec.disk_mb - OWN_MB}"
        )


def _machine_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB


_KINDS = ("web", "db", "cache", "batch", "files")
_HOST_OF_KIND = {"web": 0, "db": 0, "cache": 1, "batch": 1, "files": 2}


def _of_kind(kind: str, name: str, host: str) -> ServerSpec:
    match kind:
        case "db":
            busy = Workload(working_set_mb=64, dirty_mb_per_s=20)
            return ServerSpec(name=name, host=host, memory_mb=256, workload=busy)
        case "cache":
            hot = Workload(working_set_mb=128, dirty_mb_per_s=60)
            return ServerSpec(name=name, host=host, memory_mb=192, workload=hot)
        case "batch":
            return ServerSpec(name=name, host=host, memory_mb=256, stopped=True)
        case "files":
            return ServerSpec(name=name, host=host, storage="local")
        case _:
            return ServerSpec(name=name, host=host)


def usual_servers(host_names: list[str], count: int) -> tuple[ServerSpec, ...]:
    """A small fleet's mixture, repeated until there are ``count`` servers: web-1, db-1... web-2."""
    found = []
    for index in range(count):
        turn, kind_index = divmod(index, len(_KINDS))
        kind = _KINDS[kind_index]
        host = host_names[(_HOST_OF_KIND[kind] + turn) % len(host_names)]
        found.append(_of_kind(kind, f"{kind}-{turn + 1}", host))
    return tuple(found)
