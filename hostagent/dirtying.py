"""How fast each running guest dirties its memory, sampled in the background, one at a time."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import msgspec

from hostagent import dirty_rate
from hostagent.dirty_rate import Measured
from hostagent.driver import LibvirtDriver
from hostagent.inventory import Inventory
from wire.errors import GodwitError
from wire.fleet import PowerState
from wire.forecast import Dirtying, DirtySample

_log = logging.getLogger(__name__)

WINDOWS_S = (1, 3)
LONG_WINDOW_S = 10
"""For guests whose hot memory is larger than what they dirty in the others."""
_EVERY_S = 180.0
_AGAIN_S = 60.0
"""After the first time: a guest that boots dirties memory as it never will again."""
_SETTLED_S = 5.0
"""A guest that was just started, or has just arrived, is let alone for so long."""
_LOOK_S = 1.0
_ANSWER_S = 0.25
_LATE_S = 5.0
"""So much later than its window an answer is waited for."""
_GROWS = 1.5
_NOTABLE_BYTES = 8 << 20
"""Below that a guest is idle for any link, whatever its hot memory is."""


class Sampling:
    """Measures guests for as long as :meth:`run` runs; never one that migrates."""

    def __init__(
        self,
        driver: LibvirtDriver,
        inventory: Inventory,
        *,
        may_ask: Callable[[str], bool],
        publish: Callable[[msgspec.Struct], None],
    ) -> None:
        """Begin with nothing known.

        Args:
            driver: this host's libvirt.
            inventory: its servers.
            may_ask: whether a server is to be measured now: it has no job, and its host is ready.
            publish: told each :class:`Dirtying`.
        """
        self._driver = driver
        self._inventory = inventory
        self._may_ask = may_ask
        self._publish = publish
        self._latest: dict[str, Dirtying] = {}
        self._due_s: dict[str, float] = {}

    def all(self) -> tuple[Dirtying, ...]:
        """The latest of each running guest that was measured."""
        return tuple(self._latest.values())

    async def run(self) -> NoReturn:
        """Measure whoever is due, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._measure_next()
            except Exception:  # noqa: BLE001 - told, and the next one is measured
                _log.exception("no dirty rate measured")  # it only helps, and must end no agent

    async def _measure_next(self) -> None:
        server_id = self._next()
        if server_id is None:
            return
        try:
            await self._measure(server_id)
        except GodwitError as error:
            _log.info("%s: dirty rate not measured: %s", server_id, error.message)

    def _next(self) -> str | None:
        """Who has waited longest beyond its time; those that run no more are forgotten."""
        now_s = time.monotonic()
        running = {
            server_id
            for server_id, server in self._inventory.servers.items()
            if server.facts.state is PowerState.RUNNING
        }
        for gone in self._due_s.keys() - running:
            del self._due_s[gone]
            self._latest.pop(gone, None)
        for server_id in running:
            self._due_s.setdefault(server_id, now_s + _SETTLED_S)
        due = [
            (due_s, server_id)
            for server_id, due_s in self._due_s.items()
            if due_s <= now_s and self._may_ask(server_id)
        ]
        return min(due)[1] if due and self._driver.connected else None

    async def _measure(self, server_id: str) -> None:
        again_s = _EVERY_S if server_id in self._latest else _AGAIN_S
        self._due_s[server_id] = time.monotonic() + again_s
        samples: list[DirtySample] = []
        resident_bytes = 0
        for window_s in (*WINDOWS_S, LONG_WINDOW_S):
            if window_s == LONG_WINDOW_S and not still_grows(samples):
                break
            found = await self._window(server_id, window_s)
            if found is None:
                break
            resident_bytes = found.resident_bytes
            samples.append(
                DirtySample(
                    window_ms=found.window_ms,
                    dirtied_bytes=found.dirtied_bytes,
                    at_ms=time.time_ns() // 1_000_000,
                )
            )
        if len(samples) >= len(WINDOWS_S) and server_id in self._due_s:
            told = Dirtying(
                server_id=server_id, samples=tuple(samples), resident_bytes=resident_bytes
            )
            self._latest[server_id] = told
            self._publish(told)

    async def _window(self, server_id: str, window_s: int) -> Measured | None:
        """Measure over one window; None if the guest is busy otherwise by then."""
        if not self._may_ask(server_id):
            return None
        start = partial(dirty_rate.start, server_id=server_id, window_s=window_s)
        if not await self._driver.call("start to measure a dirty rate", start):
            return None
        await asyncio.sleep(window_s)
        give_up_s = time.monotonic() + _LATE_S
        while self._may_ask(server_id) and time.monotonic() < give_up_s:
            read = partial(dirty_rate.read, server_id=server_id)
            found = await self._driver.call("tell a dirty rate", read)
            if found is not None and found.window_ms == window_s * 1000:
                return found
            await asyncio.sleep(_ANSWER_S)
        return None


def still_grows(samples: list[DirtySample]) -> bool:
    """Whether the windows so far do not show where a guest's hot memory ends."""
    if len(samples) < len(WINDOWS_S):
        return False
    first, last = samples[0].dirtied_bytes, samples[-1].dirtied_bytes
    return last >= _NOTABLE_BYTES and last > _GROWS * first
