"""One stream of events for every console: a ring of the latest, and a queue for each listener."""

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

RING_SIZE = 2_000
"""Events kept for consoles that come back after a break."""
QUEUE_SIZE = 1_000
"""Events that one listener may lag behind before it is dropped and has to start anew."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it goes to every console."""

    event_id: str
    """``<backend start>-<number>``."""
    name: str
    """A key of :data:`wire.console.CONSOLE_EVENTS`."""
    data: bytes
    """JSON of the event's struct; empty for ``status``, which differs by the token that listens."""


class Listener:
    """One console's queue. Ends when the console lags too far behind or the backend stops."""

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self.dropped = False

    def put(self, event: Event) -> None:
        """Queue an event; a full queue drops the listener instead of growing."""
        if len(self._queue) >= QUEUE_SIZE:
            self.drop()
            return
        self._queue.append(event)
        self._wake.set()

    def drop(self) -> None:
        """End this listener; what it has not read is lost to it."""
        self.dropped = True
        self._queue.clear()
        self._wake.set()

    async def next(self, timeout_s: float) -> Event | None:
        """Wait for the next event; None after the time-out or once dropped."""
        if not self._queue and not self.dropped:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._queue.popleft() if self._queue else None


class Broadcaster:
    """Numbers events, keeps the latest, and hands each to every listener."""

    def __init__(self, start: str) -> None:
        self._start = start
        self._number = 0
        self._ring: deque[Event] = deque(maxlen=RING_SIZE)
        self._listeners: set[Listener] = set()

    @property
    def last_event_id(self) -> str:
        """Id of the latest event; a snapshot taken now carries it."""
        return f"{self._start}-{self._number}"

    def publish(self, name: str, payload: msgspec.Struct | None) -> None:
        """Send an event to all listeners; ``payload`` None leaves it to them to fill in."""
        self._number += 1
        data = b"" if payload is None else msgspec.json.encode(payload)
        event = Event(event_id=self.last_event_id, name=name, data=data)
        self._ring.append(event)
        for listener in tuple(self._listeners):
            listener.put(event)
            if listener.dropped:
                self._listeners.discard(listener)

    def listen(self) -> Listener:
        """Add a listener that gets every event from now on."""
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)

    def since(self, last_event_id: str) -> Iterator[Event] | None:
        """Iterate over the events after one id; None if it is another backend's or too old."""
        start, _, number = last_event_id.rpartition("-")
        if start != self._start or not number.isdecimal():
            return None
        missed = self._number - int(number)
        if not 0 <= missed <= len(self._ring):
            return None
        return iter(tuple(islice(self._ring, len(self._ring) - missed, None)))

    def close(self) -> None:
        """End every listener."""
        for listener in self._listeners:
            listener.drop()
        self._listeners.clear()
