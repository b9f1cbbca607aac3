"""One backend over HTTPS: what is sent to it, and what its answers must be."""

from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from tui.errors import BackendUnreachable
from tui.settings import Settings
from wire.config import read_token
from wire.errors import ErrorCode, GodwitError
from wire.http import explain, raise_for_error
from wire.tls import client_context

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
"""The backend itself waits up to 10 s for an agent before it answers."""

AnswerT = TypeVar("AnswerT")


class Transport:
    """One connection pool. Use it as an async context manager.

    Every call raises :class:`wire.errors.GodwitError` when the backend refuses, and
    :class:`tui.errors.BackendUnreachable` when it gives no usable answer. A call that changes
    something is never sent twice.
    """

    def __init__(
        self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Read token and certificate; nothing is sent yet.

        Raises:
            wire.config.ConfigError: the token file or a TLS file cannot be used.
        """
        token = read_token(settings.token_file)
        self._url = settings.backend_url
        # trust_env would let a proxy variable or ~/.netrc replace the address or the token.
        self._http = httpx.AsyncClient(
            base_url=settings.backend_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            trust_env=False,
            transport=transport,
            verify=client_context(settings.tls) if transport is None else False,
        )

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        await self._http.__aexit__(kind, error, trace)

    async def _get(self, path: str, kind: type[AnswerT]) -> AnswerT:
        return self._decode(await self._send("GET", path, None), kind)

    async def _post(self, path: str, kind: type[AnswerT], body: bytes) -> AnswerT:
        return self._decode(await self._send("POST", path, body), kind)

    async def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            response = await self._http.request(method, path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise BackendUnreachable(explain(error, self._url)) from error
        raise_for_error(response)
        return response.content

    def _decode(self, content: bytes | str, kind: type[AnswerT]) -> AnswerT:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackendUnreachable(
                f"{self._url} does not answer as a Godwit backend of this version: {error}"
            ) from error


def path_of(kind: str, name: str) -> str:
    """Put a name from a person into a URL path.

    Raises:
        GodwitError: NOT_FOUND for what nothing can be called: empty, with a slash, or
            undecodable bytes.
    """
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise GodwitError(ErrorCode.NOT_FOUND, f"no {kind} is called {name!r}")
    return f"/v1/{kind}s/{quote(name, safe='')}"
