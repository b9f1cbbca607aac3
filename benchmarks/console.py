"""The console in a real terminal (pty): how soon it shows a table, what it costs meanwhile.

    .venv/bin/python benchmarks/console.py [--runs 10] [--write]

On a lab of three hosts, at 120x40: time from the start of `godwit` to its first painted table,
against the smallest Textual app with a table, started in turn; time from `make demo` (everything
installed, no lab yet) to the first painted table; memory of console, backend and one agent; bytes
per second to the terminal, idle in the hosts view and while a migration is watched, against the
limits below. --write puts the table into results/.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
RESULT = Path(__file__).parent / "results" / "console.md"
LAB = "bench-console"
COLUMNS, LINES = 120, 40
IDLE_S = 20.0
IDLE_LIMIT_BYTES_PER_S = 200
MIGRATION_LIMIT_BYTES_PER_S = 6_000
PEER = """
from textual.app import App
from textual.widgets import DataTable
class Peer(App):
    def compose(self):
        yield DataTable()
    def on_mount(self):
        table = self.query_one(DataTable)
        table.add_columns("NAME", "HEALTH")
        table.add_rows([("kvm-01", "online"), ("kvm-02", "online"), ("kvm-03", "online")])
Peer().run()
"""


class Terminal:
    """A program in a pseudo-terminal that is read as a terminal would."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.bytes_read = 0
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvpe(command[0], command, env)  # noqa: S606  (the child of a fork)
        size = struct.pack("HHHH", LINES, COLUMNS, 0, 0)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self._screen.display)

    def read(self, seconds: float, until: Callable[[str], bool] = lambda _: False) -> float:
        """Read for so long, or until the screen shows something; the seconds it took."""
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            if not select.select([self._descriptor], [], [], left)[0]:
                break
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:
                break
            self.bytes_read += len(data)
            # pyte does not know the kitty keyboard protocol, nor need it
            self._stream.feed(re.sub(rb"\x1b\[[<>=?]\d*u", b"", data))
            if until(self.text):
                break
        return time.monotonic() - began

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._descriptor, keys.encode())

    def end(self) -> None:
        """End the program."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._descriptor)


def lab(*arguments: str) -> str:
    """Run godwit-lab on this benchmark's lab."""
    command = [str(BIN / "godwit-lab"), arguments[0], "--name", LAB, *arguments[1:]]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def environment() -> dict[str, str]:
    """Variables with which the console finds the lab, in a terminal of 256 colours."""
    exports = re.findall(r"^export (\w+)=(.*)$", lab("env"), re.MULTILINE)
    found = {name: value.strip("'\"") for name, value in exports}
    return os.environ | found | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}


def table_is_painted(text: str) -> bool:
    """Whether all three hosts stand on the screen, in a table."""
    return "HEALTH" in text and all(f"kvm-0{number}" in text for number in (1, 2, 3))


def seconds_to_table(command: list[str], env: dict[str, str], limit_s: float = 60.0) -> float:
    """From the start of a program to its first painted table."""
    terminal = Terminal(command, env)
    try:
        took = terminal.read(limit_s, table_is_painted)
        if not table_is_painted(terminal.text):
            sys.exit(f"{command[0]} painted no table within {limit_s} s:\n{terminal.text}")
        return took
    finally:
        terminal.end()


def refuse_a_demo_in_use() -> None:
    """End here rather than end a demo that somebody works with."""
    command = [str(BIN / "godwit-lab"), "status", "--name", "demo"]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        sys.exit("a lab demo is up, and this benchmark would end it: `make down` first")


