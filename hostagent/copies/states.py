"""What tells a file that was changed while it was copied from one that was not."""

import os
from collections.abc import Iterator, Mapping

import msgspec


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """What tells a file that was changed from one that was not."""

    file_bytes: int
    modified_ns: int


def states_of(paths: tuple[str, ...]) -> dict[str, FileState]:
    """What files are now, by path.

    Raises:
        OSError: one cannot be asked.
    """
    found = {}
    for path in paths:
        status = os.stat(path)  # noqa: PTH116 - the path is libvirt's, as it is
        found[path] = FileState(file_bytes=status.st_size, modified_ns=status.st_mtime_ns)
    return found


def differences(opened: Mapping[str, FileState], now: Mapping[str, FileState]) -> Iterator[str]:
    """Say of each file that was changed what it is now, and what it was.

    Args:
        opened: path to what the file was.
        now: the same of what it is.
    """
    for path, state in opened.items():
        if now[path] != state:
            yield (
                f"{path} was changed while it was copied: {now[path].file_bytes} bytes of "
                f"{now[path].modified_ns} ns, and it was opened with {state.file_bytes} "
                f"bytes of {state.modified_ns} ns"
            )
