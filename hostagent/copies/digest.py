"""Where a file holds data, and digests of what it holds.

A digest is SHA-256 over one line for each 4 MiB: the SHA-256 of that block in hexadecimal, or an
empty line if it is all zeros, whether written or a hole.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping

BLOCK_BYTES = 4 << 20
_ZEROS = bytes(BLOCK_BYTES)

Extent = tuple[int, int]
"""Offset and length in bytes."""


class Stopped(Exception):
    """Nobody wants the digest any more."""


def extents(handle: int, file_bytes: int) -> Iterator[Extent]:
    """The parts of an open file that hold data (``SEEK_DATA``), in their order."""
    offset = 0
    while offset < file_bytes:
        try:
            begin = os.lseek(handle, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole up to the end
            raise
        end = min(os.lseek(handle, begin, os.SEEK_HOLE), file_bytes)
        if begin >= file_bytes:
            return
        yield begin, end - begin
        offset = end


def block_lines(handle: int, first: int, count: int, file_bytes: int) -> dict[int, str]:
    """The lines of up to ``count`` blocks from block number ``first`` on, read from the disk.

    The kernel's cache of them is dropped before and after, so that what counts was written, and a
    large file does not push everything else out.
    """
    begin = first * BLOCK_BYTES
    span = min(count * BLOCK_BYTES, file_bytes - begin)
    os.posix_fadvise(handle, begin, span, os.POSIX_FADV_DONTNEED)
    holding: set[int] = set()
    for offset, length in _extents_within(handle, begin, begin + span):
        holding.update(range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1))
    lines = {}
    for number in range(first, first + -(-span // BLOCK_BYTES)):
        lines[number] = _line(handle, number, file_bytes) if number in holding else ""
    os.posix_fadvise(handle, begin, span, os.POSIX_FADV_DONTNEED)
    return lines


def _extents_within(handle: int, begin: int, end: int) -> Iterator[Extent]:
    offset = begin
    while offset < end:
        try:
            data = os.lseek(handle, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if data >= end:
            return
        offset = min(os.lseek(handle, data, os.SEEK_HOLE), end)
        yield data, offset - data


def _line(handle: int, number: int, file_bytes: int) -> str:
    offset = number * BLOCK_BYTES
    wanted = min(BLOCK_BYTES, file_bytes - offset)
    block = os.pread(handle, wanted, offset)
    while len(block) < wanted:
        more = os.pread(handle, wanted - len(block), offset + len(block))
        if not more:
            raise OSError(errno.EIO, f"the file ends at {offset + len(block)} and not {file_bytes}")
        block += more
    zeros = _ZEROS if wanted == BLOCK_BYTES else bytes(wanted)
    return "" if block == zeros else hashlib.sha256(block).hexdigest()


def file_digest(
    path: str,
    *,
    stopped: Callable[[], bool] = lambda: False,
    known: Mapping[int, str] | None = None,
) -> str:
    """The digest of a file. Blocks, and keeps at most two blocks in memory.

    Args:
        path: the file.
        stopped: asked before each block.
        known: lines of blocks that were computed before.

    Raises:
        OSError: it cannot be read.
        Stopped: ``stopped`` said so.
    """
    total = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        file_bytes = os.fstat(handle).st_size
        for number in range(-(-file_bytes // BLOCK_BYTES)):
            if stopped():
                raise Stopped
            line = known.get(number) if known else None
            if line is None:
                line = block_lines(handle, number, 1, file_bytes)[number]
            total.update(f"{line}\n".encode())
    finally:
        os.close(handle)
    return total.hexdigest()
