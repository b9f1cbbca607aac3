"""A file system in a sparse file: made by the machine, mounted over a loop device by a host.

Run as ``python -m lab.filesystem IMAGE DISK FOLDER`` inside a host, it mounts one there.
"""

import os
import sys
from pathlib import Path

from lab.processes import run

BLOCK_BYTES = 4096
CONTENT = "content"
"""Folder in the file system that is bound to where it is used; beside it lies ``lost+found``."""
_RESERVED_BLOCKS = 64


def make(image: Path, size_bytes: int) -> None:
    """Make an empty ext4 in a new file, whole or not at all; the file takes a few MB.

    Raises:
        LabError: mkfs.ext4 refuses, with its words.
    """
    image.unlink(missing_ok=True)
    fresh = image.with_suffix(".new")
    with fresh.open("wb") as file:
        file.truncate(size_bytes)
    options = ["-q", "-m", "0", "-b", str(BLOCK_BYTES), "-O", "^has_journal"]
    options += ["-T", "largefile4", "-E", "nodiscard,lazy_itable_init=1"]
    run(["mkfs.ext4", *options, str(fresh)])
    fresh.rename(image)


def mount(image: Path, disk: Path, folder: Path) -> None:
    """Mount it on ``disk``, and bind what it holds over ``folder``.

    Raises:
        LabError: there is no loop device, or no file system in the file.
    """
    disk.mkdir(exist_ok=True)
    # inodes that nobody needs are not written to the file
    run(["mount", "-o", "loop,noinit_itable", str(image), str(disk)])
    _free_reserve(disk)
    (disk / CONTENT).mkdir(exist_ok=True)
    run(["mount", "--bind", str(disk / CONTENT), str(folder)])


def _free_reserve(mounted: Path) -> None:
    """Let nearly all that a mounted ext4 counts as free be free for files.

    ext4 keeps 16 MB for its own structures, which it counts as free and libvirt shows as free.
    """
    device = mounted.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    reserve = Path(f"/sys/fs/ext4/{name}/reserved_clusters")
    reserve.write_text(f"{_RESERVED_BLOCKS}\n", encoding="ascii")


def is_attached(image: Path) -> bool:
    """Whether a loop device of this machine still holds a file.

    Asked by inode: the kernel tells a path within the file system that holds the file.

    Raises:
        LabError: losetup cannot tell.
    """
    return bool(run(["losetup", "--associated", str(image)]).strip())


if __name__ == "__main__":
    mount(*map(Path, sys.argv[1:]))
