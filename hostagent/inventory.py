"""The servers of this host as last read, and what changed since."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import msgspec

from hostagent.domain import server_facts
from hostagent.driver import LibvirtDriver
from hostagent.guest import Guest
from wire.agent import ServerGone
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, HostFacts, ServerFacts

_log = logging.getLogger(__name__)

_RELIST_S = 30.0
"""Free space, disk sizes and anything that no event tells of."""
_RETRY_S = 1.0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One domain of this host."""

    facts: ServerFacts
    saved_xml: str
    """What another host needs to define it."""


class Inventory:
    """Follows one host's facts and servers; events say what to read again."""

    def __init__(
        self,
        driver: LibvirtDriver,
        *,
        publish: Callable[[msgspec.Struct], None],
        on_change: Callable[[], None],
    ) -> None:
        """Begin empty.

        Args:
            driver: who is asked.
            publish: told each difference: ``HostFacts``, ``ServerFacts`` or ``ServerGone``.
            on_change: called after differences were published.
        """
        self._driver = driver
        self._publish = publish
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._changed_ids: set[str] = set()
        self._facts_changed = False
        self._list_changed = False
        self.facts: HostFacts | None = None
        """None until libvirtd answered for the first time."""
        self.servers: dict[str, Server] = {}
        self._doubted_ids: set[str] = set()
        self.removed_ids: set[str] = set()
        """Servers that went away under a libvirtd that had told of them. One that a libvirtd never
        had may have lost its definition."""
        self.unread_ids: set[str] = set()
        """Servers that libvirt has, as far as is known, and does not describe."""
        self.listed = False
        """Whether every domain was read at least once: before that nobody may conclude from one
        that is missing."""

    def server_changed(self, server_id: str) -> None:
        """Have one server read again."""
        self._changed_ids.add(server_id)
        self._wake.set()

    def pools_changed(self) -> None:
        """Have the host's facts read again."""
        self._facts_changed = True
        self._wake.set()

    def everything_changed(self) -> None:
        """Have all read again: a new connection, after which old events are lost."""
        self._doubted_ids |= self.servers.keys()
        self._facts_changed = self._list_changed = True
        self._wake.set()

    async def run(self) -> NoReturn:
        """Read what changed, for ever."""
        while True:
            try:
                async with asyncio.timeout(_RELIST_S):
                    await self._wake.wait()
            except TimeoutError:
                self._facts_changed = self._list_changed = True
            self._wake.clear()
            if not self._driver.connected:
                continue
            if not await self._read_again():
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    async def _read_again(self) -> bool:
        """Read what changed; False if something could not be read and is still due."""
        facts_due, list_due = self._facts_changed or self.facts is None, self._list_changed
        self._facts_changed = self._list_changed = False
        if facts_due and not await self._read("facts of the host", self._read_facts()):
            self._facts_changed = True
        if list_due and not await self._read("list of servers", self._read_list()):
            self._list_changed = True
            return False
        for server_id in tuple(self._changed_ids):
            if not self._driver.connected:
                return False
            self._changed_ids.discard(server_id)
            reading = self._read_server(server_id, fresh_sizes=list_due)
            if await self._read(f"server {server_id}", reading):
                self.unread_ids.discard(server_id)
            else:
                self.unread_ids.add(server_id)
        self._changed_ids |= self.unread_ids
        if list_due and not self.listed:
            self.listed = True
            self._on_change()
        return not (self.unread_ids or self._facts_changed)

    async def _read(self, what: str, reading: Coroutine[Any, Any, None]) -> bool:
        """Whether libvirt answered; one guest that hangs does not hide the others."""
        try:
            await reading
        except GodwitError as error:
            _log.warning("%s not read: %s", what, error.message)
            return False
        return True

    async def _read_list(self) -> None:
        self._changed_ids |= {*self.servers, *await self._driver.server_ids()}

    async def _read_facts(self) -> None:
        facts = await self._driver.facts()
        if facts != self.facts:
            self.facts = facts
            self._publish(facts)
            self._on_change()

    async def _read_server(self, server_id: str, *, fresh_sizes: bool) -> None:
        guest = await self._driver.guest(server_id)
        known = self.servers.get(server_id)
        if guest is None:
            if known is not None:
                _log.info("%r is gone", known.facts.name)
                del self.servers[server_id]
                if server_id not in self._doubted_ids:
                    self.removed_ids.add(server_id)
                self._publish(ServerGone(server_id=server_id))
                self._on_change()
            return
        self._doubted_ids.discard(server_id)
        self.removed_ids.discard(server_id)
        disks = await self._disks(guest, known, fresh_sizes=fresh_sizes)
        facts = server_facts(
            guest.definition,
            guest.state,
            disks=disks,
            incoming=guest.incoming,
            snapshot_names=guest.snapshot_names,
        )
        server = Server(facts=facts, saved_xml=guest.saved_xml)
        if server == known:
            return
        self.servers[server_id] = server
        if known is None or known.facts != facts:
            _log.info("%r is %s (%s)", facts.name, facts.state, facts.state_detail)
            self._publish(facts)
        self._on_change()

    async def _disks(
        self, guest: Guest, known: Server | None, *, fresh_sizes: bool
    ) -> tuple[Disk, ...]:
        sources = [one.disk.source for one in guest.definition.disks]
        if (
            known is not None
            and not fresh_sizes
            and sources == [disk.source for disk in known.facts.disks]
        ):
            return known.facts.disks
        pools = () if self.facts is None else self.facts.pools
        return await self._driver.disks(guest, pools)


def facts_of(inventory: Inventory) -> HostFacts:
    """What this host is.

    Raises:
        GodwitError: ``LIBVIRT`` before libvirtd has answered.
    """
    if inventory.facts is None:
        raise GodwitError(ErrorCode.LIBVIRT, "libvirtd has not answered yet on this host")
    return inventory.facts
