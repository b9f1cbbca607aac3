"""The file here while it is copied: made, brought to the disk, and finished. All of it blocks."""

import os
from collections.abc import Callable
from pathlib import Path

from hostagent.copies.digest import BLOCK_BYTES, block_lines, file_digest
from hostagent.copies.plan import CELL_BYTES, Cell, sectors


def make_partial(path: str, file_bytes: int, *, anew: bool) -> None:
    """Have a file of whole sectors there, private to QEMU and us.

    Args:
        path: where.
        file_bytes: of the file that it becomes.
        anew: whether what is there does not count.

    Raises:
        OSError: of the disk here.
    """
    where = Path(path)
    where.parent.mkdir(parents=True, exist_ok=True)
    if anew:
        where.unlink(missing_ok=True)
    where.touch(mode=0o600)
    os.truncate(path, sectors(file_bytes))


def flush_and_read(path: str, cell: Cell) -> dict[int, str]:
    """Bring a cell to the disk and read it back: block number to the digest's line.

    Raises:
        OSError: of the disk here.
    """
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(handle)
        size = os.fstat(handle).st_size
        count = CELL_BYTES // BLOCK_BYTES
        return block_lines(handle, cell.offset // BLOCK_BYTES, count, size)
    finally:
        os.close(handle)


def finish(path: str, file_bytes: int, lines: dict[int, str], stopped: Callable[[], bool]) -> str:
    """Give a file its true length, and compute its digest.

    Args:
        path: where it is.
        file_bytes: its true length.
        lines: of the digest, as far as they are known, by block number.
        stopped: asked again and again.

    Raises:
        OSError: of the disk here.
        Stopped: ``stopped`` said so.
    """
    rounded = sectors(file_bytes)
    if rounded != file_bytes:
        lines = {number: line for number, line in lines.items() if number < rounded // BLOCK_BYTES}
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, file_bytes)
        os.fsync(handle)
    finally:
        os.close(handle)
    return file_digest(path, known=lines, stopped=stopped)
