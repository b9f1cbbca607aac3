"""Writes that hold only while this backend leads."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, ParamSpec, TypeVar

import msgspec

from backend.audit.act import not_entered
from backend.leader import Leadership
from wire import keys
from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Condition, Etcd, EtcdUnreachable, KeyValue, Write

_log = logging.getLogger(__name__)

NOTHING_IS_WRITTEN = frozenset({ErrorCode.NOT_LEADING, ErrorCode.ETCD_UNREACHABLE})
"""Refusals of every write alike, which say nothing of what was to be written."""
TRIM_BATCH = 100
"""Old records that go at once: etcd takes 128 operations in one transaction by default."""
_RETRY_S = 0.5
_TRIES = 5
"""Somebody else may change a record while we do: so often it is read again."""
_PATIENCE_S = 5.0
"""So long etcd is asked who leads, where somebody waits for an answer."""

ArgsT = ParamSpec("ArgsT")
ResultT = TypeVar("ResultT")
RecordT = TypeVar("RecordT", bound=msgspec.Struct)


class NotLeadingAnyMore(GodwitError):
    """Another backend drives migrations now; whatever this one began, that one carries on."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.NOT_LEADING, "this backend has just lost its leadership; nothing was changed"
        )


class Swapped(msgspec.Struct, Generic[RecordT], frozen=True, kw_only=True):
    """A record as it stands after a change."""

    record: RecordT
    revision: int
    """Of the key; 0 while nobody has written it."""
    changed: bool


class LeaderWrites:
    """etcd for the leading backend; every call runs in a thread."""

    def __init__(self, etcd: Etcd, leadership: Leadership) -> None:
        self._etcd = etcd
        self._leadership = leadership

    async def get(self, key: str) -> KeyValue | None:
        """Read one key, linearizably.

        Raises:
            EtcdUnreachable: as for every call here.
        """
        return await asyncio.to_thread(self._etcd.get, key)

    async def read(self, key: str, kind: type[RecordT]) -> tuple[KeyValue | None, RecordT | None]:
        """Read one record, linearizably.

        Raises:
            GodwitError: CONFLICT for a record that cannot be read.
        """
        item = await self.get(key)
        if item is None:
            return None, None
        try:
            return item, msgspec.json.decode(item.value, type=kind)
        except msgspec.DecodeError as error:
            raise conflict(f"what etcd holds under {key} cannot be read: {error}") from None

    async def transact(self, when: Sequence[Condition], then: Sequence[Write]) -> int:
        """Do all writes if every condition holds and this backend still leads.

        The first ones that are done for a person's act enter it in the audit.

        Returns:
            The store's revision; 0 if nothing was done.
        """
        guarded = [*when, self._leadership.condition]
        act = not_entered()
        if act is not None:
            then = [*then, act.write]
        done = await asyncio.to_thread(self._etcd.transact, when=guarded, then=then)
        if act is not None:
            act.revision = act.revision or done
        return done

    async def write(self, then: Sequence[Write]) -> int:
        """Do writes whatever stands there, and give the store's revision.

        Raises:
            NotLeadingAnyMore: the term is over.
        """
        done = await self.transact([], then)
        if not done:
            raise NotLeadingAnyMore
        return done

    async def change(
        self,
        key: str,
        kind: type[RecordT],
        change: Callable[[RecordT], RecordT],
        *,
        absent: RecordT | GodwitError,
    ) -> Swapped[RecordT]:
        """Compare and swap a record; nothing is written if it stays as it is.

        Args:
            key: where it stands.
            kind: its type.
            change: from the record as it is to what it should be; may be called again.
            absent: what it counts as while nobody has written it, or what is raised then.

        Raises:
            GodwitError: NOT_LEADING; CONFLICT when it changes all the time, or cannot be read.
        """
        for _ in range(_TRIES):
            item, known = await self.read(key, kind)
            if known is None:
                if isinstance(absent, GodwitError):
                    raise absent
                known = absent
            wanted = change(known)
            if wanted == known:
                revision = item.mod_revision if item else 0
                return Swapped(record=known, revision=revision, changed=False)
            when = unchanged(item) if item else Condition(key=key, mod_revision=0)
            value = msgspec.json.encode(wanted)
            done = await self.transact([when], [Write(key=key, value=value)])
            if done:
                return Swapped(record=wanted, revision=done, changed=True)
            await self.check_leading_soon()
        raise conflict(f"{key} keeps changing in etcd; try again")

    async def check_leading(self) -> None:
        """Say why a transaction failed if that is why; waits for etcd.

        Raises:
            NotLeadingAnyMore: the term is over.
        """
        condition = self._leadership.condition
        item = await persist(asyncio.to_thread, self._etcd.get, keys.LEADER)
        if item is None or item.mod_revision != condition.mod_revision:
            raise NotLeadingAnyMore

    async def check_leading_soon(self) -> None:
        """The same where somebody waits, or a lock is held: etcd is not waited for without end.

        Raises:
            NotLeadingAnyMore: the term is over.
            GodwitError: ETCD_UNREACHABLE.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.check_leading()
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd did not say within {_PATIENCE_S:g} s who leads; nothing was changed",
            ) from None


async def persist(
    operation: Callable[ArgsT, Awaitable[ResultT]], *args: ArgsT.args, **kwargs: ArgsT.kwargs
) -> ResultT:
    """Repeat an operation until etcd answers. A write that was done unseen is found by reading."""
    while True:
        try:
            return await operation(*args, **kwargs)
        except EtcdUnreachable as error:
            _log.warning("journal waits: %s", error.message)
            await asyncio.sleep(_RETRY_S)


def unchanged(item: KeyValue) -> Condition:
    """Holds while a key is as it was read."""
    return Condition(key=item.key, mod_revision=item.mod_revision)
