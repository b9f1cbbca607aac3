"""One conversation with the backend for a verb: settings, connection, event loop."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from tui.settings import Settings, settings_from

if TYPE_CHECKING:
    from tui.client import Client

AnswerT = TypeVar("AnswerT")


def current_settings() -> Settings:
    """The settings of this invocation: options first, then the environment.

    Raises:
        wire.config.ConfigError: something is missing or malformed.
    """
    values: Mapping[str, str | None] = click.get_current_context().find_root().obj
    return settings_from(values)


def ask(question: "Callable[[Client], Awaitable[AnswerT]]") -> AnswerT:
    """Run one coroutine that speaks to the backend, and close the connection behind it."""
    settings = current_settings()
    # Imported here so that ``--help`` does not wait for the HTTP stack.
    import asyncio  # noqa: PLC0415

    from tui.client import Client  # noqa: PLC0415

    async def conversation() -> AnswerT:
        async with Client(settings) as client:
            return await question(client)

    return asyncio.run(conversation())
