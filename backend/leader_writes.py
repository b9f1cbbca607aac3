"""Writes that hold only while this backend leads."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from backend.leader import Leadership
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Condition, Etcd, EtcdUnreachable, KeyValue, Write

_log = logging.getLogger(__name__)

_RETRY_S = 0.5

ArgsT = ParamSpec("ArgsT")
ResultT = TypeVar("ResultT")


class NotLeadingAnyMore(GodwitError):
    """Another backend drives migrations now; whatever this one began, that one carries on."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.NOT_LEADING, "this backend has just lost its leadership; nothing was changed"
        )


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

    async def transact(self, when: Sequence[Condition], then: Sequence[Write]) -> int:
        """Do all writes if every condition holds and this backend still leads.

        Returns:
            The store's revision; 0 if nothing was done.
        """
        guarded = [*when, self._leadership.condition]
        return await asyncio.to_thread(self._etcd.transact, when=guarded, then=then)

    async def check_leading(self) -> None:
        """Say why a transaction failed if that is why; waits for etcd.

        Raises:
            NotLeadingAnyMore: the term is over.
        """
        condition = self._leadership.condition
        item = await persist(asyncio.to_thread, self._etcd.get, keys.LEADER)
        if item is None or item.mod_revision != condition.mod_revision:
            raise NotLeadingAnyMore


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
