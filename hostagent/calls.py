"""Blocking libvirt calls from async code: each in its own thread, each with a time-out."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

from wire.errors import ErrorCode, GodwitError

ResultT = TypeVar("ResultT")

CALL_TIMEOUT_S = 5.0
_MOST_CALLS = 16
"""Calls that may be under way at once, abandoned ones included."""


class LibvirtRefused(GodwitError):
    """libvirt answered with an error; ``number`` is its ``VIR_ERR_...``."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(ErrorCode.LIBVIRT, message)
        self.number = number


class LibvirtSilent(GodwitError):
    """libvirt is not connected or did not answer in time: nothing is known."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.LIBVIRT, message)


def refusal(error: libvirt.libvirtError) -> LibvirtRefused:
    """Wrap libvirt's error with its text in full."""
    return LibvirtRefused(str(error), error.get_error_code() or libvirt.VIR_ERR_INTERNAL_ERROR)


def in_thread(function: Callable[[], ResultT], *, name: str) -> asyncio.Future[ResultT]:
    """Run a blocking function in a daemon thread of its own.

    The thread cannot be ended: who gives up waiting leaves it behind, and it does not keep the
    process alive.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ResultT] = loop.create_future()

    def settle(result: ResultT | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
            future.exception()  # an abandoned call's error is nobody's concern
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only with an error

    def work() -> None:
        result: ResultT | None = None
        failure: Exception | None = None
        try:
            result = function()
        except libvirt.libvirtError as error:
            failure = refusal(error)
        except Exception as error:  # noqa: BLE001 - carried to who awaits
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


class Calls:
    """A bounded number of libvirt calls, so that a libvirtd that hangs cannot use up the host."""

    def __init__(self) -> None:
        self._under_way = 0

    async def run(
        self, what: str, function: Callable[[], ResultT], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> ResultT:
        """Call ``function`` and wait for it at most ``timeout_s``.

        Args:
            what: the purpose for error sentences: ``list the domains``.
            function: does the blocking call.
            timeout_s: after this the call is abandoned.

        Raises:
            LibvirtRefused: libvirt's own error.
            LibvirtSilent: no answer in time, or too many earlier calls still hang.
        """
        if self._under_way >= _MOST_CALLS:
            raise LibvirtSilent(
                f"libvirt was not asked to {what}: {self._under_way} earlier calls hang"
            )
        future = in_thread(function, name=what)
        self._under_way += 1
        future.add_done_callback(self._returned)
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if not done:
            raise LibvirtSilent(f"libvirt did not {what} within {timeout_s:g} s")
        return future.result()

    def _returned(self, _: "asyncio.Future[ResultT]") -> None:
        self._under_way -= 1
