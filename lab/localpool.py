"""A host's local pool as a file system of its own, of which only so much is free.

The file system lies in a sparse file of the lab and is mounted by the host alone: who writes there
gets ENOSPC from the kernel, and it ends with the host's namespaces. A file in it takes what is not
to be free. A host that starts again has it again, since disks do not grow by a power cut.
"""

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from lab import filesystem, hypervisor
from lab.errors import LabError
from lab.folders import LOCAL_DISK_PATH, LOCAL_PATH, LabFolders
from lab.node import enter_argv, inside
from lab.processes import ProcessId, run
from lab.server import MIB

CAPACITY_MB = 16_384

_FILLER = "filler"
_ROUNDS = 10
_RELEASE_TIMEOUT_S = 10.0


def limit(init: ProcessId, folders: LabFolders, host: str, free_mb: int) -> None:
    """Leave ``free_mb`` of free space in a host's local pool.

    Raises:
        LabError: the figure cannot be, the pool holds images that would be hidden, or this machine
            has no loop device to give.
    """
    if not 0 <= free_mb < CAPACITY_MB:
        raise LabError(f"{free_mb} MB cannot be left free: give 0 to {CAPACITY_MB - 1}")
    disk = inside(init, LOCAL_DISK_PATH)
    if not disk.is_mount():
        images = ", ".join(sorted(path.name for path in inside(init, LOCAL_PATH).iterdir()))
        if images:
            raise LabError(f"the local pool of {host} holds {images}: fill it while it is empty")
        filesystem.make(folders.local_disk(host), CAPACITY_MB * MIB)
        paths = map(str, (folders.local_disk(host), LOCAL_DISK_PATH, LOCAL_PATH))
        run(enter_argv(init, [sys.executable, "-m", "lab.filesystem", *paths]))
    _fill(disk, free_mb * MIB)
    hypervisor.virsh(init, "pool-refresh local")


def clear(init: ProcessId, folders: LabFolders, host: str) -> None:
    """Give a host's local pool its space back.

    It becomes what it was before as soon as it is cleared while it holds no images.
    """
    disk = inside(init, LOCAL_DISK_PATH)
    if not disk.is_mount():
        return
    (disk / _FILLER).unlink(missing_ok=True)
    if not any((disk / filesystem.CONTENT).iterdir()):
        with suppress(LabError):  # somebody still has a file open that is removed: not yet
            run(enter_argv(init, ["umount", str(LOCAL_PATH)]))
            run(enter_argv(init, ["umount", str(LOCAL_DISK_PATH)]))
            folders.local_disk(host).unlink()
    hypervisor.virsh(init, "pool-refresh local")


def is_limited(folders: LabFolders, host: str) -> bool:
    """Whether a host's local pool lies on a disk of its own, or will once the host is on."""
    return folders.local_disk(host).exists()


def disks(folders: LabFolders, host: str) -> list[tuple[Path, Path, Path]]:
    """Image, mount point and folder of the disk that a host has to mount when it starts, if any.

    Raises:
        LabError: the kernel does not let go of what the host had mounted before.
    """
    image = folders.local_disk(host)
    if not image.exists():
        return []
    # mounts of a namespace that has ended are taken down a moment later
    deadline = time.monotonic() + _RELEASE_TIMEOUT_S
    while filesystem.is_attached(image):
        if time.monotonic() > deadline:
            raise LabError(f"{image} is still in use {_RELEASE_TIMEOUT_S:.0f} s after {host} ended")
        time.sleep(0.01)
    return [(image, LOCAL_DISK_PATH, LOCAL_PATH)]


def _fill(disk: Path, free_bytes: int) -> None:
    """Let the filler take all but ``free_bytes``, also while others write."""
    with (disk / _FILLER).open("ab") as filler:
        for _ in range(_ROUNDS):
            space = os.statvfs(disk)
            excess = space.f_bavail * space.f_frsize - free_bytes
            size = os.fstat(filler.fileno()).st_size
            if 0 <= excess < filesystem.BLOCK_BYTES:
                return
            try:
                if excess > 0:
                    os.posix_fallocate(filler.fileno(), size, excess)
                else:
                    os.ftruncate(filler.fileno(), max(0, size + excess))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
