"""The guests of this host as processes: found in ``/proc``, and ended without asking libvirtd."""

import contextlib
import os
import re
import signal
import stat as stat_module
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIBVIRT = {"libvirtd", "virtqemud"}
_IN_MEMORY = {"tmpfs", "devtmpfs", "ramfs", "hugetlbfs"}
_START_TICKS = 19
"""Place of ``starttime`` among the fields of ``/proc/<pid>/stat`` that follow the name."""


class Process(NamedTuple):
    """One process, and never another that is given its pid later."""

    pid: int
    start_ticks: int
    server_id: str = ""
    """A guest's, by ``-uuid``; empty for a QEMU on its way out, which does not tell any more, and
    for libvirt's daemon."""


def find_guests() -> tuple[Process, ...]:
    """Every guest of this host now."""
    return tuple(_found(_guest))


def find_libvirt() -> tuple[Process, ...]:
    """Libvirt's daemon, with children of it that are not yet what they are to be."""
    return tuple(_found(_libvirt))


def _found(recognise: Callable[[Path], str | None]) -> Iterator[Process]:
    """Processes with the id that ``recognise`` makes of their folder, but for None."""
    for entry in os.scandir(PROC):
        if not entry.name.isdecimal():
            continue
        folder = PROC / entry.name
        try:
            server_id = recognise(folder)
            if server_id is not None:
                yield Process(int(entry.name), _start_ticks(folder), server_id)
        except OSError:
            continue  # it ended meanwhile


def _guest(folder: Path) -> str | None:
    arguments = (folder / "cmdline").read_bytes().split(b"\0")
    server_id = _server_id(arguments)
    leaving = arguments == [b""] and _is_leaving_qemu(folder)
    return server_id if server_id or leaving else None


def _libvirt(folder: Path) -> str | None:
    program = (folder / "exe").readlink().name.removesuffix(" (deleted)")
    return "" if program in _LIBVIRT else None


def _server_id(arguments: list[bytes]) -> str:
    if b"-uuid" not in arguments[:-1]:
        return ""
    wanted = arguments[arguments.index(b"-uuid") + 1].decode(errors="replace").lower()
    return wanted if _UUID.fullmatch(wanted) else ""


def _is_leaving_qemu(folder: Path) -> bool:
    """A QEMU whose memory is gone, while threads of it may still write to a disk."""
    stat = _stat(folder)
    return stat.name.startswith("qemu") and not _is_over(folder, stat)


class _Stat(NamedTuple):
    name: str
    fields: list[str]
    """From the state on."""


def _stat(folder: Path) -> _Stat:
    before, _, after = (folder / "stat").read_text(errors="replace").rpartition(")")
    return _Stat(before.partition("(")[2], after.split())


def _start_ticks(folder: Path) -> int:
    return int(_stat(folder).fields[_START_TICKS])


def _is_over(folder: Path, stat: _Stat) -> bool:
    """Whether nothing of a process runs: all that is left of it waits for its parent."""
    return stat.fields[0] in {"Z", "X"} and len(list((folder / "task").iterdir())) <= 1


def is_gone(process: Process) -> bool:
    """Whether no thread of it is left that could write."""
    folder = PROC / str(process.pid)
    try:
        stat = _stat(folder)
        return int(stat.fields[_START_TICKS]) != process.start_ticks or _is_over(folder, stat)
    except OSError:
        return True


def cached_disk(guest: Process) -> str:
    """A file that the guest writes through this host's page cache; empty if there is none.

    What is in that cache is written after the guest's death, over what another host may have
    written by then. Any file counts that outlives the host and is open for reading and writing, by
    whatever path and since whenever: a disk, an overlay, UEFI variables.
    """
    folder = PROC / str(guest.pid)
    with contextlib.suppress(OSError):  # it ended meanwhile
        volatile = _volatile_devices(folder)
        for descriptor in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if _is_cached(folder, descriptor, volatile):
                    return str(descriptor.readlink())
    return ""


def _volatile_devices(folder: Path) -> set[str]:
    """Device numbers of file systems in memory, as ``major:minor``."""
    mounts = (line.split() for line in (folder / "mountinfo").read_text().splitlines())
    return {fields[2] for fields in mounts if fields[fields.index("-") + 1] in _IN_MEMORY}


def _is_cached(folder: Path, descriptor: Path, volatile: set[str]) -> bool:
    stat = descriptor.stat()
    on_disk = stat_module.S_ISREG(stat.st_mode) and not str(descriptor.readlink()).startswith(
        "/memfd:"
    )
    device = f"{os.major(stat.st_dev)}:{os.minor(stat.st_dev)}"
    if not (stat_module.S_ISBLK(stat.st_mode) or (on_disk and device not in volatile)):
        return False
    told = (folder / "fdinfo" / descriptor.name).read_text(encoding="ascii")
    flags = next(int(line.split()[1], 8) for line in told.splitlines() if line.startswith("flags:"))
    writes = flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND
    return writes and not flags & os.O_DIRECT


def kill(process: Process) -> None:
    """Send SIGKILL, to this process and to no other that has been given its pid."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if _start_ticks(PROC / str(process.pid)) == process.start_ticks:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(descriptor)
