"""A migration's first step: choosing the target, in the same way for every kind."""

import asyncio
import time

import msgspec

from backend.forecast.forecasts import forecast_of
from backend.migrations.choice import choose
from backend.migrations.drive import ASK_AGAIN_S, Drive, NotBegun
from wire.candidates import Candidate
from wire.errors import GodwitError
from wire.forecast import Forecast
from wire.migration import Migration, MigrationState

SETTLE_S = 10.0
"""Agents that restart, or that a new leader has not reached yet, get this long to answer."""


async def schedule(drive: Drive, migration: Migration) -> Migration:
    """Choose the target, and write it into journal and ownership in one transaction.

    Raises:
        NotBegun: there is none, or it was cancelled.
    """
    migration = await drive.advance(migration.migration_id, MigrationState.SCHEDULING)
    if migration.target_host_id:
        return migration
    target = await _chosen(drive, migration)
    scheduled = msgspec.structs.replace(
        migration,
        target_host_id=target.host_id,
        target_host_name=target.host_name,
        risk=target.risk,
        safe=target.safe,
        forecast=_forecast(drive, migration, target.host_id),
    )
    return await drive.journal.advance_with_owner(
        scheduled,
        lambda owner: msgspec.structs.replace(owner, target_host_id=target.host_id),
    )


def _forecast(drive: Drive, migration: Migration, target_host_id: str) -> Forecast | None:
    """What the move is expected to take, to be held against what comes."""
    record = drive.fleet.records.get(migration.server_id)
    if record is None or migration.kind == "rescue":
        return None
    return forecast_of(
        drive.fleet,
        drive.jobs,
        record,
        kind=migration.kind,
        options=migration.options,
        target_host_id=target_host_id,
    )


async def _chosen(drive: Drive, migration: Migration) -> Candidate:
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        drive.stop_if_cancelled(migration.migration_id)
        try:
            return await choose(drive.fleet, drive.comparisons, migration)
        except GodwitError as error:
            settling = any(not link.connected for link in drive.fleet.links.values())
            if not settling or time.monotonic() > deadline_s:
                raise NotBegun(error.message) from None
        await asyncio.sleep(ASK_AGAIN_S)
