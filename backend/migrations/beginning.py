"""A live migration's first steps: check both hosts, make room, tell the source to start."""

import asyncio
import logging
import time

import msgspec

from backend.migrations.drive import ASK_AGAIN_S, MAY_PASS, Drive, NotBegun, Occupied
from backend.migrations.guests import is_offline
from backend.migrations.outcome import Side, side_of
from backend.migrations.scheduling import SETTLE_S, schedule
from backend.moments import now_ms
from backend.scheduler.storage import carried
from wire.agent import GuestTruth, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration, MigrationState
from wire.storage import FileRole, IncomingFile, PrepareCommand

_log = logging.getLogger(__name__)


class _Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What was found and made on both hosts before the start."""

    paused: bool
    disks: tuple[IncomingFile, ...] = ()
    source_paths: tuple[str, ...] = ()


async def begin(drive: Drive, migration: Migration) -> None:
    """Take every step that a migration has not taken yet, until its job runs on the source.

    Each step is journaled before it is taken. A migration whose job runs, or may run, is left to
    whoever follows it.

    Raises:
        NotBegun: it ends here, and no guest was touched.
    """
    if await _is_begun(drive, migration):
        return
    migration = await schedule(drive, migration)
    migration = await drive.advance(migration.migration_id, MigrationState.PREPARING)
    ready = await _prepare(drive, migration)
    await _start(drive, migration, ready)


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


async def _prepare(drive: Drive, migration: Migration) -> _Ready:
    """Check on both hosts that the guest can start to move, and make room for its local disks.

    A leftover definition on the target that does not run is none of our business: libvirt
    replaces it.
    """
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    there, here = await truths(drive, migration)
    if side_of(there) not in {Side.ABSENT, Side.SHUT_OFF}:
        raise Occupied(f"{target} already holds {name} ({there.state})")
    if here.job_active:
        raise NotBegun(f"libvirt on {source} already has a job on {name}")
    if side_of(here) not in {Side.RUNNING, Side.SUSPENDED}:
        raise NotBegun(
            f"{name} is {here.state} on {source}, and a live migration needs it running or paused"
        )
    ready = _Ready(paused=side_of(here) is Side.SUSPENDED)
    return await _make_room(drive, migration, ready)


async def _make_room(drive: Drive, migration: Migration, ready: _Ready) -> _Ready:
    """Have the target make empty disks for the local ones of the source.

    libvirt takes UEFI variables along. The source's are deleted only if the target had none before:
    hosts may share their folder. Those of a paused guest are not written before it goes on.

    What is to be kept after a failure has to be known there too, even without any disk. A source
    whose report is missing is asked itself: nothing moves on a guess that all disks are shared.
    """
    report = drive.fleet.reports.get(migration.source_host_id, {}).get(migration.server_id)
    keep = migration.options.keep_dest_guest_on_failed
    has_nvram = report is not None and bool(report.nvram_path) and not ready.paused
    carries = report is None or bool(carried(report.disks, "live")) or has_nvram
    if not keep and not carries:
        return ready
    try:
        storage = await drive.source(migration).storage(migration.server_id)
        if storage.disk_refusal:
            raise NotBegun(storage.disk_refusal)
        local = [one for one in storage.files if not one.shared]
        wanted = {FileRole.DISK} if ready.paused else {FileRole.DISK, FileRole.NVRAM}
        incoming = await drive.target(migration).prepare(
            PrepareCommand(
                migration_id=migration.migration_id,
                server_id=migration.server_id,
                server_name=migration.server_name,
                generation=migration.generation,
                kind="live",
                files=tuple(one for one in local if one.role in wanted),
            )
        )
    except GodwitError as error:
        raise NotBegun(error.message) from None
    own = {one.source_path for one in incoming.files if not one.present}
    return msgspec.structs.replace(
        ready,
        disks=tuple(one for one in incoming.files if one.role is FileRole.DISK),
        source_paths=tuple(
            one.path
            for one in local
            if one.owned and (one.path in own or one.role is FileRole.BACKING)
        ),
    )


async def truths(drive: Drive, migration: Migration) -> tuple[GuestTruth, GuestTruth]:
    """What target and source know of the guest; a program that restarts is asked again.

    Raises:
        NotBegun: one of them does not say, or the migration was cancelled.
    """
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        drive.stop_if_cancelled(migration.migration_id)
        try:
            there = await drive.target(migration).truth(migration.server_id)
            return there, await drive.source(migration).truth(migration.server_id)
        except GodwitError as error:
            if error.code not in MAY_PASS or time.monotonic() > deadline_s:
                raise NotBegun(error.message) from None
        await asyncio.sleep(ASK_AGAIN_S)


async def _start(drive: Drive, migration: Migration, ready: _Ready) -> None:
    """Tell the source's agent, after writing down that it may have been told."""
    migration_id = migration.migration_id
    drive.stop_if_cancelled(migration_id)

    def told(known: Migration) -> Migration:
        return msgspec.structs.replace(
            known,
            started_at_ms=known.started_at_ms or now_ms(),
            paused=ready.paused,
            source_paths=ready.source_paths,
        )

    migration = await drive.journal.advance(migration_id, told)
    command = _command(drive, migration, ready)
    _log.info("%s: %s is told to start", migration_id, migration.source_host_name)
    try:
        await drive.begun(migration, await drive.source(migration).migrate(command))
    except GodwitError as error:
        if error.code is not ErrorCode.AGENT_UNREACHABLE:
            raise NotBegun(error.message) from None
        if not await _is_begun(drive, await drive.reread(migration_id)):
            raise NotBegun(error.message) from None


def _command(drive: Drive, migration: Migration, ready: _Ready) -> MigrateCommand:
    source = drive.fleet.facts.get(migration.source_host_id)
    target = drive.fleet.facts.get(migration.target_host_id)
    if target is None:
        raise NotBegun(f"{migration.target_host_name} was removed from the fleet")
    return MigrateCommand(
        migration_id=migration.migration_id,
        server_id=migration.server_id,
        generation=migration.generation,
        target_host_id=target.host_id,
        target_host_name=target.name,
        target_libvirt_uri=f"qemu+tls://{target.name}/system",
        target_address=target.address,
        options=msgspec.structs.replace(
            migration.options,
            max_bandwidth_bytes_per_s=migration.max_bandwidth_bytes_per_s,
            downtime_limit_ms=migration.downtime_limit_ms,
        ),
        disks=ready.disks,
        leaves=ready.source_paths,
        postcopy=source is not None and source.postcopy and target.postcopy,
    )
