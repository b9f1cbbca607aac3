"""A ``qemu-storage-daemon`` of our own: started, driven by QMP, found again and ended.

Its QMP monitor is one end of a socket pair: nothing is on its command line, and nobody but who
started it can command it.
"""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
from qemu.qmp import ExecuteError, QMPClient, QMPError

from wire.errors import ErrorCode, GodwitError

_log = logging.getLogger(__name__)

_PROGRAM = "qemu-storage-daemon"
_START_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 5.0

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # it logs the end that we ask for


class QemuRefused(GodwitError):
    """QEMU's own text about what it was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.CONFLICT, message)


class DaemonProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that cannot be taken for another one that got its number later."""

    pid: int
    started_ticks: int

    @property
    def alive(self) -> bool:
        """Whether it runs (and is no zombie)."""
        state, started_ticks = _state(self.pid)
        return started_ticks == self.started_ticks and state not in "ZX"

    def end(self) -> None:
        """Kill it and wait until it is gone. Blocks for a moment."""
        with contextlib.suppress(ProcessLookupError):
            watched = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(watched, signal.SIGKILL)
                    select.select([watched], [], [], _END_TIMEOUT_S)
            finally:
                os.close(watched)
        if _state(self.pid) == ("Z", self.started_ticks):
            with contextlib.suppress(ChildProcessError):  # one of an earlier agent: init reaps it
                os.waitpid(self.pid, 0)


def _state(pid: int) -> tuple[str, int]:
    """State letter of a process, and when it began in clock ticks since boot; 0 if none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "X", 0
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


class Daemon:
    """One daemon that this process started and commands."""

    def __init__(self, process: DaemonProcess, monitor: QMPClient, errors: IO[bytes]) -> None:
        self.process = process
        self._monitor = monitor
        self._errors = errors

    async def execute(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Run a QMP command.

        Raises:
            QemuRefused: QEMU's own text, or that it is gone.
        """
        try:
            async with asyncio.timeout(_COMMAND_TIMEOUT_S):
                return await self._monitor.execute(command, dict(arguments))
        except ExecuteError as error:
            raise QemuRefused(str(error)) from None
        except TimeoutError:
            raise QemuRefused(
                f"{_PROGRAM} did not {command} within {_COMMAND_TIMEOUT_S:g} s"
            ) from None
        except (QMPError, OSError, EOFError) as error:
            raise QemuRefused(f"{_PROGRAM} is gone: {self._last_words() or error}") from None

    async def let_go(self) -> None:
        """Leave it running by itself; it cannot be commanded any more."""
        try:
            await self._monitor.disconnect()
        except (QMPError, OSError, EOFError) as error:
            _log.debug("monitor closed: %r", error)
        self._errors.close()

    async def end(self) -> None:
        """Kill it."""
        await asyncio.to_thread(self.process.end)
        await self.let_go()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:]


async def start_daemon() -> Daemon:
    """Start a daemon that holds nothing yet.

    Raises:
        QemuRefused: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the daemon is commanded
    try:
        process = await asyncio.to_thread(_spawn, theirs, errors)
    except OSError as error:
        ours.close()
        errors.close()
        raise QemuRefused(f"{_PROGRAM} cannot be started: {error.strerror}") from None
    finally:
        theirs.close()
    ours.setblocking(False)  # noqa: FBT003 - socket's own signature
    monitor = QMPClient(_PROGRAM)
    daemon = Daemon(process, monitor, errors)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await monitor.connect(ours)
    except (TimeoutError, QMPError, OSError, EOFError) as error:
        words = daemon._last_words()  # noqa: SLF001 - of this module
        await daemon.end()
        raise QemuRefused(f"{_PROGRAM} does not start: {words or error!r}") from None
    return daemon


def _spawn(monitor: socket.socket, errors: IO[bytes]) -> DaemonProcess:
    child = subprocess.Popen(
        [_PROGRAM, "--chardev", f"socket,id=qmp,fd={monitor.fileno()}", "--monitor", "chardev=qmp"],
        pass_fds=[monitor.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    child.returncode = 0  # it may outlive us: Python shall neither wait for it nor warn
    return DaemonProcess(pid=child.pid, started_ticks=_state(child.pid)[1])
