"""PID 1 of a node: makes its world from a JSON file, then starts, restarts and reaps its programs.

Started in fresh namespaces by :mod:`lab.node`. It waits for a line on standard input before it does
anything, so that a node whose start was broken off before it was recorded ends by itself.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab import filesystem
from lab.processes import spawn

LONGEST_DELAY_S = 5.0
MACHINE_DEVICES = Path("/run/machine-dev")
LOOP_DEVICES = 256
PID_FOLDER = Path("/run/godwit-lab")
"""A file for each program that runs, with its pid in the node's own count."""
STEADY_DELAYS = 20
"""A program that lived so many times its first delay starts again after that delay."""
ORDERLY_S = 5.0
"""How long a program has to end when the node is shut down."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
}
"""Of PID 1 and of every program; nothing of the person who started the lab gets in."""


class Program:
    """One program under supervision."""

    def __init__(self, name: str, spec: dict[str, Any], log: Path) -> None:
        self.name = name
        self.argv: list[str] = spec["argv"]
        self.environment = {**os.environ, **spec["environment"]}
        self.first_delay_s: float = spec["restart_s"]
        self.log = log
        self.pid = 0
        self.started_at = 0.0
        self.start_at = 0.0
        self.delay_s = self.first_delay_s

    def start(self) -> None:
        """Start it, or plan the next attempt."""
        self.started_at = time.monotonic()
        try:
            self.pid = spawn(self.argv, stdin=None, output=self.log, environment=self.environment)
            (PID_FOLDER / self.name).write_text(str(self.pid), encoding="ascii")
        except OSError as error:
            self.ended(f"cannot be started: {error.strerror}")

    def ended(self, how: str) -> None:
        """Plan its next start: soon after a long life, later and later after short ones."""
        now = time.monotonic()
        self.pid = 0
        (PID_FOLDER / self.name).unlink(missing_ok=True)
        if now - self.started_at > STEADY_DELAYS * self.first_delay_s:
            self.delay_s = self.first_delay_s
        self.start_at = now + self.delay_s
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"godwit-lab: {self.name} {how}; again in {self.delay_s:g} s\n")
        self.delay_s = min(self.delay_s * 2, LONGEST_DELAY_S)


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended with status {code}" if code >= 0 else f"was ended by signal {-code}"


def _reap(programs: list[Program]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for program in programs:
            if program.pid == pid:
                program.ended(_describe(status))


def _supervise(programs: list[Program]) -> None:
    """Return when the node is to be shut down (SIGTERM): it lives as long as this process."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    asked = []
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    while not asked:
        _reap(programs)
        now = time.monotonic()
        for program in programs:
            if program.pid == 0 and program.start_at <= now:
                program.start()
        waiting = [program.start_at - now for program in programs if program.pid == 0]
        timeout_s = max(0.01, min(waiting)) if waiting else None
        if select.select([woken], [], [], timeout_s)[0]:
            os.read(woken, 4096)


def _end(programs: list[Program]) -> None:
    """End the programs one by one, the last one first; what does not end dies with the node."""
    for program in reversed(programs):
        if program.pid == 0:
            continue
        os.kill(program.pid, signal.SIGTERM)
        deadline = time.monotonic() + ORDERLY_S
        while program.pid != 0 and time.monotonic() < deadline:
            time.sleep(0.01)
            _reap(programs)


def _command(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _make_world(spec: dict[str, Any]) -> None:
    """Hostname, network and mounts; the mount namespace is private, the machine sees none of it."""
    socket.sethostname(spec["hostname"])
    _command("ip", "link", "set", "lo", "up")
    _command("ip", "address", "add", spec["address"], "dev", "eth0")
    _command("ip", "link", "set", "eth0", "up")
    # the sysfs of this network namespace, without the machine's control groups
    _command("umount", "--recursive", "--lazy", "/sys")
    _command("mount", "-t", "sysfs", "sysfs", "/sys")
    _command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in (Path("/run/lock"), PID_FOLDER):
        folder.mkdir()
    for source, target in spec["binds"]:
        _command("mount", "--bind", source, target)
    for image, disk, folder in spec["disks"]:
        filesystem.mount(Path(image), Path(disk), Path(folder))
    if spec["watchdog"]:
        _own_devices()
        Path("/dev/watchdog").touch()
        _command("mount", "--bind", spec["watchdog"], "/dev/watchdog")


def _own_devices() -> None:
    """A /dev with room for one more: the machine's, entry by entry, as links."""
    MACHINE_DEVICES.mkdir()
    _command("mount", "--rbind", "/dev", str(MACHINE_DEVICES))
    _command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/dev")
    # loop devices come into being when they are wanted
    names = {f"loop{number}" for number in range(LOOP_DEVICES)}
    for name in names | {each.name for each in MACHINE_DEVICES.iterdir()} - {"watchdog"}:
        there = MACHINE_DEVICES / name
        (Path("/dev") / name).symlink_to(there.readlink() if there.is_symlink() else there)


def main() -> None:
    """Run as PID 1: ``python -m lab.init SPEC``."""
    if not sys.stdin.readline():
        return
    os.chdir("/")
    spec = json.loads(Path(sys.argv[1]).read_bytes())
    logs = Path(spec["logs"])
    _make_world(spec)
    programs = [
        Program(name, program, logs / f"{name}.log") for name, program in spec["programs"].items()
    ]
    _supervise(programs)
    _end(programs)


if __name__ == "__main__":
    main()
