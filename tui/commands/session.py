"""One conversation with the backend for a verb: settings, connection, event loop."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from tui.commands.output import narrate
from tui.formats.health import duty_text, gravest_first
from tui.settings import Settings, settings_from

if TYPE_CHECKING:
    from tui.client import Client

AnswerT = TypeVar("AnswerT")
Question = Callable[["Client"], Awaitable[AnswerT]]


def current_settings() -> Settings:
    """The settings of this invocation: options first, then the environment.

    Raises:
        wire.config.ConfigError: something is missing or malformed.
    """
    values: Mapping[str, str | None] = click.get_current_context().find_root().obj
    return settings_from(values)


def ask(question: Question[AnswerT]) -> AnswerT:
    """Run one coroutine that speaks to the backend, and close the connection behind it."""
    settings = current_settings()
    # Imported here so that ``--help`` does not wait for the HTTP stack.
    import asyncio  # noqa: PLC0415

    from tui.client import Client  # noqa: PLC0415

    async def conversation() -> AnswerT:
        async with Client(settings) as client:
            return await question(client)

    return asyncio.run(conversation())


def look(question: Question[AnswerT]) -> AnswerT:
    """Ask for what is shown, and say on stderr what may make it stale, or leave it undone."""

    async def with_warning(client: "Client") -> AnswerT:
        status = await client.status()
        if not status.etcd_ok:
            narrate(f"godwit: {status.etcd_error}: what is shown may be stale")
        for duty in gravest_first(status.failing_duties):
            narrate(f"godwit: {duty_text(duty)}")
        return await question(client)

    return ask(with_warning)
