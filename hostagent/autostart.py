"""Starting servers again that ran before their host went, or its fence killed them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NoReturn

import libvirt

from hostagent.driver import LibvirtDriver
from hostagent.inventory import Inventory
from hostagent.starting import Starts
from wire.errors import GodwitError
from wire.fleet import OwnerPhase, PowerState, ServerRecord

_log = logging.getLogger(__name__)

_LOOKS_AFTER_S = (0.0, 1.0, 3.0, 6.0, 10.0)
"""libvirtd takes a moment to see that a guest is dead, and a start can fail for a while."""
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
    settled = record.owner.phase is OwnerPhase.SETTLED
    return settled and record.wanted_on and not record.suspended


class Autostart:
    """libvirt's own autostart is switched off: it asks nobody whose a server is."""

    def __init__(
        self,
        driver: LibvirtDriver,
        inventory: Inventory,
        starts: Starts,
        *,
        host_shuts_down: Callable[[], bool],
    ) -> None:
        self._driver = driver
        self._inventory = inventory
        self._starts = starts
        self._host_shuts_down = host_shuts_down
        self._due = asyncio.Event()

    def begin(self) -> None:
        """The host is ready, or has its libvirtd back: look which servers fell."""
        self._due.set()

    async def run(self) -> NoReturn:
        """Start what is due, for ever."""
        while True:
            due = await self._wait()
            await self._keep_libvirts_off()
            if due:
                await self._start_what_fell()

    async def _wait(self) -> bool:
        """Whether it is due, or only time to look after libvirt's own."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AUTOSTART_OFF_S):
                await self._due.wait()
        due = self._due.is_set()
        self._due.clear()
        return due

    async def _start_what_fell(self) -> None:
        started: set[str] = set()
        waited_s = 0.0
        for after_s in _LOOKS_AFTER_S:
            await asyncio.sleep(after_s - waited_s)
            waited_s = after_s
            if not self._host_shuts_down():
                await self._look(started)

    async def _look(self, started: set[str]) -> None:
        facts = self._inventory.facts
        if facts is None:
            return
        for server_id, server in tuple(self._inventory.servers.items()):
            if server_id in started or server.facts.state is not PowerState.SHUT_OFF:
                continue
            try:
                truth = await self._driver.truth(server_id)
                if truth.state is not PowerState.SHUT_OFF or truth.state_detail not in FELL:
                    continue
                if await self._starts.start(server_id, host_id=facts.host_id, if_so=is_wanted):
                    started.add(server_id)
                    _log.info(
                        "%r is started: it is wanted on, and %s",
                        server.facts.name,
                        FELL[truth.state_detail],
                    )
            except GodwitError as error:
                _log.warning("%r is not started: %s", server.facts.name, error.message)

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
