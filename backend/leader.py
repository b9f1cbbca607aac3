"""Which of several backends drives migrations: the one that holds the leader key."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wire import keys
from wire.etcd import Condition, Etcd, EtcdUnreachable, Lease
from wire.lease import HeldKey

_log = logging.getLogger(__name__)

TTL_S = 5
"""After a leader's sudden death another backend, or the same one restarted, leads this soon."""
_RETRY_S = 0.5


class Leadership:
    """Runs a duty while this backend leads, and stops it when it does not any more."""

    def __init__(self, etcd: Etcd, name: str) -> None:
        self._etcd = etcd
        self.name = name
        self._turns: asyncio.Queue[bool] = asyncio.Queue()
        self._fence = 0
        self.leading = False

    @property
    def condition(self) -> Condition:
        """Holds in etcd only while this term of leadership lasts: part of every journal write."""
        return Condition(key=keys.LEADER, mod_revision=self._fence)

    async def run(self, duty: Callable[[], Awaitable[None]], on_change: Callable[[], None]) -> None:
        """Stand for leader for ever.

        Args:
            duty: runs while this backend leads; is cancelled when it no longer does.
            on_change: called after each turn.
        """
        loop = asyncio.get_running_loop()

        def turn(*, leads: bool) -> None:
            loop.call_soon_threadsafe(self._turns.put_nowait, leads)

        held = HeldKey(
            self._etcd,
            keys.LEADER,
            ttl_s=TTL_S,
            put=self._take,
            wait_for_absence=True,
            on_held=lambda: turn(leads=True),
            on_lost=lambda: turn(leads=False),
        )
        held.start()
        try:
            await self._take_turns(duty, on_change)
        finally:
            await asyncio.to_thread(held.stop, revoke=True)

    def _take(self, lease: Lease, _sent_s: float) -> bool:
        return self._etcd.create(keys.LEADER, self.name.encode(), lease_id=lease.lease_id)

    async def _take_turns(
        self, duty: Callable[[], Awaitable[None]], on_change: Callable[[], None]
    ) -> None:
        term: asyncio.Task[None] | None = None
        try:
            while True:
                leads = await self._next_turn(term)
                await _end(term)
                term = None
                if self.leading and not leads:
                    _log.warning("%s no longer leads", self.name)
                self.leading = False
                if leads:
                    term = asyncio.create_task(self._lead(duty, on_change), name="leader")
                on_change()
        finally:
            await _end(term)

    async def _next_turn(self, term: asyncio.Task[None] | None) -> bool:
        """Wait for the next turn; a duty that fails meanwhile fails the backend with it."""
        turn = asyncio.create_task(self._turns.get())
        try:
            await asyncio.wait({turn, *([term] if term else [])}, return_when="FIRST_COMPLETED")
            if term is not None and term.done():
                term.result()
            return await turn
        finally:
            turn.cancel()

    async def _lead(
        self, duty: Callable[[], Awaitable[None]], on_change: Callable[[], None]
    ) -> None:
        self._fence = await self._our_revision()
        self.leading = True
        _log.info("%s leads", self.name)
        on_change()
        await duty()

    async def _our_revision(self) -> int:
        """Read the revision at which the key became ours, as soon as etcd answers."""
        while True:
            try:
                item = await asyncio.to_thread(self._etcd.get, keys.LEADER)
            except EtcdUnreachable as error:
                _log.warning("%s does not lead yet: %s", self.name, error.message)
            else:
                if item is not None and item.value.decode() == self.name:
                    return item.mod_revision
            await asyncio.sleep(_RETRY_S)


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
