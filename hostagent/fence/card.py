"""A watchdog card: Linux' watchdog device (``Documentation/watchdog/watchdog-api.rst``)."""

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path

_INT = struct.Struct("i")
_READ, _WRITE = 2, 1
_MAGIC_CLOSE = b"V"
_PET = b"\0"
_DEVICES = Path("/sys/class/watchdog")
_FIRST = "10:130"
"""Numbers of ``/dev/watchdog``."""


def _ioctl_number(direction: int, number: int) -> int:
    """``_IOC`` of a 'W' (watchdog) call with an int, as every architecture of QEMU hosts has it."""
    return direction << 30 | _INT.size << 16 | ord("W") << 8 | number


_SET_TIMEOUT = _ioctl_number(_READ | _WRITE, 6)
_GET_TIMEOUT = _ioctl_number(_READ, 7)


class CardError(Exception):
    """The card cannot be used; the message is a clause."""


class Card:
    """An open card: it counts, and resets the host unless it is petted in time."""

    def __init__(self, path: Path, *, timeout_s: int, configured: bool) -> None:
        """Open the device, which starts its count, and set its time-out.

        Args:
            path: ``/dev/watchdog``.
            timeout_s: the wish.
            configured: the wish is the operator's: then it holds for a device that knows no
                time-outs.

        Raises:
            CardError: it cannot be opened, cannot be stopped again, or nobody can say when it
                fires.
        """
        self._path = path
        if _nowayout(path):
            raise CardError(
                f"{path} cannot be stopped once it counts: load its module with nowayout=0"
            )
        try:
            # without a wait: a device is never waited for, and a pipe that nobody reads is refused
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise CardError(_why(path, error)) from None
        try:
            self.timeout_s = self._set_timeout(timeout_s, configured=configured)
        except CardError:
            self.stop()
            raise

    def _set_timeout(self, timeout_s: int, *, configured: bool) -> int:
        with contextlib.suppress(OSError):  # out of its range, or fixed: it is asked what holds
            fcntl.ioctl(self._descriptor, _SET_TIMEOUT, _INT.pack(timeout_s))
        try:
            answer = fcntl.ioctl(self._descriptor, _GET_TIMEOUT, _INT.pack(0))
        except OSError:
            if configured:
                return timeout_s
            raise CardError(
                f"{self._path} does not tell its time-out: give watchdog_timeout_s"
            ) from None
        return int(_INT.unpack(answer)[0])

    def pet(self) -> None:
        """Let it count anew.

        Raises:
            CardError: it did not take the write.
        """
        try:
            os.write(self._descriptor, _PET)
        except OSError as error:
            raise CardError(_why(self._path, error)) from None

    def stop(self) -> None:
        """Stop its count and close it (``magic close``)."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, _MAGIC_CLOSE)
        self.leave()

    def leave(self) -> None:
        """Close it while it counts: the host is reset unless it is opened again in time."""
        os.close(self._descriptor)


def _nowayout(path: Path) -> bool:
    """Whether the driver keeps on counting for ever; False if it does not say.

    ``/dev/watchdog`` is another name of the first device (``Documentation/ABI/testing/
    sysfs-class-watchdog``).
    """
    try:
        found = path.stat()
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        for device in _DEVICES.iterdir():
            first = number == _FIRST and device.name == "watchdog0"
            if first or (device / "dev").read_text(encoding="ascii").strip() == number:
                return (device / "nowayout").read_text(encoding="ascii").strip() == "1"
    except OSError:
        pass
    return False


def _why(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return f"no {path}"
        case errno.EBUSY:
            return f"another program holds {path}"
        case _:
            return f"{path}: {error.strerror}"
