"""The console in a real terminal: what it draws, and how many bytes that takes."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

SCRIPT = Path(__file__).parent / "recorded_console.py"
COLUMNS, ROWS = 120, 40


class Terminal:
    """A program in a pty, and a screen that shows what it wrote."""

    def __init__(self, command: list[str]) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.written = 0
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
        )
        os.close(slave)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read_for(self, seconds: float) -> int:
        """Read what is written in this time; gives its number of bytes."""
        before = self.written
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # the program has ended
                    break
                self.written += len(data)
                # pyte knows no private modes with an intermediate character.
                self._stream.feed(data.replace(b"\x1b[?2026$p", b"").replace(b"\x1b[?2048$p", b""))
        return self.written - before

    def wait_for(self, text: str) -> None:
        for _ in range(100):
            self.read_for(0.2)
            if any(text in row for row in self.screen.display):
                return
        raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.screen.display))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, str(SCRIPT)])
    yield terminal
    terminal.close()


def test_nothing_is_written_while_nothing_that_is_shown_changes(terminal: Terminal):
    terminal.wait_for("kvm-03")
    terminal.read_for(1.0)
    assert terminal.read_for(4.0) == 0


def test_the_migration_view_takes_few_bytes(terminal: Terminal):
    terminal.wait_for("kvm-03")
    terminal.type("3\r")
    terminal.wait_for("expected downtime")
    terminal.read_for(1.0)
    seconds = 8.0
    written = terminal.read_for(seconds)
    assert 0 < written / seconds <= 6000


def test_the_view_behind_a_question_goes_on_in_few_bytes(terminal: Terminal):
    terminal.wait_for("kvm-03")
    terminal.type("3\rX")
    terminal.wait_for("Abort the live migration")
    terminal.read_for(1.0)
    heading = terminal.screen.display[1]
    seconds = 8.0
    written = terminal.read_for(seconds)
    assert terminal.screen.display[1] != heading
    assert any("Abort the live migration" in row for row in terminal.screen.display)
    assert written / seconds <= 6000


def test_a_key_is_answered_by_the_cells_that_change(terminal: Terminal):
    terminal.wait_for("kvm-03")
    terminal.read_for(1.0)
    terminal.type("j")
    assert 0 < terminal.read_for(1.0) < 4000
    terminal.type("q")
    terminal.read_for(2.0)
    assert terminal.process.wait(timeout=10) == 0
