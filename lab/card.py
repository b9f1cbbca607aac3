"""A host's watchdog card: outside of the host, as hardware is, and told only through a pipe.

``python -m lab.card PIPE STATE PID STARTED TIMEOUT``, with PIPE open for reading as standard
input. The first byte that is written arms it, every further one pets it. A ``V`` that was written
last before the pipe is closed disarms it (magic close, as Linux' own watchdogs have it). Armed and
not petted for its time-out, it cuts the host's power.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from lab.processes import ProcessId, child_of, identify, is_alive, spawn

DISARM = b"V"
_PRIORITY = 50
"""Of SCHED_FIFO: a card does not wait for a busy machine."""


class CardCondition(StrEnum):
    """What a card does now."""

    DISARMED = "disarmed"
    ARMED = "armed"
    FIRED = "fired"


class CardState(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of ``card.json`` in a host's folder, of the host's latest start."""

    condition: CardCondition = CardCondition.DISARMED
    since_ms: int = 0
    """Unix time in ms; 0 if it was never armed."""
    reason: str = ""
    """Why it fired, in one clause."""


def start(
    host: ProcessId, folder: Path, timeout_s: int, *, environment: dict[str, str]
) -> ProcessId:
    """Start the card of a host whose ``unshare`` is ``host``; it ends with the host.

    ``folder`` gets the pipe that the host binds at ``/dev/watchdog``.
    """
    pipe, state = folder / "watchdog", folder / "card.json"
    pipe.unlink(missing_ok=True)
    state.unlink(missing_ok=True)
    os.mkfifo(pipe, mode=0o600)
    # opened here, so that whoever in the host is first finds the card listening
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        argv = ["env", "--chdir=/", sys.executable, "-m", "lab.card", str(pipe), str(state)]
        argv += [str(host.pid), str(host.started_ticks), str(timeout_s)]
        output = folder / "log" / "card.log"
        pid = spawn(argv, stdin=reader, output=output, environment=environment)
    finally:
        os.close(reader)
    return identify(pid)


def read_state(folder: Path) -> CardState:
    """What the card of a host does, or did last."""
    try:
        return msgspec.json.decode((folder / "card.json").read_bytes(), type=CardState)
    except FileNotFoundError:
        return CardState()


class Card:
    """The card of one host while that host is on."""

    def __init__(self, pipe: Path, state: Path, host: ProcessId, timeout_s: float) -> None:
        self._pipe = pipe
        self._state = state
        self._host = host
        self._timeout_s = timeout_s
        self._reader = 0
        self._petted_at_s = 0.0
        self._armed = False
        self._may_close = False

    def run(self) -> None:
        """Return when the host is off, by the card or otherwise."""
        try:
            host = os.pidfd_open(self._host.pid)
        except ProcessLookupError:
            return
        while is_alive(self._host):
            left_s = max(0.0, self._left_s()) if self._armed else None
            ready = select.select([self._reader, host], [], [], left_s)[0]
            if host in ready:
                return
            # a late card sees first what was written meanwhile, and so is never too early
            if self._reader in ready:
                self._read()
            elif self._armed and self._left_s() <= 0:
                self._fire()

    def _left_s(self) -> float:
        return self._petted_at_s + self._timeout_s - time.clock_gettime(time.CLOCK_BOOTTIME)

    def _read(self) -> None:
        said = os.read(self._reader, 65536)
        if said:
            self._petted_at_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            self._may_close = said.endswith(DISARM)
            if not self._armed:
                self._armed = True
                self._tell(CardCondition.ARMED)
            return
        # closed: the next writer needs another open end, which is there before this one goes
        closed, self._reader = self._reader, os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        os.close(closed)
        if self._armed and self._may_close:
            self._armed = False
            self._tell(CardCondition.DISARMED)

    def _fire(self) -> None:
        late_ms = -self._left_s() * 1000
        init = child_of(self._host)
        for process in (init, self._host):
            if process is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        self._armed = False
        reason = f"not petted for {self._timeout_s:g} s and {late_ms:.0f} ms"
        self._tell(CardCondition.FIRED, reason)

    def _tell(self, condition: CardCondition, reason: str = "") -> None:
        now_ms = time.time_ns() // 1_000_000
        seconds = time.strftime("%FT%T", time.gmtime(now_ms // 1000))
        print(f"{seconds}.{now_ms % 1000:03d}Z {condition} {reason}".rstrip(), flush=True)  # noqa: T201
        fresh = self._state.with_suffix(".new")
        fresh.write_bytes(
            msgspec.json.encode(CardState(condition=condition, since_ms=now_ms, reason=reason))
        )
        fresh.replace(self._state)


def main() -> None:
    """Be one host's card."""
    pipe, state, pid, started_ticks, timeout_s = sys.argv[1:]
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    host = ProcessId(pid=int(pid), started_ticks=int(started_ticks))
    Card(Path(pipe), Path(state), host, float(timeout_s)).run()


if __name__ == "__main__":
    main()
