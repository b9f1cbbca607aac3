"""Reading the time to live of every health key's lease, each second.

Keys alone show a host that is lost; their leases show one that is late before, and until when the
lease of a lost one may have lived: a key may be deleted, and a lease revoked, by hand.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import ParamSpec, TypeVar

import msgspec

from backend.fleet.known import Fleet
from backend.health.sightings import UNKNOWN_TTL_S, Sighting, Sightings
from wire import keys
from wire.etcd import Etcd, EtcdUnreachable, KeyValue, LeaseLife
from wire.lease import boot_clock_s
from wire.life import HealthValue

_log = logging.getLogger(__name__)

_ROUND_S = 1.0
_PAUSE_S = 0.1
"""Between two rounds at least, however many keys vanish."""
_BATCH = 64
"""Leases asked for at once: more do not make it faster."""

ArgsT = ParamSpec("ArgsT")
ResultT = TypeVar("ResultT")


class Leases:
    """Looks at the leases for as long as :meth:`run` runs."""

    def __init__(self, etcd: Etcd, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet
        self._sightings = Sightings()
        self._counted: dict[str, int] = {}
        """host_id → epoch of the life whose lease was seen alive last, or was missed for good."""
        self._failing = ""

    def left_s(self, host_id: str) -> int | None:
        """What a host's lease had left when last looked at, in whole seconds."""
        return self._sightings.left_s(host_id)

    def cannot_live_before(self, host_id: str) -> float | None:
        """Say when no lease that a host ever took can live any more.

        Holds once the host's health key is seen to be absent, in a linearizable read. If its lease
        did not run out before this backend's eyes (it was revoked, etcd was away, this backend has
        just started), a whole TTL counts from the moment at which it was first seen to be gone.

        Returns:
            Seconds of CLOCK_BOOTTIME (:func:`wire.lease.boot_clock_s`); None while nobody can say.
        """
        if self._counted.get(host_id) != self._epoch(host_id):
            return None
        return self._sightings.bound_s(host_id)

    async def run(self) -> None:
        """Look for ever, in a thread of its own: others may all wait for an etcd that hangs."""
        with _thread() as thread:
            while True:
                began_s = boot_clock_s()
                try:
                    await self._look(thread)
                except EtcdUnreachable as error:
                    self._note_failure(error.message)
                else:
                    self._note_failure("")
                await asyncio.sleep(_PAUSE_S)
                await self._next_round(began_s + _ROUND_S)

    async def _next_round(self, at_s: float) -> None:
        """Wait for the next second, or for a health key to vanish: its lease matters at once."""
        lost = self._fleet.key_lost
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at_s - boot_clock_s())):
                await lost.wait()
        lost.clear()

    async def _look(self, thread: ThreadPoolExecutor) -> None:
        listing = await _in(thread, self._etcd.list, keys.HEALTH)
        present = {item.key.removeprefix(keys.HEALTH): item for item in listing.items}
        leases = {host_id: item.lease_id for host_id, item in present.items() if item.lease_id}
        lives = {host_id: _epoch_told(item) for host_id, item in present.items()}
        self._note_absent(present)
        for batch in _batches(self._sightings.due(leases, boot_clock_s())):
            asked_s = boot_clock_s()
            seen, answered_s = await _in(thread, self._ask, tuple(batch.values()))
            for host_id, life in zip(batch, seen, strict=True):
                # overdue and not dropped yet: a new leader of etcd may still give it a whole TTL
                overdue = life.gone and host_id in leases
                if not overdue:
                    self._take(host_id, life, asked_s=asked_s, answered_s=answered_s)
                    if host_id in lives and not life.gone:
                        self._counted[host_id] = lives[host_id]

    def _ask(self, lease_ids: tuple[int, ...]) -> tuple[tuple[LeaseLife, ...], float]:
        return self._etcd.lease_lives(lease_ids), boot_clock_s()

    def _take(self, host_id: str, life: LeaseLife, *, asked_s: float, answered_s: float) -> None:
        granted_s = life.granted_s or self._ttl_s(host_id)
        seen = Sighting(
            lease_id=life.lease_id,
            left_s=life.left_s,
            granted_s=granted_s,
            asked_s=asked_s,
            answered_s=answered_s,
        )
        self._sightings.take(host_id, seen)
        if seen.gone:
            return
        late = f"{seen.left_s} s left of {granted_s}" if seen.late else None
        self._fleet.put_late(host_id, late)

    def _note_absent(self, present: Mapping[str, object]) -> None:
        now_s = boot_clock_s()
        known = {**self._fleet.lives, **self._fleet.facts}
        for host_id in known.keys() - present.keys():
            if self._counted.get(host_id) != self._epoch(host_id):
                # a whole life went by that nobody here saw
                self._sightings.take_absent(host_id, self._ttl_s(host_id), now_s)
                self._counted[host_id] = self._epoch(host_id)
        self._sightings.forget({**known, **present})
        for host_id in self._counted.keys() - known.keys() - present.keys():
            del self._counted[host_id]

    def _epoch(self, host_id: str) -> int:
        life = self._fleet.lives.get(host_id)
        return life.epoch if life else 0

    def _ttl_s(self, host_id: str) -> int:
        life = self._fleet.lives.get(host_id) or self._fleet.health.get(host_id)
        return (life.ttl_s if life else 0) or UNKNOWN_TTL_S

    def _note_failure(self, reason: str) -> None:
        if reason and reason != self._failing:
            _log.warning("leases of health keys cannot be read: %s", reason)
        self._failing = reason


def _epoch_told(item: KeyValue) -> int:
    """The epoch that a health key tells itself: what is known of lives may be ahead of it."""
    try:
        return msgspec.json.decode(item.value, type=HealthValue).epoch
    except msgspec.DecodeError:
        return -1


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "leases")


async def _in(
    thread: ThreadPoolExecutor,
    operation: Callable[ArgsT, ResultT],
    *args: ArgsT.args,
    **kwargs: ArgsT.kwargs,
) -> ResultT:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(thread, lambda: operation(*args, **kwargs))


def _batches(leases: dict[str, int]) -> Iterator[dict[str, int]]:
    rest = iter(leases.items())
    while batch := dict(islice(rest, _BATCH)):
        yield batch
