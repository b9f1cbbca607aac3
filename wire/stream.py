"""Following a server's event stream (SSE) through every break."""

import asyncio
import random
from collections.abc import AsyncGenerator

import httpx
import httpx_sse
import msgspec

from wire.errors import GodwitError
from wire.http import explain, raise_for_error

_READ_TIMEOUT_S = 7.0
"""Servers send a comment each 2 s: three missed ones mean a dead link."""
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 3.0


class StreamUp(msgspec.Struct, frozen=True, kw_only=True):
    """Connected; events follow."""


class StreamDown(msgspec.Struct, frozen=True, kw_only=True):
    """Not connected any more, or not at all; tried again by itself after a short wait."""

    reason: str
    refusal: GodwitError | None = None
    """Set when the server answered but refused, such as for a wrong token."""
    broke: bool = False
    """Events were coming until then: how the connection ended says nothing to an operator."""


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event; ``data`` is the JSON of the struct that ``name`` stands for."""

    name: str
    event_id: str
    data: str


async def follow(
    client: httpx.AsyncClient, path: str
) -> AsyncGenerator[StreamUp | StreamEvent | StreamDown, None]:
    """Yield events for ever, with ``Last-Event-ID`` after a break; close the iterator to end."""
    last_event_id = ""
    wait_s = _FIRST_WAIT_S
    while True:
        refusal: GodwitError | None = None
        up = False
        try:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            timeout = httpx.Timeout(5.0, read=_READ_TIMEOUT_S)
            async with httpx_sse.aconnect_sse(
                client, "GET", path, headers=headers, timeout=timeout
            ) as source:
                if not source.response.is_success:
                    await source.response.aread()
                    raise_for_error(source.response)
                up = True
                yield StreamUp()
                wait_s = _FIRST_WAIT_S
                async for event in source.aiter_sse():
                    last_event_id = event.id or last_event_id
                    yield StreamEvent(name=event.event, event_id=event.id, data=event.data)
            reason = f"{client.base_url.join(path)} ended the stream"
        except GodwitError as error:
            reason, refusal = error.message, error
        except httpx.HTTPError as error:
            reason = explain(error, str(client.base_url.join(path)))
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # closing the connection has put its own error in the place of the cancellation
            raise asyncio.CancelledError
        yield StreamDown(reason=reason, refusal=refusal, broke=up)
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
