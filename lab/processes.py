"""Processes of this machine, named so that a recycled pid is never mistaken for one of ours."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from lab.errors import LabError


class ProcessId(msgspec.Struct, frozen=True, kw_only=True):
    """A pid together with the time at which that process began."""

    pid: int
    started_ticks: int
    """Field 22 of ``/proc/<pid>/stat``: clock ticks since the machine's boot."""


def boot_id() -> str:
    """This boot of the machine; pids recorded under another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat_fields(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the third (state) on; empty when there is no such pid."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessId:
    """Name a process that this program has just started and not yet waited for."""
    return ProcessId(pid=pid, started_ticks=int(_stat_fields(pid)[19]))


def is_alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    fields = _stat_fields(process.pid)
    return bool(fields) and fields[0] != "Z" and int(fields[19]) == process.started_ticks


def child_of(process: ProcessId) -> ProcessId | None:
    """The only child of a process, if it has one by now."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        children = path.read_text(encoding="ascii").split()
        return identify(int(children[0])) if children and is_alive(process) else None
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def kill(process: ProcessId, *, timeout_s: float = 30.0) -> None:
    """End this process at once (SIGKILL), reap it if it is our child, and wait until it is gone."""
    if is_alive(process):
        with suppress(ProcessLookupError):  # it may have ended since, and been reaped
            os.kill(process.pid, signal.SIGKILL)
    wait_gone(process, timeout_s=timeout_s)


def wait_gone(process: ProcessId, *, timeout_s: float = 30.0) -> None:
    """Wait until a process has vanished.

    Raises:
        LabError: it still runs after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while is_alive(process):
        if time.monotonic() > deadline:
            raise LabError(f"process {process.pid} still runs {timeout_s:.0f} s after SIGKILL")
        time.sleep(0.005)
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return  # another process started it, and reaps it


def spawn(
    argv: list[str], *, stdin: int | None, output: Path, environment: Mapping[str, str]
) -> int:
    """Start a program in a session of its own, append its output to a file, return its pid."""
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    if stdin is None:
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
    else:
        actions.append((os.POSIX_SPAWN_DUP2, stdin, 0))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions.append((os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600))
    actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True)


def run(argv: Sequence[str], *, stdin: str = "", timeout_s: float = 30.0) -> str:
    """Run a program to its end and return what it wrote to its standard output.

    Raises:
        LabError: it is not there, took longer than ``timeout_s``, or ended with another status
            than 0; the sentence carries the program's own words.
    """
    # ip, tc and nsenter lie where root's own shell may not look
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed: run lab/install-packages") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no end after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        raise LabError(f"{' '.join(argv)}: {words}")
    return done.stdout
