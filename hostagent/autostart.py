"""Starting servers again that fell with their host, by its fence, or as a migration broke."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import NoReturn

import libvirt

from hostagent.driver import LibvirtDriver
from hostagent.inventory import Inventory
from hostagent.ownership import BadRecord, Ownership, decode_record
from hostagent.starting import Starts
from wire.errors import GodwitError
from wire.etcd import Etcd
from wire.fleet import OwnerPhase, PowerState, ServerRecord
from wire.keys import SERVERS

_log = logging.getLogger(__name__)

_SURE_S = 10.0
"""libvirtd takes a moment to see that a guest is dead: what is on until then is on."""
_LOOK_SOON_S = 1.0
_LOOK_S = 5.0
_AUTOSTART_OFF_S = 30.0

FELL = {
    "": "libvirt does not know why it is off: the host, or libvirtd, was started anew",
    "crashed": "its QEMU ended without being asked",
    "failed": "it could not be started or was lost",
    "daemon": "libvirtd ended it",
}
"""libvirt's reasons for a domain that nobody switched off, and what they mean."""


def is_wanted(record: ServerRecord) -> bool:
    """Whether its owner starts a server by itself."""
    return record.owner.phase is OwnerPhase.SETTLED and record.runs_again


class Autostart:
    """libvirt's own autostart is switched off: it asks nobody whose a server is.

    A server that was killed while it was being moved is nobody's until that is decided: it is
    remembered, and started once its record is settled here.
    """

    def __init__(
        self,
        etcd: Etcd,
        driver: LibvirtDriver,
        inventory: Inventory,
        ownership: Ownership,
        starts: Starts,
        *,
        host_shuts_down: Callable[[], bool],
    ) -> None:
        self._etcd = etcd
        self._driver = driver
        self._inventory = inventory
        self._ownership = ownership
        self._starts = starts
        self._host_shuts_down = host_shuts_down
        self._due = False
        self._wake = asyncio.Event()
        self._began_s = 0.0
        self._waiting_ids: set[str] = set()
        """Whose fate is open: a migration holds them, or they are off and wanted on."""
        self._told: dict[str, str] = {}

    def begin(self) -> None:
        """The host is ready, or has its libvirtd back: look which servers fell."""
        self._due = True
        self._wake.set()

    def look_after(self, server_id: str) -> None:
        """A migration of this server broke: start it here if that ends its QEMU."""
        self._waiting_ids.add(server_id)
        self._began_s = time.monotonic()
        self._wake.set()

    async def run(self) -> NoReturn:
        """Start what is due, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            self._wake.clear()
            await self._keep_libvirts_off()
            if self._due:
                await self._gather()
            if not self._host_shuts_down():
                await self._look()

    def _pause_s(self) -> float:
        if self._due:
            return _LOOK_SOON_S
        if not self._waiting_ids:
            return _AUTOSTART_OFF_S
        return _LOOK_S if self._is_sure() else _LOOK_SOON_S

    def _is_sure(self) -> bool:
        return time.monotonic() - self._began_s > _SURE_S

    async def _gather(self) -> None:
        """Note every server of this host, and every one that a migration brings here."""
        facts = self._inventory.facts
        if facts is None:
            return
        self._due = False
        try:
            listing = await asyncio.to_thread(self._etcd.list, SERVERS)
        except GodwitError as error:
            _log.warning("nothing is started yet: %s", error.message)
            self._due = True
            return
        self._began_s = time.monotonic()
        for item in listing.items:
            with contextlib.suppress(BadRecord):
                owner = decode_record(item.key, item.value).owner
                if facts.host_id in {owner.host_id, owner.target_host_id}:
                    self._waiting_ids.add(item.key.removeprefix(SERVERS))

    async def _look(self) -> None:
        facts = self._inventory.facts
        if facts is None:
            return
        for server_id in tuple(self._waiting_ids):
            try:
                if await self._is_over(server_id, facts.host_id):
                    self._waiting_ids.discard(server_id)
                    self._told.pop(server_id, None)
            except GodwitError as error:
                if self._told.get(server_id) != error.message:
                    self._told[server_id] = error.message
                    _log.warning("%s is not started: %s", server_id, error.message)

    async def _is_over(self, server_id: str, host_id: str) -> bool:
        """Start a server if that is due; whether nothing is to be done for it any more."""
        known = self._inventory.servers.get(server_id)
        if known and known.facts.state is not PowerState.SHUT_OFF and not self._is_sure():
            return False
        record = await self._ownership.record(server_id)
        if record is None:
            return True
        if not is_wanted(record) or record.owner.host_id != host_id:
            here = host_id in {record.owner.host_id, record.owner.target_host_id}
            return record.owner.phase is OwnerPhase.SETTLED or not here
        truth = await self._driver.truth(server_id)
        if truth.state is not PowerState.SHUT_OFF or truth.state_detail not in FELL:
            return truth.state is not PowerState.ABSENT and self._is_sure()
        started = await self._starts.start(server_id, host_id=host_id, if_so=is_wanted)
        if started:
            _log.info(
                "%r is started: it is wanted on, and %s", record.name, FELL[truth.state_detail]
            )
        return started

    async def _keep_libvirts_off(self) -> None:
        if not self._driver.connected:
            return
        try:
            await self._driver.call("switch autostart off", _switch_off)
        except GodwitError as error:
            _log.warning("autostart is not switched off: %s", error.message)


def _switch_off(handle: libvirt.virConnect) -> None:
    for domain in handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART):
        _log.info("%r: libvirt's autostart is switched off, Godwit decides", domain.name())
        domain.setAutostart(0)
