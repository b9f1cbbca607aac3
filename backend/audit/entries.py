"""The audit in etcd, written by the leading backend alone."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from backend.audit.act import carrying_out
from backend.fleet.known import Fleet
from backend.leader_writes import TRIM_BATCH, LeaderWrites
from wire.audit import KEPT, AuditEntry
from wire.errors import GodwitError
from wire.etcd import Write
from wire.keys import AUDIT

_log = logging.getLogger(__name__)

_TRIM_EVERY_S = 60.0


class Audit:
    """What is done to it. Entries are put into the fleet model at once."""

    def __init__(self, etcd: LeaderWrites, fleet: Fleet) -> None:
        self._etcd = etcd
        self._fleet = fleet

    @contextmanager
    def entered(self, entry: AuditEntry) -> Iterator[None]:
        """Enter an act with the first change that is made meanwhile; what changes nothing is not.

        Where etcd took it and its answer was lost, the watch brings the entry.
        """
        with carrying_out(entry) as act:
            try:
                yield
            finally:
                if act.revision:
                    self._fleet.written[act.key] = act.revision
                    self._fleet.put_audit(entry.entry_id, entry)

    async def lead(self) -> NoReturn:
        """Keep the audit short, for ever."""
        while True:
            try:
                while not self._fleet.etcd_error and await self.trim():
                    pass
            except GodwitError as error:
                _log.warning("audit not trimmed: %s", error.message)
            await asyncio.sleep(_TRIM_EVERY_S)

    async def trim(self) -> int:
        """Delete some of the oldest entries beyond :data:`wire.audit.KEPT`, and tell how many.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        old = too_old(tuple(self._fleet.audit.values()))[:TRIM_BATCH]
        if old:
            await self._etcd.write([Write(key=AUDIT + one.entry_id, value=None) for one in old])
        for one in old:
            self._fleet.written.pop(AUDIT + one.entry_id, None)
            self._fleet.put_audit(one.entry_id, None)
        return len(old)


def too_old(entries: tuple[AuditEntry, ...]) -> list[AuditEntry]:
    """List the entries beyond those that stay, oldest first."""
    return sorted(entries, key=lambda one: one.at_ms)[: max(0, len(entries) - KEPT)]
