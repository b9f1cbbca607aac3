"""What both HTTP servers share: TLS with client certificates, bearer tokens, error bodies, SSE."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import signal
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, MediaType, Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.response import ServerSentEvent, ServerSentEventMessage
from uvicorn.protocols.http.h11_impl import H11Protocol

from wire.broadcasting import Outgoing
from wire.config import TlsFiles
from wire.errors import HTTP_STATUS, ErrorBody, ErrorCode, GodwitError

_log = logging.getLogger(__name__)

PING_S = 2.0
"""A comment line this often tells clients that the link lives."""


def bearer_token(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The token of ``Authorization: Bearer``; empty without one."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def token_matches(token: str, sha256: str) -> bool:
    """Compare a token with a stored digest in constant time."""
    return hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), sha256.lower())


def error_response(error: GodwitError) -> Response[bytes]:
    """The answer that carries an error."""
    return Response(
        msgspec.json.encode(error.body),
        status_code=HTTP_STATUS[error.code],
        media_type=MediaType.JSON,
    )


def _on_godwit_error(_: Request[Any, Any, Any], error: GodwitError) -> Response[bytes]:
    return error_response(error)


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    code = {401: ErrorCode.UNAUTHENTICATED, 403: ErrorCode.FORBIDDEN, 404: ErrorCode.NOT_FOUND}.get(
        error.status_code, ErrorCode.BAD_REQUEST
    )
    body = ErrorBody(code=code, message=f"{request.method} {request.url.path}: {_reasons(error)}")
    return Response(
        msgspec.json.encode(body), status_code=error.status_code, media_type=MediaType.JSON
    )


def _reasons(error: HTTPException) -> str:
    """Litestar lists what is wrong with a body in ``extra``; its detail then says nothing more."""
    listed = error.extra if isinstance(error.extra, list) else []
    reasons = [_reason(one) for one in listed if isinstance(one, dict) and "message" in one]
    return "; ".join(reasons) or error.detail


def _reason(listed: dict[str, Any]) -> str:
    field = listed.get("key", "data")
    return str(listed["message"]) if field == "data" else f"{field}: {listed['message']}"


def _on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(
        GodwitError(ErrorCode.INTERNAL, f"internal error, see the log: {type(error).__name__}")
    )


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    GodwitError: _on_godwit_error,
    HTTPException: _on_http_error,
    Exception: _on_bug,
}
"""For ``Litestar(exception_handlers=...)``: every answer that is no success is an ErrorBody."""


def event_stream(events: AsyncIterator[Outgoing]) -> ServerSentEvent:
    """Answer with an event stream; comments fill each pause of :data:`PING_S`."""
    return ServerSentEvent(_with_pings(events))


async def _with_pings(
    events: AsyncIterator[Outgoing],
) -> AsyncGenerator[ServerSentEventMessage, None]:
    upcoming: asyncio.Task[Outgoing] | None = None
    try:
        while True:
            if upcoming is None:
                upcoming = asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({upcoming}, timeout=PING_S)
            if not done:
                yield ServerSentEventMessage(comment="ping", data=None)
                continue
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = None
            yield ServerSentEventMessage(
                data=event.data.decode(), event=event.name, id=event.event_id or None
            )
    finally:
        if upcoming is not None:
            upcoming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await upcoming


async def _next(events: AsyncIterator[Outgoing]) -> Outgoing:
    return await anext(events)


class _Connection(H11Protocol):
    """One connection, of which nothing stays once it is lost.

    uvicorn leaves it in a cycle with its last request, and with it asyncio's TLS buffers: 300 KB
    for each, until a full garbage collection, which a process that idles hardly ever makes.
    """

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.cycle = None  # type: ignore[assignment]  # as uvicorn itself before the first request


async def serve(
    app: Litestar, *, listen: str, tls: TlsFiles, on_stop: Callable[[], object] = lambda: None
) -> None:
    """Serve until cancelled, SIGTERM or SIGINT; clients need a certificate of the fleet's CA.

    Args:
        app: the application.
        listen: ``host:port``.
        tls: this server's files.
        on_stop: called when the end begins; ends event streams, which would hold it up for 1 s.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down; the caller still has to clean up
        loop.add_signal_handler(number, on_stop)
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(
        app,
        http=_Connection,
        host=host,
        port=int(port),
        ssl_certfile=str(tls.cert_file),
        ssl_keyfile=str(tls.key_file),
        ssl_ca_certs=str(tls.ca_file),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        on_stop()
        await serving
        raise
