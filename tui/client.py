"""The backend's API as methods: what the console and every verb of the command line use."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import msgspec

from tui.errors import BackendUnreachable
from tui.evacuation_calls import EvacuationCalls
from tui.fleet_calls import FleetCalls
from wire.audit import AuditEntry
from wire.console import (
    CONSOLE_EVENTS,
    BackendStatus,
    FleetSnapshot,
    HostGone,
    MigrationSample,
    ServerRemoved,
)
from wire.errors import GodwitError
from wire.evacuation import Evacuation
from wire.fleet import HostView, ServerView
from wire.migration import Migration
from wire.rescue import Incident
from wire.stream import StreamDown, StreamEvent, StreamUp, follow

__all__ = [
    "BackendUnreachable",
    "Client",
    "Connected",
    "ConsoleEvent",
    "Disconnected",
    "Event",
]

ConsoleEvent = (
    FleetSnapshot
    | BackendStatus
    | HostView
    | HostGone
    | ServerView
    | ServerRemoved
    | Migration
    | Incident
    | Evacuation
    | AuditEntry
    | MigrationSample
)
"""Every payload of the backend's stream."""


class Connected(msgspec.Struct, frozen=True):
    """The stream is up; a snapshot or the missed events follow."""


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """The stream is down, and is being tried again: what is known may be stale."""

    reason: str
    error: GodwitError | None = None
    """Set when the backend answered and refused, such as a token that it does not accept."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the stream."""

    name: str
    payload: ConsoleEvent


class Client(FleetCalls, EvacuationCalls):
    """One backend with all that it can do, and its stream. Use it as an async context manager.

    Every method raises :class:`wire.errors.GodwitError` when the backend refuses, and
    :class:`tui.errors.BackendUnreachable` when it gives no usable answer. A call that changes
    something is never sent twice.
    """

    async def events(self) -> AsyncGenerator[Connected | Disconnected | Event, None]:
        """Follow the backend's stream; never ends and never raises, reconnects by itself.

        Events of names that this version does not know are left out.
        """
        async with aclosing(follow(self._http, "/v1/events")) as stream:
            async for item in stream:
                match item:
                    case StreamUp():
                        yield Connected()
                    case StreamDown():
                        yield Disconnected(reason=item.reason, error=item.refusal)
                    case StreamEvent() if item.name in CONSOLE_EVENTS:
                        yield self._event(item)

    def _event(self, item: StreamEvent) -> Event | Disconnected:
        try:
            payload = self._decode(item.data, CONSOLE_EVENTS[item.name])
        except BackendUnreachable as error:
            return Disconnected(reason=str(error))
        return Event(name=item.name, payload=cast("ConsoleEvent", payload))
