"""Evacuations in etcd, written by the leading backend alone."""

import asyncio
from collections.abc import Callable

import msgspec

from backend.fleet.known import Fleet
from backend.leader_writes import LeaderWrites, NotLeadingAnyMore, unchanged
from backend.migrations.notes import now_ms
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Condition, KeyValue, Write
from wire.evacuation import Evacuation
from wire.migration import Note

KEPT = 200
"""Ended evacuations that stay in etcd, the newest ones; each holds a line for every server."""
_TRIM_BATCH = 100
"""etcd takes 128 operations in one transaction by default."""
_TRIES = 5
_PATIENCE_S = 5.0
"""So long etcd is asked who leads."""


class Evacuations:
    """What is done to them. Successful writes are put into the fleet model at once.

    Every call raises GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
    """

    def __init__(self, etcd: LeaderWrites, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet

    async def begin(self, evacuation: Evacuation) -> Evacuation:
        """Write a new evacuation; its id is new."""
        when = [Condition(key=_key(evacuation), mod_revision=0)]
        done = await self._etcd.transact(when, [_put(evacuation)])
        if not done:
            await self._check_leading()
            raise GodwitError(
                ErrorCode.CONFLICT,
                f"etcd already holds an evacuation {evacuation.evacuation_id}; ask again",
            )
        self._tell(evacuation, done)
        return evacuation

    async def change(
        self, evacuation_id: str, change: Callable[[Evacuation], Evacuation]
    ) -> Evacuation:
        """Change an evacuation; nothing is read or written if it stays as it is.

        Args:
            evacuation_id: whose.
            change: from the record as it is to what it should be; may be called again.

        Raises:
            GodwitError: NOT_FOUND besides, and CONFLICT when it changes all the time.
        """
        shown = self._fleet.evacuations.get(evacuation_id)
        if shown is not None and change(shown) == shown:
            return shown
        for _ in range(_TRIES):
            item, known = await self._read(evacuation_id)
            if item is None or known is None:
                raise not_found(evacuation_id)
            wanted = change(known)
            if wanted == known:
                self._tell(known, item.mod_revision)
                return known
            done = await self._etcd.transact([unchanged(item)], [_put(wanted)])
            if done:
                self._tell(wanted, done)
                return wanted
            await self._check_leading()
        raise GodwitError(
            ErrorCode.CONFLICT, f"the evacuation {evacuation_id} keeps changing in etcd; try again"
        )

    async def trim(self) -> None:
        """Delete the oldest ended evacuations beyond :data:`KEPT`."""
        old = too_old(tuple(self._fleet.evacuations.values()))[:_TRIM_BATCH]
        if not old:
            return
        if not await self._etcd.transact([], [Write(key=_key(one), value=None) for one in old]):
            raise NotLeadingAnyMore
        for one in old:
            self._fleet.written.pop(_key(one), None)
            self._fleet.put_evacuation(one.evacuation_id, None)

    async def _check_leading(self) -> None:
        """Say why a transaction failed if that is why; a lock is held meanwhile."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._etcd.check_leading()
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd did not say within {_PATIENCE_S:g} s who leads; nothing was changed",
            ) from None

    async def _read(self, evacuation_id: str) -> tuple[KeyValue | None, Evacuation | None]:
        item = await self._etcd.get(keys.EVACUATIONS + evacuation_id)
        if item is None:
            return None, None
        try:
            return item, msgspec.json.decode(item.value, type=Evacuation)
        except msgspec.DecodeError as error:
            raise GodwitError(
                ErrorCode.CONFLICT,
                f"the record of the evacuation {evacuation_id} in etcd cannot be read: {error}",
            ) from None

    def _tell(self, evacuation: Evacuation, revision: int) -> None:
        self._fleet.written[_key(evacuation)] = revision
        self._fleet.put_evacuation(evacuation.evacuation_id, evacuation)


def too_old(evacuations: tuple[Evacuation, ...]) -> list[Evacuation]:
    """List the ended evacuations beyond those that stay, oldest first."""
    ended = sorted((one for one in evacuations if not one.open), key=lambda one: one.created_at_ms)
    return ended[: max(0, len(ended) - KEPT)]


def noted(evacuation: Evacuation, text: str, *, by: str = "") -> Evacuation:
    """Add a note, unless it would repeat the last one word for word."""
    notes = evacuation.notes
    if notes and (notes[-1].text, notes[-1].by) == (text, by):
        return evacuation
    note = Note(at_ms=now_ms(), text=text, by=by)
    return msgspec.structs.replace(evacuation, notes=(*notes, note))


def not_found(evacuation_id: str) -> GodwitError:
    """Say that there is no such evacuation."""
    return GodwitError(ErrorCode.NOT_FOUND, f"no evacuation has the id {evacuation_id!r}")


def _key(evacuation: Evacuation) -> str:
    return keys.EVACUATIONS + evacuation.evacuation_id


def _put(evacuation: Evacuation) -> Write:
    return Write(key=_key(evacuation), value=msgspec.json.encode(evacuation))
