"""Ways on which people are told: a webhook, and a command."""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import httpx

from backend.config import NotifyConfig
from wire.config import ConfigError, read_token
from wire.http import explain

WEBHOOK_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0
_FINAL = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""Answers that blame what was sent, or say for good (RFC 9110, 15.5.1, .11, .14 and .21).

Others may pass: a proxy answers 404 while the receiver is deployed, and 401 while a token changes.
"""


class Undelivered(Exception):
    """One notice did not arrive; the message says why, with nothing secret in it."""


class Refused(Undelivered):
    """It would be refused just so however often it is sent."""


class Channel(Protocol):
    """One way."""

    @property
    def name(self) -> str:
        """What it is called in logs."""

    async def send(self, body: bytes) -> None:
        """Send one notice.

        Raises:
            Undelivered: it did not arrive, as far as is known.
            Refused: and will not.
        """


class Webhook:
    """Sends each notice by POST; any answer of 2xx will do."""

    name = "webhook"

    def __init__(self, url: str, token_file: Path | None) -> None:
        """Prepare.

        Raises:
            ConfigError: the address cannot be used, or the token.
        """
        self._url = _checked(url, with_token=token_file is not None)
        # its path and query may be secrets, and are told to nobody
        self._shown = f"{self._url.scheme}://{self._url.netloc.decode()}"
        self._headers = {"Content-Type": "application/json"}
        if token_file is not None:
            self._headers["Authorization"] = f"Bearer {read_token(token_file)}"
        self._context = ssl.create_default_context()

    async def send(self, body: bytes) -> None:
        """See :class:`Channel`."""
        try:
            async with (
                asyncio.timeout(WEBHOOK_TIMEOUT_S),
                httpx.AsyncClient(
                    verify=self._context, timeout=WEBHOOK_TIMEOUT_S, trust_env=False
                ) as client,
                client.stream("POST", self._url, headers=self._headers, content=body) as answer,
            ):
                status = answer.status_code
        except TimeoutError:
            text = f"{self._shown} did not answer within {WEBHOOK_TIMEOUT_S:g} s"
            raise Undelivered(text) from None
        except httpx.HTTPError as error:
            raise Undelivered(explain(error, self._shown)) from None
        if not 200 <= status < 300:
            text = f"{self._shown} answered {status}, and should answer 200"
            raise Refused(text) if status in _FINAL else Undelivered(text)


class Command:
    """Runs a command for each notice, which it finds in its standard input."""

    name = "command"

    def __init__(self, command: Sequence[str]) -> None:
        """Prepare.

        Raises:
            ConfigError: nothing of this name can be run.
        """
        if shutil.which(command[0]) is None:
            raise ConfigError(f"notify.command: {command[0]!r} is nothing that can be run")
        self._command = tuple(command)

    async def send(self, body: bytes) -> None:
        """See :class:`Channel`."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Undelivered(f"{self._command[0]}: {error.strerror}") from None
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await process.communicate(body)
        except TimeoutError:
            text = f"{self._command[0]} did not end within {COMMAND_TIMEOUT_S:g} s"
            raise Undelivered(text) from None
        finally:
            await _end(process)
        if process.returncode:
            raise Undelivered(f"{self._command[0]} ended with status {process.returncode}")


def channels(config: NotifyConfig) -> list[Channel]:
    """Make what is configured.

    Raises:
        ConfigError: it cannot be used.
    """
    made: list[Channel] = []
    if config.webhook_url:
        made.append(Webhook(config.webhook_url, config.webhook_token_file))
    elif config.webhook_token_file is not None:
        raise ConfigError("notify.webhook_token_file is given without a notify.webhook_url")
    if config.command:
        made.append(Command(config.command))
    return made


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a command, with all that it started, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _checked(url: str, *, with_token: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"notify.webhook_url cannot be used: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigError("notify.webhook_url must begin with https:// or http:// and name a host")
    if with_token and parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise ConfigError(
            f"notify.webhook_url is http://{parsed.host}, where everybody on the way could read "
            "the token: use https://"
        )
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
