"""Telling that what a migration may have left on a host is gone: the host removes it by itself."""

import asyncio
import logging
from typing import NoReturn

from backend.migrations.clearing import may_hold_files, may_hold_half
from backend.migrations.drive import Drive
from backend.migrations.outcome import HALVES, side_of
from wire.errors import GodwitError
from wire.migration import Migration

_log = logging.getLogger(__name__)

LOOK_S = 15.0
"""An agent that is back has cleared up within some seconds, or tries again each half a minute."""


class Leftovers:
    """Asks the hosts that notes name, until they hold nothing any more. Only the leader runs it."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    async def lead(self) -> NoReturn:
        """Look for ever."""
        while True:
            if not self._drive.fleet.etcd_error:
                await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask once about each leftover that is told of."""
        for migration in tuple(self._drive.fleet.migrations.values()):
            hosts = {
                migration.source_host_id: migration.source_host_name,
                migration.target_host_id: migration.target_host_name,
            }
            for host_id, name in hosts.items():
                if migration.state.ended and name and is_open(migration, name):
                    await self._close(migration, host_id, name)

    async def _close(self, migration: Migration, host_id: str, name: str) -> None:
        agent = self._drive.agents.of(host_id, name)
        try:
            if (await agent.leftovers(migration.migration_id)).held:
                return
            if side_of(await agent.truth(migration.server_id)) in HALVES:
                return
            await self._drive.note(migration.migration_id, gone(name))
        except GodwitError as error:
            _log.debug("%s: %s not asked: %s", migration.migration_id, name, error.message)


def gone(host_name: str) -> str:
    """The note that ends the other ones."""
    return f"{host_name} holds nothing of this migration any more"


def is_open(migration: Migration, host_name: str) -> bool:
    """Whether the last that was noted of a host's leftovers is that there may be some."""
    told = (may_hold_files(host_name), may_hold_half(host_name, migration))
    for note in reversed(migration.notes):
        if note.text == gone(host_name):
            return False
        if note.text.startswith(told):
            return True
    return False
