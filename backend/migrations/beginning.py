"""A migration's first steps: choose the target, check both hosts, tell the source to start."""

import asyncio
import logging
import time

import msgspec

from backend.migrations import ending
from backend.migrations.choice import choose
from backend.migrations.drive import ASK_AGAIN_S, Drive, NotBegun
from backend.migrations.guests import is_offline
from backend.migrations.outcome import Side, side_of
from wire.agent import GuestTruth, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostFacts
from wire.migration import Migration, MigrationState

_log = logging.getLogger(__name__)

_SETTLE_S = 10.0
"""Agents that restart, or that a new leader has not reached yet, get this long to answer."""


async def begin(drive: Drive, migration: Migration) -> None:
    """Take every step that a migration has not taken yet, until its job runs on the source.

    Each step is journaled before it is taken. A migration whose job runs, or may run, is left to
    whoever follows it.

    Raises:
        NotBegun: it ends here, and no guest was touched.
    """
    if await _is_begun(drive, migration):
        return
    migration = await _schedule(drive, migration)
    migration = await _prepare(drive, migration)
    await _start(drive, migration)


async def _is_begun(drive: Drive, migration: Migration) -> bool:
    """Whether the source's agent was told, or may have been told, to move the guest."""
    if migration.state.rank > MigrationState.PREPARING.rank:
        return True
    if not migration.started_at_ms:
        return False
    while not is_offline(drive.fleet, migration.source_host_id):
        try:
            return await drive.ask_for_job(migration)
        except GodwitError as error:
            _log.warning("%s: %s", migration.migration_id, error.message)
        await asyncio.sleep(ASK_AGAIN_S)
    return True


async def _schedule(drive: Drive, migration: Migration) -> Migration:
    """Choose the target, and write it into journal and ownership in one transaction."""
    migration = await drive.advance(migration.migration_id, MigrationState.SCHEDULING)
    if migration.target_host_id:
        return migration
    deadline_s = time.monotonic() + _SETTLE_S
    while True:
        _stop_if_cancelled(drive, migration)
        try:
            target = choose(drive.fleet, migration)
            break
        except GodwitError as error:
            settling = any(not link.connected for link in drive.fleet.links.values())
            if not settling or time.monotonic() > deadline_s:
                raise NotBegun(error.message) from None
        await asyncio.sleep(ASK_AGAIN_S)
    scheduled = msgspec.structs.replace(
        migration, target_host_id=target.host_id, target_host_name=target.host_name
    )
    return await drive.journal.advance_with_owner(
        scheduled,
        lambda owner: msgspec.structs.replace(owner, target_host_id=target.host_id),
    )


async def _prepare(drive: Drive, migration: Migration) -> Migration:
    """Check on both hosts that the guest can start to move.

    A leftover definition on the target that does not run is none of our business: libvirt
    replaces it.
    """
    migration = await drive.advance(migration.migration_id, MigrationState.PREPARING)
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    there, here = await _truths(drive, migration)
    if side_of(there) not in {Side.ABSENT, Side.SHUT_OFF}:
        raise NotBegun(f"{target} already holds {name} ({there.state})")
    if here.job_active:
        raise NotBegun(f"libvirt on {source} already has a job on {name}")
    if side_of(here) is not Side.RUNNING:
        raise NotBegun(f"{name} is {here.state} on {source}, and a live migration needs it running")
    return migration


async def _truths(drive: Drive, migration: Migration) -> tuple[GuestTruth, GuestTruth]:
    """What target and source know of the guest; an agent that restarts is asked again."""
    deadline_s = time.monotonic() + _SETTLE_S
    while True:
        _stop_if_cancelled(drive, migration)
        try:
            there = await drive.target(migration).truth(migration.server_id)
            return there, await drive.source(migration).truth(migration.server_id)
        except GodwitError as error:
            if error.code is not ErrorCode.AGENT_UNREACHABLE or time.monotonic() > deadline_s:
                raise NotBegun(error.message) from None
        await asyncio.sleep(ASK_AGAIN_S)


async def _start(drive: Drive, migration: Migration) -> None:
    """Tell the source's agent, after writing down that it may have been told."""
    migration_id = migration.migration_id
    _stop_if_cancelled(drive, migration)
    target = drive.fleet.facts.get(migration.target_host_id)
    if target is None:
        raise NotBegun(f"{migration.target_host_name} was removed from the fleet")
    await drive.journal.advance(migration_id, _with_start)
    _log.info("%s: %s is told to start", migration_id, migration.source_host_name)
    try:
        drive.jobs.put(await drive.source(migration).migrate(_command(migration, target)))
    except GodwitError as error:
        if error.code is not ErrorCode.AGENT_UNREACHABLE:
            raise NotBegun(error.message) from None
        if not await _is_begun(drive, await drive.reread(migration_id)):
            raise NotBegun(error.message) from None


def _command(migration: Migration, target: HostFacts) -> MigrateCommand:
    return MigrateCommand(
        migration_id=migration.migration_id,
        server_id=migration.server_id,
        generation=migration.generation,
        target_host_id=target.host_id,
        target_host_name=target.name,
        target_libvirt_uri=f"qemu+tls://{target.name}/system",
        target_address=target.address,
        options=migration.options,
    )


def _with_start(known: Migration) -> Migration:
    if known.started_at_ms:
        return known
    return msgspec.structs.replace(known, started_at_ms=ending.now_ms())


def _stop_if_cancelled(drive: Drive, migration: Migration) -> None:
    known = drive.fleet.migrations.get(migration.migration_id)
    if known is not None and known.cancel_requested_by:
        raise NotBegun
