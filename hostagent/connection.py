"""The connection to libvirtd: opened again whenever it is lost, with its events."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import libvirt

from hostagent.calls import CALL_TIMEOUT_S, Calls, LibvirtRefused, LibvirtSilent, in_thread
from hostagent.events import (
    Connected,
    Disconnected,
    DomainChanged,
    JobCompleted,
    LibvirtEvent,
    PassBegan,
    PoolsChanged,
    lifecycle_change,
)
from hostagent.statistics import final_statistics

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


class Connection:
    """One libvirtd. Events are handed to ``on_event`` in the asyncio loop, in libvirt's order."""

    def __init__(self, uri: str, on_event: Callable[[LibvirtEvent], None]) -> None:
        self._uri = uri
        self._on_event = on_event
        self._calls = Calls()
        self._open: libvirt.virConnect | None = None
        self._closed = asyncio.Event()
        self._reason = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether libvirtd answered last; a loss is noticed within seconds."""
        return self._open is not None

    def handle(self) -> libvirt.virConnect:
        """The open connection, for blocking calls made in a thread.

        Raises:
            LibvirtSilent: libvirtd is not connected.
        """
        if self._open is None:
            raise LibvirtSilent(f"libvirtd does not answer at {self._uri} ({self._reason})")
        return self._open

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
        handle = self.handle()
        return await self._calls.run(what, lambda: function(handle), timeout_s=timeout_s)

    @contextmanager
    def another(self) -> Iterator[libvirt.virConnect]:
        """Open a connection for one long call, in the thread that makes it.

        On a connection in which one thread waits for minutes, libvirt 9's client can leave the
        answers to other threads unread until the next event comes: job statistics came up to 1.4 s
        late.
        """
        handle = libvirt.open(self._uri)
        try:
            handle.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_MISSES)
            yield handle
        finally:
            handle.close()

    async def run(self) -> NoReturn:
        """Keep the connection open for ever."""
        wait_s = _FIRST_WAIT_S
        while True:
            self._closed.clear()
            try:
                handle = await self._connect()
            except (LibvirtRefused, LibvirtSilent) as error:
                if error.message != self._reason:
                    _log.warning("%s: %s", self._uri, error.message)
                self._reason = error.message
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            wait_s = _FIRST_WAIT_S
            self._open = handle
            _log.info("%s: connected", self._uri)
            self._on_event(Connected())
            await self._closed.wait()
            self._open = None
            _log.warning("%s: connection lost: %s", self._uri, self._reason)
            self._on_event(Disconnected(self._reason))

    async def _connect(self) -> libvirt.virConnect:
        loop = asyncio.get_running_loop()
        opening = in_thread(lambda: self._open_in_thread(loop), name="open libvirt")
        while True:
            # a frozen libvirtd lets nobody give up: the same attempt is waited for, not a second
            done, _ = await asyncio.wait({opening}, timeout=_OPEN_TIMEOUT_S)
            if done:
                return opening.result()
            self._reason = f"no answer within {_OPEN_TIMEOUT_S:g} s"
            _log.warning("%s: %s", self._uri, self._reason)

    def _open_in_thread(self, loop: asyncio.AbstractEventLoop) -> libvirt.virConnect:
        handle = libvirt.open(self._uri)
        handle.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_MISSES)
        handle.registerCloseCallback(lambda *args: self._on_close(loop, args[1]), None)

        def emit(event: LibvirtEvent) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._on_event, event)

        _subscribe(handle, emit)
        return handle

    def _on_close(self, loop: asyncio.AbstractEventLoop, reason: int) -> None:
        def mark() -> None:
            self._reason = _CLOSE_REASONS.get(reason, "closed")
            self._closed.set()

        if not loop.is_closed():
            loop.call_soon_threadsafe(mark)


_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "input/output error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "no answer to keepalives",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by the agent",
}


def _subscribe(handle: libvirt.virConnect, emit: Callable[[LibvirtEvent], None]) -> None:
    """Register for the events that replace polling."""

    def on_lifecycle(_: Any, domain: Any, event: int, detail: int, __: Any) -> None:
        change = lifecycle_change(event, detail)
        emit(DomainChanged(server_id=domain.UUIDString(), change=change))

    def on_iteration(_: Any, domain: Any, iteration: int, __: Any) -> None:
        emit(PassBegan(server_id=domain.UUIDString(), iteration=iteration))

    def on_job_completed(_: Any, domain: Any, stats: dict[str, Any], __: Any) -> None:
        emit(JobCompleted(server_id=domain.UUIDString(), statistics=final_statistics(stats)))

    def on_pool(*_: Any) -> None:
        emit(PoolsChanged())

    for event_id, callback in (
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle),
        (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
        (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed),
    ):
        handle.domainEventRegisterAny(None, event_id, callback, None)
    for event_id in (
        libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
        libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH,
    ):
        handle.storagePoolEventRegisterAny(None, event_id, on_pool, None)
