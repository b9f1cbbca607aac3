"""What stays nowhere after a migration: its traces on a target that failed, or on the source."""

import asyncio
import logging
import time

import msgspec

from backend.migrations.drive import ASK_AGAIN_S, MAY_PASS, Drive
from backend.migrations.guests import is_offline
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
    code: ErrorCode | None = None


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
    deadline_s = time.monotonic() + CLEAR_PATIENCE_S
    while True:
        try:
            discarded = await drive.target(migration).discard(migration.migration_id, command)
            return Cleared(kept=discarded.kept)
        except GodwitError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return Cleared()
            # a libvirtd that was killed ends the half of a guest once it is back
            ends = error.code is ErrorCode.CONFLICT and time.monotonic() < deadline_s
            if not ends and _hopeless(drive, migration.target_host_id, error, deadline_s):
                return _told(migration, migration.target_host_name, error)
        await asyncio.sleep(ASK_AGAIN_S)


async def release_source(drive: Drive, migration: Migration, *, generation: int) -> Cleared:
    """Have the source undefine a server that moved away, and delete the files it leaves behind."""
    command = ReleaseCommand(
        migration_id=migration.migration_id,
        generation=generation,
        paths=migration.source_paths,
    )
    deadline_s = time.monotonic() + CLEAR_PATIENCE_S
    while True:
        try:
            await drive.source(migration).release(migration.server_id, command)
            return Cleared()
        except GodwitError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return Cleared()
            if _hopeless(drive, migration.source_host_id, error, deadline_s):
                return _told(migration, migration.source_host_name, error)
        await asyncio.sleep(ASK_AGAIN_S)


async def complete_target(drive: Drive, migration: Migration) -> None:
    """Have the target forget what it kept only until the move was over."""
    deadline_s = time.monotonic() + CLEAR_PATIENCE_S
    while True:
        try:
            await drive.target(migration).complete(migration.migration_id)
            return
        except GodwitError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return
            if _hopeless(drive, migration.target_host_id, error, deadline_s):
                _log.warning("%s: not completed: %s", migration.migration_id, error.message)
                return
        await asyncio.sleep(ASK_AGAIN_S)


def _hopeless(drive: Drive, host_id: str, error: GodwitError, deadline_s: float) -> bool:
    if error.code not in MAY_PASS:
        return True
    return is_offline(drive.fleet, host_id) or time.monotonic() > deadline_s


def _told(migration: Migration, host_name: str, error: GodwitError) -> Cleared:
    _log.warning("%s: %s not cleared: %s", migration.migration_id, host_name, error.message)
    return Cleared(
        error=f"{host_name} may still hold files of this migration: {error.message}",
        code=error.code,
    )
