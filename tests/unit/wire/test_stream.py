"""A stream that is followed ends when whoever follows it is cancelled."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from wire.stream import StreamUp, follow


class BreaksWhenClosed(httpx.AsyncByteStream):
    """Says nothing, and fails to close as a connection does that breaks just then."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async def aclose(self) -> None:
        raise httpx.ReadError("broken")


async def test_a_connection_that_breaks_while_it_is_closed_does_not_hide_the_cancellation():
    def answer(_: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=BreaksWhenClosed())

    up = asyncio.Event()

    async def listen(client: httpx.AsyncClient) -> None:
        async for item in follow(client, "/v1/events"):
            if isinstance(item, StreamUp):
                up.set()

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
        task = asyncio.create_task(listen(client))
        async with asyncio.timeout(5):
            await up.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
