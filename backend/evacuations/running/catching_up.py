"""Asking etcd for what the watches have not told yet: they run apart, and may be behind."""

import asyncio
import logging
from collections.abc import Iterable

from backend.evacuations.records import Evacuations
from backend.fleet.known import Fleet
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.journal import Journal
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation, MoveState

_log = logging.getLogger(__name__)

_PATIENCE_S = 5.0
"""So long etcd is asked for one record; a lock is held meanwhile."""


async def read_anew(records: Evacuations, evacuations: Iterable[Evacuation]) -> None:
    """Read what the leader before this one wrote last of these, a pause for example.

    Raises:
        GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
    """
    for one in evacuations:
        try:
            await records.read(one.evacuation_id)
        except GodwitError as error:
            if error.code in NOTHING_IS_WRITTEN:
                raise
            _log.warning("%s", error.message)


async def find_moves(journal: Journal, fleet: Fleet, evacuation: Evacuation) -> None:
    """Read the moves that an evacuation has noted and this backend has not heard of.

    Raises:
        GodwitError: ETCD_UNREACHABLE.
    """
    for one in evacuation.servers:
        if one.state is not MoveState.MOVING or one.migration_id in fleet.migrations:
            continue
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await journal.read(one.migration_id)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd does not say what has become of migration {one.migration_id}",
            ) from None
        if found is not None:
            fleet.put_migration(found.migration_id, found)
