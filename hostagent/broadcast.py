"""The agent's event stream: one publisher, any number of listeners, none of whom can delay it."""

from asyncio import Queue
from collections.abc import AsyncIterator, Callable

import msgspec

from wire.agent import AGENT_EVENTS, AgentSnapshot
from wire.broadcasting import Outgoing

_LONGEST_QUEUE = 512
"""Events that a listener may lag behind; then it starts over with a snapshot."""

_NAMES = {kind: name for name, kind in AGENT_EVENTS.items()}


class Broadcast:
    """Hands every published message to every listener."""

    def __init__(self, snapshot: Callable[[], AgentSnapshot]) -> None:
        self._snapshot = snapshot
        self._queues: set[Queue[Outgoing | None]] = set()
        self._ended = False

    def publish(self, message: msgspec.Struct) -> None:
        """Send one of the structs of :data:`wire.agent.AGENT_EVENTS`."""
        if not self._queues:
            return
        event = _outgoing(message)
        for queue in self._queues:
            if not queue.full():  # a full one is noticed, and replaced, by its listener
                queue.put_nowait(event)

    def end(self) -> None:
        """End every listener's stream, and those that begin from now on."""
        self._ended = True
        for queue in self._queues:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def listen(self) -> AsyncIterator[Outgoing]:
        """Yield a snapshot, then every event; a new snapshot after falling behind."""
        while not self._ended:
            queue: Queue[Outgoing | None] = Queue(maxsize=_LONGEST_QUEUE)
            self._queues.add(queue)
            try:
                yield _outgoing(self._snapshot())
                while not queue.full():
                    event = await queue.get()
                    if event is None:
                        return
                    yield event
            finally:
                self._queues.discard(queue)


def _outgoing(message: msgspec.Struct) -> Outgoing:
    return Outgoing(name=_NAMES[type(message)], data=msgspec.json.encode(message))
