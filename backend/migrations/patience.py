"""How long a step of a cold migration waits for hosts that do not answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backend.migrations.drive import ASK_AGAIN_S, MAY_PASS, Drive, NotBegun
from backend.migrations.guests import is_offline
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration

PATIENCE_S = 600.0
"""Without any progress: a host may boot meanwhile, or a link heal."""
BOTH_AWAY_S = 60.0
"""While both hosts are offline there is nothing to wait for, save a break of etcd's own link."""

LIBVIRT_PATIENCE_S = 15.0
"""A libvirtd that was killed is back by then; what libvirt still says then is a refusal."""

ResultT = TypeVar("ResultT")


class Patience:
    """Counts the time since something last went on."""

    def __init__(self, drive: Drive, migration: Migration) -> None:
        self._drive = drive
        self._migration = migration
        self._since_s = time.monotonic()
        self._progress: object = None

    def saw(self, progress: object) -> None:
        """Note how far things are; anything new begins the time anew."""
        if progress != self._progress:
            self._progress = progress
            self._since_s = time.monotonic()

    def check_error(self, error: GodwitError) -> None:
        """Give up on a refusal, at once or once it can be nothing else.

        Raises:
            NotBegun: with its text.
        """
        waited_s = time.monotonic() - self._since_s
        stays = error.code is ErrorCode.LIBVIRT and waited_s > LIBVIRT_PATIENCE_S
        if error.code not in MAY_PASS or stays:
            raise NotBegun(error.message) from None

    async def check(self, reason: str) -> None:
        """Give up if it took too long.

        Raises:
            NotBegun: it did, with the reason; or its source is dead; or it was cancelled.
        """
        migration = self._migration
        self._drive.stop_if_cancelled(migration.migration_id)
        await self.check_time(reason)

    async def check_time(self, reason: str) -> None:
        """The same for a step that cannot be cancelled any more."""
        migration = self._migration
        if await self._drive.is_dead(migration.source_host_id):
            raise NotBegun(f"{migration.source_host_name} is dead: {reason}")
        waited_s = time.monotonic() - self._since_s
        hosts = (migration.source_host_id, migration.target_host_id)
        if waited_s > BOTH_AWAY_S and all(is_offline(self._drive.fleet, one) for one in hosts):
            raise NotBegun(
                f"{migration.source_host_name} and {migration.target_host_name} are both offline: "
                f"{reason}"
            )
        if waited_s > PATIENCE_S:
            raise NotBegun(f"nothing went on for {PATIENCE_S / 60:g} min: {reason}")


async def insist(
    patience: Patience, call: Callable[[], Awaitable[ResultT]], *, cancellable: bool
) -> ResultT:
    """Repeat a call until its agent answers.

    Raises:
        NotBegun: it refused, or patience is over.
    """
    while True:
        try:
            return await call()
        except GodwitError as error:
            patience.check_error(error)
            check = patience.check if cancellable else patience.check_time
            await check(error.message)
        await asyncio.sleep(ASK_AGAIN_S)
