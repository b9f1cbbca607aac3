"""Connections to libvirtd: one that hears events, and others that serve one call at a time.

libvirt 9's client does not bear two threads on one connection: a wake-up can be lost, so that an
answer stays unread until the next event comes, and closing it meanwhile can crash the process.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import libvirt

from hostagent.calls import CALL_TIMEOUT_S, Calls, LibvirtRefused, LibvirtSilent, in_thread
from hostagent.events import Connected, Disconnected, LibvirtEvent, subscribe

_log = logging.getLogger(__name__)

_KEEPALIVE_S = 3
_KEEPALIVE_MISSES = 3
"""A frozen libvirtd counts as lost after 12 s; calls that hang in it then fail."""
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 5.0
_OPEN_TIMEOUT_S = 10.0

ResultT = TypeVar("ResultT")


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread; once per process, before any connection is opened."""
    libvirt.registerErrorHandler(lambda *_: None, None)  # it prints what is raised anyway
    libvirt.virEventRegisterDefaultImpl()

    def run() -> NoReturn:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt events", daemon=True).start()


def _open(uri: str) -> libvirt.virConnect:
    handle = libvirt.open(uri)
    handle.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_MISSES)
    return handle


class Connection:
    """One libvirtd. Events are handed to ``on_event`` in the asyncio loop, in libvirt's order."""

    def __init__(self, uri: str, on_event: Callable[[LibvirtEvent], None]) -> None:
        self._uri = uri
        self._on_event = on_event
        self._calls = Calls()
        self._hearing: _Hearing | None = None
        self._idle: list[libvirt.virConnect] = []
        self._reason = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether libvirtd answered last; a loss is noticed within seconds."""
        return self._hearing is not None

    def require(self) -> None:
        """Refuse at once while libvirtd is away.

        Raises:
            LibvirtSilent: libvirtd is not connected.
        """
        if self._hearing is None:
            host = socket.gethostname()
            raise LibvirtSilent(
                f"libvirtd on {host} does not answer at {self._uri} ({self._reason})"
            )

    async def call(
        self,
        what: str,
        function: Callable[[libvirt.virConnect], ResultT],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> ResultT:
        """Call libvirt in a thread, with a time-out.

        Raises:
            LibvirtRefused: libvirt's own error.
            LibvirtSilent: not connected, or no answer in time.
        """
        self.require()

        def ask() -> ResultT:
            with self.lend() as handle:
                return function(handle)

        return await self._calls.run(what, ask, timeout_s=timeout_s)

    @contextmanager
    def lend(self) -> Iterator[libvirt.virConnect]:
        """A connection for the thread that asks, and for no other until it is given back.

        Raises:
            LibvirtSilent: there is none to be had, or it broke while it was lent.
        """
        try:
            handle = self._take()
        except libvirt.libvirtError as error:
            raise _silent(error) from None
        try:
            yield handle
        except libvirt.libvirtError as error:
            if handle.isAlive():
                raise
            raise _silent(error) from None
        finally:
            if handle.isAlive():
                self._idle.append(handle)

    def _take(self) -> libvirt.virConnect:
        while self._idle:
            handle = None
            with suppress(IndexError):  # another thread took the last one
                handle = self._idle.pop()
            if handle is not None and handle.isAlive():
                return handle
        return _open(self._uri)

    async def run(self) -> NoReturn:
        """Keep hearing events for ever."""
        wait_s = _FIRST_WAIT_S
        while True:
            lost = asyncio.Event()
            try:
                self._hearing = await self._connect(lost)
            except (LibvirtRefused, LibvirtSilent) as error:
                self._say(error.message)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            wait_s = _FIRST_WAIT_S
            if not lost.is_set():
                self._reason = ""
            _log.info("%s: connected", self._uri)
            self._on_event(Connected())
            await lost.wait()
            in_thread(self._hearing.close, name="close libvirt")
            self._hearing = None
            self._on_event(Disconnected(self._reason))

    async def _connect(self, lost: asyncio.Event) -> "_Hearing":
        loop = asyncio.get_running_loop()
        opening = in_thread(lambda: self._hear(loop, lost), name="open libvirt")
        while True:
            # a frozen libvirtd lets nobody give up: the same attempt is waited for, not a second
            done, _ = await asyncio.wait({opening}, timeout=_OPEN_TIMEOUT_S)
            if done:
                return opening.result()
            self._say(f"no answer within {_OPEN_TIMEOUT_S:g} s")

    def _hear(self, loop: asyncio.AbstractEventLoop, lost: asyncio.Event) -> "_Hearing":
        handle = _open(self._uri)

        def on_close(_: Any, reason: int, __: Any) -> None:
            _in_loop(loop, self._on_close, lost, reason)

        handle.registerCloseCallback(on_close, None)
        undo = subscribe(handle, lambda event: _in_loop(loop, self._on_event, event))
        return _Hearing(handle, [*undo, handle.unregisterCloseCallback])

    def _on_close(self, lost: asyncio.Event, reason: int) -> None:
        self._say(_CLOSE_REASONS.get(reason, "connection closed"))
        lost.set()

    def _say(self, reason: str) -> None:
        if reason != self._reason:
            _log.warning("%s: %s", self._uri, reason)
        self._reason = reason


class _Hearing:
    """The connection that hears events, with what takes its registrations back."""

    def __init__(
        self, handle: libvirt.virConnect, registrations: list[Callable[[], object]]
    ) -> None:
        self._handle = handle
        self._registrations = registrations

    def close(self) -> None:
        """Free it after it was lost; each registration would keep its socket open. Blocks."""
        for take_back in self._registrations:
            with suppress(libvirt.libvirtError):  # libvirtd cannot be told any more
                take_back()
        self._handle.close()


def _silent(error: libvirt.libvirtError) -> LibvirtSilent:
    """Libvirt's words about a broken connection name neither the host nor libvirtd."""
    return LibvirtSilent(f"libvirtd on {socket.gethostname()} does not answer: {error}")


def _in_loop(
    loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any
) -> None:
    with suppress(RuntimeError):  # the loop is closed: the agent ends
        loop.call_soon_threadsafe(function, *arguments)


_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "connection lost: input/output error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "connection lost: libvirtd ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "connection lost: no answer to keepalives",
}
