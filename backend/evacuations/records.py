"""Evacuations in etcd, written by the leading backend alone."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from backend.fleet.known import Fleet
from backend.leader_writes import TRIM_BATCH, LeaderWrites, persist, unchanged
from wire import keys
from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Condition, EtcdUnreachable, Write
from wire.evacuation import Evacuation
from wire.fleet import HostPolicy

KEPT = 200
"""Ended evacuations that stay in etcd, the newest ones; each holds a line for every server."""
NOTES_KEPT = 200
"""Of one evacuation: the first one and the newest ones."""
_BEGUN_BYTES = 1 << 20
"""etcd takes requests of 1.5 MB by default."""
_TRIES = 5
_PATIENCE_S = 5.0
"""So long a beginning whose answer was lost is looked for."""


class Evacuations:
    """What is done to them. Successful writes are put into the fleet model at once.

    Every call raises GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
    """

    def __init__(self, etcd: LeaderWrites, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet

    async def begin(self, evacuations: Sequence[Evacuation], *, maintenance: bool) -> None:
        """Write new evacuations; their ids are new. All of them, or none.

        Only what is too large for one transaction of etcd's is written in several.

        Args:
            evacuations: one for each host.
            maintenance: whether their hosts take no servers from here on.

        Raises:
            GodwitError: CONFLICT besides, when the hosts' policies change all the time.
        """
        for batch in _batches(evacuations):
            await self._begin(batch, maintenance=maintenance)

    async def _begin(self, evacuations: Sequence[Evacuation], *, maintenance: bool) -> None:
        for _ in range(_TRIES):
            when = [Condition(key=_key(one), mod_revision=0) for one in evacuations]
            then = [_put(one) for one in evacuations]
            policies = {}
            for one in evacuations if maintenance else ():
                key = keys.POLICIES + one.host_id
                item, known = await self._etcd.read(key, HostPolicy)
                policy = known or HostPolicy()
                wanted = policies[one.host_id] = msgspec.structs.replace(policy, maintenance=True)
                when.append(unchanged(item) if item else Condition(key=key, mod_revision=0))
                then.append(Write(key=key, value=msgspec.json.encode(wanted)))
            try:
                done = await self._etcd.transact(when, then)
            except EtcdUnreachable:
                done = await self._begun_unseen(evacuations[0])
                if not done:
                    raise
            if done:
                for host_id, policy in policies.items():
                    self._fleet.written[keys.POLICIES + host_id] = done
                    self._fleet.put_policy(host_id, policy)
                for one in evacuations:
                    self._tell(one, done)
                return
            await self._etcd.check_leading_soon()
        names = ", ".join(one.host_name for one in evacuations)
        raise conflict(f"the policies of {names} keep changing in etcd; try again")

    async def _begun_unseen(self, evacuation: Evacuation) -> int:
        """The revision of a beginning that was done although its answer was lost; else 0."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                item = await persist(self._etcd.get, _key(evacuation))
                return item.mod_revision if item else 0
        return 0

    async def change(
        self, evacuation_id: str, change: Callable[[Evacuation], Evacuation]
    ) -> Evacuation:
        """Change an evacuation; nothing is read or written if it stays as it is.

        Args:
            evacuation_id: whose.
            change: from the record as it is to what it should be; may be called again.

        Raises:
            GodwitError: NOT_FOUND besides, and CONFLICT when it changes all the time, or
                cannot be read.
        """
        shown = self._fleet.evacuations.get(evacuation_id)
        if shown is not None and change(shown) == shown:
            return shown
        told = await self._etcd.change(
            keys.EVACUATIONS + evacuation_id,
            Evacuation,
            lambda known: _shortened(change(known)),
            absent=not_found(evacuation_id),
        )
        self._tell(told.record, told.revision)
        return told.record

    async def read(self, evacuation_id: str) -> None:
        """Put an evacuation into the fleet model as etcd has it now, ahead of the watch.

        Raises:
            GodwitError: CONFLICT besides, for a record that cannot be read.
        """
        item, known = await self._etcd.read(keys.EVACUATIONS + evacuation_id, Evacuation)
        if item is not None and known is not None:
            self._tell(known, item.mod_revision)

    async def trim(self) -> None:
        """Delete the oldest ended evacuations beyond :data:`KEPT`."""
        old = too_old(tuple(self._fleet.evacuations.values()))[:TRIM_BATCH]
        if not old:
            return
        await self._etcd.write([Write(key=_key(one), value=None) for one in old])
        for one in old:
            self._fleet.written.pop(_key(one), None)
            self._fleet.put_evacuation(one.evacuation_id, None)

    def _tell(self, evacuation: Evacuation, revision: int) -> None:
        self._fleet.written[_key(evacuation)] = revision
        self._fleet.put_evacuation(evacuation.evacuation_id, evacuation)


def too_old(evacuations: tuple[Evacuation, ...]) -> list[Evacuation]:
    """List the ended evacuations beyond those that stay, oldest first."""
    ended = sorted((one for one in evacuations if not one.open), key=lambda one: one.created_at_ms)
    return ended[: max(0, len(ended) - KEPT)]


def not_found(evacuation_id: str) -> GodwitError:
    """Say that there is no such evacuation."""
    return GodwitError(ErrorCode.NOT_FOUND, f"no evacuation has the id {evacuation_id!r}")


def _batches(evacuations: Sequence[Evacuation]) -> Iterator[list[Evacuation]]:
    """Split what is begun, so that etcd takes each part in one transaction."""
    batch: list[Evacuation] = []
    size_bytes = 0
    for one in evacuations:
        length = len(msgspec.json.encode(one))
        if batch and size_bytes + length > _BEGUN_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(one)
        size_bytes += length
    if batch:
        yield batch


def _shortened(evacuation: Evacuation) -> Evacuation:
    """The same without the notes that no longer fit."""
    notes = evacuation.notes
    if len(notes) <= NOTES_KEPT:
        return evacuation
    return msgspec.structs.replace(evacuation, notes=(notes[0], *notes[1 - NOTES_KEPT :]))


def _key(evacuation: Evacuation) -> str:
    return keys.EVACUATIONS + evacuation.evacuation_id


def _put(evacuation: Evacuation) -> Write:
    return Write(key=_key(evacuation), value=msgspec.json.encode(evacuation))