def demo_seconds(env: dict[str, str]) -> float:
    """From `make demo` to the first painted table; nothing of the demo runs before."""
    took = seconds_to_table(["make", "demo"], env)
    subprocess.run(["make", "--silent", "down"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return took


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


def resident_of(node: str, module: str) -> float:
    """Resident memory of a program inside a node of the lab."""
    script = f"""
import pathlib, re
for status in pathlib.Path("/proc").glob("[0-9]*/status"):
    if "{module}" in (status.parent / "cmdline").read_text():
        print(re.findall(r"VmRSS:\\s+(\\d+)", status.read_text())[0])
"""
    found = lab("exec", node, "--", sys.executable, "-c", script).split()
    return max(int(one) for one in found) / 1024


def watch(env: dict[str, str]) -> dict[str, float]:
    """Bytes per second idle and in the migration view, and the console's memory."""
    terminal = Terminal([str(BIN / "godwit")], env)
    try:
        terminal.read(30, table_is_painted)
        terminal.read(3)
        terminal.bytes_read = 0
        terminal.read(IDLE_S)
        idle = terminal.bytes_read / IDLE_S
        terminal.press("2")
        terminal.read(10, lambda text: "hot-1" in text)
        terminal.press("/hot-1\r")
        terminal.read(1)
        terminal.press("M")
        terminal.read(10, lambda text: "fits" in text)
        terminal.press("\r")
        terminal.read(10, lambda text: "pauses at most" in text)
        terminal.press("y")
        terminal.read(20, lambda text: "copying" in text)
        terminal.read(1)
        terminal.bytes_read = 0
        watched_s = terminal.read(IDLE_S, lambda text: "succeeded" in text or "failed" in text)
        return {
            "idle": idle,
            "migration": terminal.bytes_read / watched_s,
            "console_mib": resident_mib(terminal.pid),
        }
    finally:
        terminal.end()


def row(what: str, value: str, against: str, ratio: float) -> str:
    """One row of the report."""
    return f"| {what} | {value} | {against} | {ratio:.2f} |"


def spread(values: list[float]) -> str:
    """Median and range, in seconds."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure, print, and exit with 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into results/")
    arguments = parser.parse_args()
    refuse_a_demo_in_use()
    plain = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    demos = [demo_seconds(plain) for _ in range(3)]
    try:
        lab("up", "--hosts", "3", "--servers", "3")
        for number in (1, 2):
            lab("link", f"kvm-0{number}", "--rate", "200mbit")
        lab(
            *("add-server", "hot-1", "--host", "kvm-01", "--memory-mb", "512"),
            *("--working-set-mb", "256", "--dirty-mb-per-s", "40"),
        )
        env = environment()
        starts, peers = [], []
        for _ in range(arguments.runs):
            starts.append(seconds_to_table([str(BIN / "godwit")], env))
            peers.append(seconds_to_table([sys.executable, "-c", PEER], env))
        time.sleep(10)
        watched = watch(env)
        backend_mib = resident_of("controller", "backend.main")
        agent_mib = resident_of("kvm-01", "hostagent.main")
    finally:
        lab("down")
    ratio = statistics.median(a / b for a, b in zip(starts, peers, strict=True))
    idle_ratio = watched["idle"] / IDLE_LIMIT_BYTES_PER_S
    migration_ratio = watched["migration"] / MIGRATION_LIMIT_BYTES_PER_S
    page = "\n".join(
        [
            "# The console in a terminal",
            "",
            f"`.venv/bin/python benchmarks/console.py --runs {arguments.runs} --write`",
            "",
            f"{COLUMNS}x{LINES}, three hosts, {os.cpu_count()} cores. Bytes have a limit",
            "(ratio at most 1); the start stands beside a peer that has nothing to fetch.",
            "",
            "| what | Godwit | against | ratio |",
            "|---|---|---|---|",
            row(
                "start to first painted table",
                spread(starts),
                f"smallest Textual app with a table: {spread(peers)}",
                ratio,
            ),
            row(
                "bytes per second, idle in the hosts view",
                f"{watched['idle']:.0f} B/s over {IDLE_S:.0f} s",
                f"limit {IDLE_LIMIT_BYTES_PER_S} B/s",
                idle_ratio,
            ),
            row(
                "bytes per second, watching a migration",
                f"{watched['migration']:.0f} B/s",
                f"limit {MIGRATION_LIMIT_BYTES_PER_S} B/s",
                migration_ratio,
            ),
            "",
            f"`make demo` to the first painted table, everything installed: {spread(demos)}.",
            "",
            f"Resident memory: console {watched['console_mib']:.0f} MiB,",
            f"backend {backend_mib:.0f} MiB, one agent {agent_mib:.0f} MiB.",
            "",
        ]
    )
    print(page)
    if arguments.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(page, encoding="utf-8")
    sys.exit(0 if max(idle_ratio, migration_ratio) <= 1 else 1)


if __name__ == "__main__":
    main()
