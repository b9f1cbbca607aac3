"""The guests of this host as processes: QEMU found in ``/proc``, ended without libvirtd."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_START_TICKS = 19
"""Place of ``starttime`` among the fields of ``/proc/<pid>/stat`` that follow the name."""


class GuestProcess(NamedTuple):
    """One QEMU that runs a guest."""

    pid: int
    start_ticks: int
    """With the pid it names one process and never another."""
    server_id: str
    """Of ``-uuid``; empty for a QEMU that is on its way out and does not tell any more."""


def find_guests(proc: Path = PROC) -> tuple[GuestProcess, ...]:
    """Every guest of this host now."""
    return tuple(_found(proc))


def _found(proc: Path) -> Iterator[GuestProcess]:
    for entry in os.scandir(proc):
        if not entry.name.isdecimal():
            continue
        folder = proc / entry.name
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            server_id = _server_id(arguments)
            leaving = arguments == [b""] and _is_leaving_qemu(folder)
            if server_id or leaving:
                yield GuestProcess(int(entry.name), _start_ticks(folder), server_id)
        except OSError:
            continue  # it ended meanwhile


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


def is_gone(guest: GuestProcess, proc: Path = PROC) -> bool:
    """Whether no thread of it is left that could write."""
    folder = proc / str(guest.pid)
    try:
        stat = _stat(folder)
        return int(stat.fields[_START_TICKS]) != guest.start_ticks or _is_over(folder, stat)
    except OSError:
        return True


def kill(guest: GuestProcess, proc: Path = PROC) -> None:
    """Send SIGKILL, to this process and to no other that has been given its pid."""
    try:
        descriptor = os.pidfd_open(guest.pid)
    except ProcessLookupError:
        return
    try:
        if _start_ticks(proc / str(guest.pid)) == guest.start_ticks:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(descriptor)
