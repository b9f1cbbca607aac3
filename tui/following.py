"""Following one migration to its end through every break of the connection."""

import asyncio
from contextlib import aclosing, suppress
from typing import Protocol

from tui.client import Client, Connected, Disconnected, Event
from tui.errors import BackendUnreachable
from wire.console import FleetSnapshot, MigrationSample
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration, Sample

PATIENCE_S = 60.0
"""How long the backend may stay away before nobody waits for it any more."""
_QUIET_S = 5.0
"""After so long without a word about this migration, the backend is asked."""
_MOMENT_S = 0.05
_PASSING = {
    ErrorCode.NOT_LEADING,
    ErrorCode.ETCD_UNREACHABLE,
    ErrorCode.AGENT_UNREACHABLE,
    ErrorCode.INTERNAL,
}
"""Refusals of a backend that is starting, or that has lost etcd for a while."""
_Item = Connected | Disconnected | Event


class Watcher(Protocol):
    """Who is told what happens, in order."""

    def on_migration(self, migration: Migration) -> None:
        """The record changed: another phase, another pass, the end."""

    def on_sample(self, sample: Sample) -> None:
        """New figures, about four a second while memory is copied."""

    def on_link(self, reason: str) -> None:
        """The stream broke for this reason; empty when it is up again."""


async def follow_to_end(client: Client, begun: Migration, watcher: Watcher) -> Migration:
    """Wait until a migration has ended, whatever the connection does meanwhile.

    The stream tells each change; the record itself is read after each reconnection and after each
    silence, so that no missed event leaves anybody waiting.

    Raises:
        BackendUnreachable: no word from the backend for :data:`PATIENCE_S`.
        GodwitError: the backend refuses to tell, such as for a token that it no longer accepts.
    """
    following = _Following(client, begun, watcher)
    events: asyncio.Queue[_Item] = asyncio.Queue()
    listening = asyncio.create_task(_listen(client, events))
    try:
        while not following.migration.state.ended:
            item = None
            with suppress(TimeoutError):
                async with asyncio.timeout(following.quiet_left_s()):
                    item = await events.get()
            await following.take(item)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    return following.migration


async def _listen(client: Client, events: asyncio.Queue[_Item]) -> None:
    async with aclosing(client.events()) as stream:
        async for item in stream:
            events.put_nowait(item)


class _Following:
    """What is known of one migration, and since when nothing new came."""

    def __init__(self, client: Client, begun: Migration, watcher: Watcher) -> None:
        self.migration = begun
        self._client = client
        self._watcher = watcher
        self._clock = asyncio.get_running_loop().time
        self._answered_at = self._told_at = self._clock()
        watcher.on_migration(begun)

    def quiet_left_s(self) -> float:
        """How long to wait for an event before asking; never so short that none is taken."""
        return max(_MOMENT_S, self._told_at + _QUIET_S - self._clock())

    async def take(self, item: _Item | None) -> None:
        """Take one item of the stream, or None after a silence."""
        match item:
            case None:
                await self._ask()
            case Connected():
                self._watcher.on_link("")
                await self._ask()
            case Disconnected():
                self._watcher.on_link(item.reason)
                if item.error is not None and item.error.code not in _PASSING:
                    raise item.error
                self._check_patience(item.reason)
            case Event():
                self._take_event(item)

    def _take_event(self, event: Event) -> None:
        self._answered_at = self._clock()
        payload = event.payload
        if isinstance(payload, FleetSnapshot):
            for migration in payload.migrations:
                self._take_migration(migration)
        elif isinstance(payload, Migration):
            self._take_migration(payload)
        elif isinstance(payload, MigrationSample) and self._is_ours(payload):
            self._told_at = self._clock()
            self._watcher.on_sample(payload.sample)

    def _is_ours(self, thing: Migration | MigrationSample) -> bool:
        return thing.migration_id == self.migration.migration_id

    def _take_migration(self, migration: Migration) -> None:
        if not self._is_ours(migration):
            return
        self._told_at = self._clock()
        if migration != self.migration and migration.state.rank >= self.migration.state.rank:
            self.migration = migration
            self._watcher.on_migration(migration)

    async def _ask(self) -> None:
        try:
            detail = await self._client.migration(self.migration.migration_id)
        except BackendUnreachable as error:
            self._check_patience(str(error))
        except GodwitError as error:
            if error.code not in _PASSING:
                raise
            self._check_patience(error.message)
        else:
            self._answered_at = self._clock()
            self._take_migration(detail.migration)
        self._told_at = self._clock()

    def _check_patience(self, reason: str) -> None:
        if self._clock() - self._answered_at > PATIENCE_S:
            raise BackendUnreachable(f"{reason} (tried for {PATIENCE_S:.0f} s)")
