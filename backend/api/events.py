"""The event stream: a snapshot or the missed events, then every event as it happens."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import msgspec
from litestar import get
from litestar.response import ServerSentEvent

from backend.api.access import CallerRequest
from backend.api.context import Context, Injected
from backend.events import Event, Listener
from backend.tokens import Token
from wire.broadcasting import Outgoing
from wire.server import PING_S, event_stream


@get("/events")
async def events(request: CallerRequest, context: Injected) -> ServerSentEvent:
    """Stream :data:`wire.console.CONSOLE_EVENTS`; ``Last-Event-ID`` resumes where it can."""
    last_event_id = request.headers.get("last-event-id", "")
    return event_stream(_outgoing(context, request.user, last_event_id))


async def _outgoing(
    context: Context, caller: Token, last_event_id: str
) -> AsyncGenerator[Outgoing, None]:
    context.publisher.flush()
    missed = context.broadcaster.since(last_event_id)
    listener = context.broadcaster.listen()
    try:
        for outgoing in _first(context, caller, missed):
            yield outgoing
        async for outgoing in _live(context, caller, listener):
            yield outgoing
    finally:
        context.broadcaster.leave(listener)


def _first(context: Context, caller: Token, missed: Iterable[Event] | None) -> Iterable[Outgoing]:
    if missed is not None:
        return [_as_outgoing(context, caller, event) for event in missed]
    snapshot = Outgoing(
        name="snapshot",
        data=msgspec.json.encode(context.snapshot(caller)),
        event_id=context.broadcaster.last_event_id,
    )
    return [snapshot]


async def _live(
    context: Context, caller: Token, listener: Listener
) -> AsyncGenerator[Outgoing, None]:
    while not listener.dropped:
        event = await listener.next(PING_S)
        if event is not None:
            yield _as_outgoing(context, caller, event)


def _as_outgoing(context: Context, caller: Token, event: Event) -> Outgoing:
    data = event.data if event.name != "status" else msgspec.json.encode(context.status(caller))
    return Outgoing(name=event.name, data=data, event_id=event.event_id)


ROUTES: list[Any] = [events]
