"""All that concerns servers' files on this host: what the API calls, and what goes on by itself."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NoReturn

import libvirt
import msgspec

from hostagent.config import AgentConfig
from hostagent.copies.clearing import Clearing
from hostagent.copies.healing import Healing
from hostagent.copies.here import Here
from hostagent.copies.pulls import Pulls
from hostagent.copies.room import Room
from hostagent.copies.source import Source
from hostagent.copies.target import Target
from hostagent.driver import LibvirtDriver
from hostagent.guest import read_truth
from hostagent.inventory import Inventory, facts_of
from hostagent.journal import check_migration_id
from hostagent.ownership import Ownership
from hostagent.removal import check_removable
from hostagent.starting import Starts
from wire.agent import GuestTruth, ServerCommand
from wire.etcd import Etcd
from wire.fleet import PowerState
from wire.storage import Leftovers

_log = logging.getLogger(__name__)

_HEAL_S = 30.0
_RETRY_S = 5.0


class Copies:
    """The desk; :meth:`run` is its life."""

    def __init__(
        self,
        config: AgentConfig,
        etcd: Etcd,
        driver: LibvirtDriver,
        inventory: Inventory,
        ownership: Ownership,
        *,
        starts: Starts,
        publish: Callable[[msgspec.Struct], None],
    ) -> None:
        self._driver = driver
        self._inventory = inventory
        self._ownership = ownership
        self._starts = starts
        self.pulls = Pulls(config, publish=publish)
        here = Here(config=config, driver=driver, inventory=inventory, ownership=ownership)
        self.source = Source(here)
        self._room = room = Room(here, self.pulls)
        self.clearing = Clearing(room)
        self.target = Target(room, self.clearing)
        self._healing = Healing(
            etcd, room, source=self.source, target=self.target, clearing=self.clearing
        )
        self._due = asyncio.Event()

    async def load(self) -> None:
        """Read what an earlier process left; before :meth:`run` and before the first call."""
        await self.pulls.load()
        await self.source.exports.load()

    async def run(self) -> NoReturn:
        """Carry copies out, and settle what is left of migrations that are over, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pulls.run())
            tasks.create_task(self._heal())
        raise AssertionError  # the tasks above never end

    def epoch_began(self) -> None:
        """Etcd answers again: look what ended meanwhile."""
        self._due.set()

    async def _heal(self) -> NoReturn:
        await self._due.wait()
        while True:
            self._due.clear()
            facts = self._inventory.facts
            done = facts is not None and self._driver.connected
            if done and facts is not None:
                done = await self._healing.run_once(facts.host_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEAL_S if done else _RETRY_S):
                    await self._due.wait()

    async def start(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Start a stopped server that this host owns.

        Raises:
            GodwitError: ``NOT_FOUND``, ``CONFLICT`` naming the owner, ``STALE_GENERATION``,
                ``ETCD_UNREACHABLE``, or ``LIBVIRT`` with its own text.
        """
        host_id = facts_of(self._inventory).host_id
        await self._starts.start(server_id, host_id=host_id, generation=command.generation)
        return await self._driver.truth(server_id)

    async def leftovers(self, migration_id: str) -> Leftovers:
        """Whether files of a migration are still to be given up or removed here.

        Raises:
            GodwitError: ``BAD_REQUEST``, it is no migration's id.
        """
        check_migration_id(migration_id)
        incoming = await self._room.read(migration_id)
        coming = incoming is not None and not incoming.kept
        leaving = migration_id in await self.source.outgoing()
        return Leftovers(migration_id=migration_id, held=coming or leaving)

    async def remove(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """End and undefine a copy of a server that another host owns; its files stay.

        Raises:
            GodwitError: ``CONFLICT`` if it belongs to this host or to nobody, or may be the one
                copy that lives (:func:`check_removable`); ``STALE_GENERATION``,
                ``ETCD_UNREACHABLE``, ``LIBVIRT``.
        """
        host_id = facts_of(self._inventory).host_id
        await self._ownership.require_gone(server_id, command.generation, host_id=host_id)

        def check(handle: libvirt.virConnect) -> None:
            record = self._ownership.check_gone(server_id, command.generation, host_id=host_id)
            # the state last: a libvirtd that hung may let the guest run at any moment
            check_removable(record, read_truth(handle, server_id), host_id=host_id)

        truth = await self._driver.truth(server_id)
        if truth.state is not PowerState.ABSENT:
            await self._starts.end(server_id, check)
            self._inventory.server_changed(server_id)
        return await self._driver.truth(server_id)
