"""Waiting for the end of what the backend does, through every break of the connection."""

import asyncio
from contextlib import aclosing, suppress
from typing import Protocol

from tui.client import Client, Connected, ConsoleEvent, Disconnected, Event
from tui.errors import BackendUnreachable
from wire.errors import ErrorCode, GodwitError

PATIENCE_S = 60.0
"""How long the backend may stay away before nobody waits for it any more."""
_QUIET_S = 5.0
"""After so long without a word about what is waited for, the backend is asked."""
_MOMENT_S = 0.05
_PASSING = {
    ErrorCode.NOT_LEADING,
    ErrorCode.ETCD_UNREACHABLE,
    ErrorCode.AGENT_UNREACHABLE,
    ErrorCode.INTERNAL,
}
"""Refusals of a backend that is starting, or that has lost etcd for a while."""
_Item = Connected | Disconnected | Event


class Awaited(Protocol):
    """What is waited for, and who is told of it."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""

    def take(self, payload: ConsoleEvent) -> bool:
        """Take what the stream says; whether any of it was about what is waited for."""

    async def ask(self, client: Client) -> None:
        """Take the record itself, as the backend has it now."""

    def on_link(self, reason: str) -> None:
        """The stream broke for this reason; empty when it is up again."""


async def wait_for_end(client: Client, awaited: Awaited) -> None:
    """Wait until something has ended, whatever the connection does meanwhile.

    The stream tells each change; the record itself is read after each reconnection and after each
    silence, so that no missed event leaves anybody waiting.

    Raises:
        BackendUnreachable: no word from the backend for :data:`PATIENCE_S`.
        GodwitError: the backend refuses to tell, such as for a token that it no longer accepts.
    """
    waiting = _Waiting(client, awaited)
    events: asyncio.Queue[_Item] = asyncio.Queue()
    listening = asyncio.create_task(_listen(client, events))
    try:
        while not awaited.ended:
            item = None
            with suppress(TimeoutError):
                async with asyncio.timeout(waiting.quiet_left_s()):
                    item = await events.get()
            await waiting.take(item)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _listen(client: Client, events: asyncio.Queue[_Item]) -> None:
    async with aclosing(client.events()) as stream:
        async for item in stream:
            events.put_nowait(item)


class _Waiting:
    """Since when nothing new came."""

    def __init__(self, client: Client, awaited: Awaited) -> None:
        self._client = client
        self._awaited = awaited
        self._clock = asyncio.get_running_loop().time
        self._answered_at = self._told_at = self._clock()

    def quiet_left_s(self) -> float:
        """How long to wait for an event before asking; never so short that none is taken."""
        return max(_MOMENT_S, self._told_at + _QUIET_S - self._clock())

    async def take(self, item: _Item | None) -> None:
        """Take one item of the stream, or None after a silence."""
        match item:
            case None:
                await self._ask()
            case Connected():
                self._awaited.on_link("")
                await self._ask()
            case Disconnected():
                self._awaited.on_link(item.reason)
                if item.error is not None and item.error.code not in _PASSING:
                    raise item.error
                self._check_patience(item.reason)
            case Event():
                self._answered_at = self._clock()
                if self._awaited.take(item.payload):
                    self._told_at = self._clock()

    async def _ask(self) -> None:
        try:
            await self._awaited.ask(self._client)
        except BackendUnreachable as error:
            self._check_patience(str(error))
        except GodwitError as error:
            if error.code not in _PASSING:
                raise
            self._check_patience(error.message)
        else:
            self._answered_at = self._clock()
        self._told_at = self._clock()

    def _check_patience(self, reason: str) -> None:
        if self._clock() - self._answered_at > PATIENCE_S:
            raise BackendUnreachable(f"{reason} (tried for {PATIENCE_S:.0f} s)")
