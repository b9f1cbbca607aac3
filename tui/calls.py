"""Calls to the backend from a screen: an answer or a refusal, never an exception."""

from collections.abc import Awaitable
from typing import TypeVar

import msgspec

from tui.errors import BackendUnreachable
from wire.errors import GodwitError

AnswerT = TypeVar("AnswerT")


class Refusal(msgspec.Struct, frozen=True):
    """Why a call did not do what it should; one sentence."""

    sentence: str


async def ask(call: Awaitable[AnswerT]) -> AnswerT | Refusal:
    """Await a call of :class:`tui.client.Client`."""
    try:
        return await call
    except (GodwitError, BackendUnreachable) as error:
        return Refusal(str(error))
