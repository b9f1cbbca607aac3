"""What stays nowhere after a migration: its traces on a target that failed, or on the source."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from backend.migrations.drive import ASK_AGAIN_S, MAY_PASS, Drive
from backend.migrations.guests import is_offline
from wire.agent import ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.migration import Kept, Migration
from wire.storage import DiscardCommand, ReleaseCommand

_log = logging.getLogger(__name__)

CLEAR_PATIENCE_S = 30.0
"""An agent that restarts, or a short break of a link, is waited for; a longer one is told of."""


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    kept: tuple[Kept, ...] = ()
    error: str = ""
    """Why something may be left, in one sentence; empty if nothing is."""


async def clear_target(drive: Drive, migration: Migration, *, generation: int) -> Cleared:
    """Have the target remove all that the migration made there, or keep it where that was asked.

    What cannot be removed now does not block the next try, which removes it.
    """
    command = DiscardCommand(
        server_id=migration.server_id,
        generation=generation,
        keep=migration.options.keep_dest_guest_on_failed,
        job_record=msgspec.json.encode(migration).decode()
        if migration.options.keep_dest_guest_on_failed
        else "",
    )
    kept: tuple[Kept, ...] = ()

    async def discard() -> None:
        nonlocal kept
        kept = (await drive.target(migration).discard(migration.migration_id, command)).kept

    # CONFLICT: a libvirtd that was killed ends the half of a guest once it is back
    error = await _insist(drive, migration.target_host_id, discard, waits_for=ErrorCode.CONFLICT)
    if error is not None:
        return _told(migration, migration.target_host_name, error)
    return Cleared(kept=kept)


async def release_source(drive: Drive, migration: Migration, *, generation: int) -> Cleared:
    """Have the source undefine a server that moved away, and delete the files it leaves behind."""
    command = ReleaseCommand(
        migration_id=migration.migration_id,
        generation=generation,
        paths=migration.source_paths,
    )
    error = await _insist(
        drive,
        migration.source_host_id,
        lambda: drive.source(migration).release(migration.server_id, command),
    )
    if error is not None:
        return _told(migration, migration.source_host_name, error)
    return Cleared()


async def end_half(drive: Drive, migration: Migration, *, generation: int) -> str:
    """Have the source end its half of a guest that is whole elsewhere.

    Why it may be left, in one sentence; empty if it is not.
    """
    command = ServerCommand(generation=generation)
    error = await _insist(
        drive,
        migration.source_host_id,
        lambda: drive.source(migration).remove(migration.server_id, command),
    )
    if error is None:
        return ""
    name = migration.source_host_name
    _log.warning("%s: half on %s not ended: %s", migration.migration_id, name, error.message)
    return f"{may_hold_half(name, migration)}: {error.message}"


async def complete_target(drive: Drive, migration: Migration) -> None:
    """Have the target forget what it kept only until the move was over."""
    error = await _insist(
        drive,
        migration.target_host_id,
        lambda: drive.target(migration).complete(migration.migration_id),
    )
    if error is not None:
        _log.warning("%s: not completed: %s", migration.migration_id, error.message)


async def _insist(
    drive: Drive,
    host_id: str,
    call: Callable[[], Awaitable[object]],
    *,
    waits_for: ErrorCode | None = None,
) -> GodwitError | None:
    """Repeat a call until its agent did it or knows nothing of it; the error that stays.

    An agent or a libvirtd that is started anew answers soon; of refusals only ``waits_for`` may
    pass, and is waited for as long.
    """
    deadline_s = time.monotonic() + CLEAR_PATIENCE_S
    while True:
        try:
            await call()
        except GodwitError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return None
            passes = error.code in MAY_PASS and not is_offline(drive.fleet, host_id)
            if time.monotonic() > deadline_s or not (passes or error.code is waits_for):
                return error
        else:
            return None
        await asyncio.sleep(ASK_AGAIN_S)


def may_hold_files(host_name: str) -> str:
    """How the note begins that a host could not be cleared."""
    return f"{host_name} may still hold files of this migration"


def may_hold_half(host_name: str, migration: Migration) -> str:
    """How the note begins that a half of a guest could not be ended."""
    return f"{host_name} may still hold half of {migration.server_name}"


def _told(migration: Migration, host_name: str, error: GodwitError) -> Cleared:
    _log.warning("%s: %s not cleared: %s", migration.migration_id, host_name, error.message)
    return Cleared(error=f"{may_hold_files(host_name)}: {error.message}")
