"""Both halves of a connection: our server on loopback with TLS, our client side against it."""

import asyncio
import gc
import socket
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.response import ServerSentEvent

from wire.config import TlsFiles
from wire.errors import ErrorCode, GodwitError
from wire.http import explain, raise_for_error
from wire.server import (
    EXCEPTION_HANDLERS,
    Outgoing,
    bearer_token,
    event_stream,
    serve,
    token_matches,
)
from wire.stream import StreamDown, StreamEvent, StreamUp, follow
from wire.tls import client_context


@get("/refuse")
async def refuse() -> None:
    raise GodwitError(ErrorCode.CONFLICT, "web-1 is stopped; start it, or move it cold")


@get("/broken")
async def broken() -> None:
    raise ZeroDivisionError("secret detail")


@get("/whoami")
async def whoami(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"token": bearer_token(request)}


@get("/events")
async def events(request: Request[Any, Any, Any]) -> ServerSentEvent:
    after = int(request.headers.get("last-event-id") or 0)

    async def three() -> AsyncIterator[Outgoing]:
        for number in range(after + 1, after + 4):
            yield Outgoing(name="count", data=b"%d" % number, event_id=str(number))

    return event_stream(three())


@asynccontextmanager
async def running(tls: TlsFiles, port: int) -> AsyncIterator[str]:
    app = Litestar(
        [refuse, broken, whoami, events],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
    )
    task = asyncio.create_task(serve(app, listen=f"127.0.0.1:{port}", tls=tls))
    for _ in range(200):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        await asyncio.sleep(0.05)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def client(url: str, tls: TlsFiles) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, verify=client_context(tls))


async def test_an_error_crosses_the_wire_as_one_sentence(tls: TlsFiles, port: int):
    async with running(tls, port) as url, client(url, tls) as http:
        response = await http.get("/refuse")
        assert response.status_code == 409
        with pytest.raises(GodwitError, match="web-1 is stopped") as caught:
            raise_for_error(response)
        assert caught.value.code is ErrorCode.CONFLICT


async def test_a_bug_does_not_tell_its_details(tls: TlsFiles, port: int):
    async with running(tls, port) as url, client(url, tls) as http:
        response = await http.get("/broken")
        assert response.status_code == 500
        assert "secret" not in response.text
        with pytest.raises(GodwitError, match="internal error, see the log"):
            raise_for_error(response)


async def test_an_unknown_path_is_an_error_body_too(tls: TlsFiles, port: int):
    async with running(tls, port) as url, client(url, tls) as http:
        with pytest.raises(GodwitError) as caught:
            raise_for_error(await http.get("/nowhere"))
        assert caught.value.code is ErrorCode.NOT_FOUND


async def test_the_bearer_token_arrives(tls: TlsFiles, port: int):
    async with running(tls, port) as url, client(url, tls) as http:
        response = await http.get("/whoami", headers={"Authorization": "Bearer abc"})
        assert response.json() == {"token": "abc"}


def connect_and_vanish(url: str, tls: TlsFiles) -> None:
    """Ask once and close without TLS's farewell, as a client that is killed does."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with (
        socket.create_connection(address) as plain,
        client_context(tls).wrap_socket(plain, server_hostname="127.0.0.1") as link,
    ):
        link.sendall(b"GET /whoami HTTP/1.1\r\nHost: here\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 200")


async def test_nothing_of_a_lost_connection_stays(tls: TlsFiles, port: int):
    def links() -> int:
        return sum(isinstance(each, SSLProtocol) for each in gc.get_objects())

    async with running(tls, port) as url:
        gc.collect()
        gc.disable()
        try:
            before = links()
            for _ in range(5):
                await asyncio.to_thread(connect_and_vanish, url, tls)
                async with client(url, tls) as http:
                    assert (await http.get("/whoami")).is_success
            async with asyncio.timeout(4):  # before a keep-alive timer lets go of any
                while links() > before:
                    await asyncio.sleep(0.05)
        finally:
            gc.enable()


def test_tokens_are_compared_by_digest():
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert token_matches("abc", digest)
    assert token_matches("abc", digest.upper())
    assert not token_matches("abd", digest)
    assert not token_matches("", digest)


async def sentence_of_failure(url: str, tls: TlsFiles) -> str:
    async with client(url, tls) as http:
        with pytest.raises(httpx.HTTPError) as caught:
            await http.get("/whoami")
        return explain(caught.value, url)


async def test_a_server_of_another_ca_is_one_sentence(tls: TlsFiles, make_tls, port: int):
    mine = make_tls()
    async with running(tls, port) as url:
        sentence = await sentence_of_failure(url, mine)
    assert "its certificate is not of the CA that we were told to trust" in sentence


async def test_our_certificate_of_another_ca_is_one_sentence(tls: TlsFiles, make_tls, port: int):
    stranger = make_tls()
    mixed = TlsFiles(ca_file=tls.ca_file, cert_file=stranger.cert_file, key_file=stranger.key_file)
    async with running(tls, port) as url:
        sentence = await sentence_of_failure(url, mixed)
    assert "does not accept our certificate" in sentence


async def test_nobody_there_is_one_sentence(tls: TlsFiles, port: int):
    sentence = await sentence_of_failure(f"https://127.0.0.1:{port}", tls)
    assert sentence.startswith(f"https://127.0.0.1:{port} cannot be reached: ")


async def test_a_stream_goes_on_after_the_last_event_it_saw(tls: TlsFiles, port: int):
    numbers: list[str] = []
    kinds: list[type] = []
    async with (
        running(tls, port) as url,
        client(url, tls) as http,
        aclosing(follow(http, "/events")) as stream,
    ):
        async for item in stream:
            kinds.append(type(item))
            if isinstance(item, StreamEvent):
                numbers.append(item.data)
            if len(numbers) == 6:
                break
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    assert kinds == [StreamUp, *[StreamEvent] * 3, StreamDown, StreamUp, *[StreamEvent] * 3]


async def test_a_refused_stream_carries_the_refusal(tls: TlsFiles, port: int):
    async with (
        running(tls, port) as url,
        client(url, tls) as http,
        aclosing(follow(http, "/refuse")) as stream,
    ):
        down = await anext(stream)
    assert isinstance(down, StreamDown)
    assert down.refusal is not None
    assert down.refusal.code is ErrorCode.CONFLICT
