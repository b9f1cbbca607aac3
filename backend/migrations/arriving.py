"""The end of a cold migration: the target gets the server, the source gives it up.

The ownership moves first, in one transaction with the journal. From then on agents of the source
refuse to start the server, and the source's is asked to undefine it. If it finds the guest on, or
its files changed, somebody started it in between: the ownership goes back, and the target's copy is
thrown away. So it does if the target turns out not to have the server.
"""

import asyncio
import logging
import time

import msgspec

from backend.migrations.advice import advice_for
from backend.migrations.clearing import (
    CLEAR_PATIENCE_S,
    clear_target,
    complete_target,
    release_source,
)
from backend.migrations.drive import ASK_AGAIN_S, Drive
from backend.migrations.ending import at_rest, settle_command, unlocked
from backend.migrations.guests import side_on
from backend.migrations.notes import noted
from backend.migrations.outcome import Side
from backend.moments import now_ms
from wire.agent import ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner
from wire.migration import Migration, MigrationState, Statistics

_log = logging.getLogger(__name__)

_ON = {Side.RUNNING, Side.HALTED, Side.SUSPENDED}


async def arrive(drive: Drive, migration: Migration) -> None:
    """Carry a server that is defined on its target to the end of its migration."""
    migration = await _hand_over(drive, migration)
    record = drive.fleet.records.get(migration.server_id)
    if record is not None and record.owner.host_id == migration.source_host_id:
        await _give_back(drive, migration, "")
        return
    if await _side(drive, migration.target_host_id, migration) is Side.ABSENT:
        # seen after the ownership moved, so nothing takes it away later: the source is the last one
        name, target = migration.server_name, migration.target_host_name
        await _give_back(drive, migration, f"{target} turned out not to have {name}")
        return
    released = await release_source(drive, migration, generation=migration.generation + 1)
    if released.error:
        changed = await _changed(drive, migration)
        if changed or await _side(drive, migration.source_host_id, migration) in _ON:
            name, source = migration.server_name, migration.source_host_name
            started = f"{name} was started on {source} while it moved: {released.error}"
            await _give_back(drive, migration, changed or started)
            return
        migration = await drive.note(migration.migration_id, released.error)
    await complete_target(drive, migration)
    await _finish(drive, await _arrived(drive, migration, released.error))


async def _side(drive: Drive, host_id: str, migration: Migration) -> Side:
    source = host_id == migration.source_host_id
    name = migration.source_host_name if source else migration.target_host_name
    return (await side_on(drive, migration.server_id, host_id, name))[0]


async def _changed(drive: Drive, migration: Migration) -> str:
    """Why the source's files are newer than what was copied; empty if they are not."""
    try:
        return (await drive.source(migration).exported(migration.migration_id)).changed
    except GodwitError:
        return ""


async def _hand_over(drive: Drive, migration: Migration) -> Migration:
    """Give the target the server, unless that was done before this backend led."""
    health = drive.fleet.health.get(migration.target_host_id)

    def own(owner: Owner) -> Owner:
        if owner.generation > migration.generation:
            return owner
        return msgspec.structs.replace(
            owner,
            host_id=migration.target_host_id,
            epoch=health.epoch if health else 0,
            generation=migration.generation + 1,
        )

    completing = msgspec.structs.replace(migration, state=MigrationState.COMPLETING)
    return await drive.journal.advance_with_owner(completing, own)


async def _arrived(drive: Drive, migration: Migration, unreleased: str) -> Migration:
    """The final record of a server that belongs to the target now, started if that was asked."""
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    final = msgspec.structs.replace(
        migration,
        state=MigrationState.SUCCEEDED,
        finished_at_ms=now_ms(),
        statistics=_figures(drive, migration),
        outcome=at_rest(name, Side.SHUT_OFF, target),
        advice=f"{settle_command(migration, target)} clears {source}." if unreleased else "",
    )
    if not migration.options.auto_start:
        return final
    error = (
        f"{name} was not started on {target}, because {unreleased}"
        if unreleased
        else await _start(drive, migration)
    )
    if not error:
        return msgspec.structs.replace(final, outcome=at_rest(name, Side.RUNNING, target))
    return msgspec.structs.replace(
        final,
        state=MigrationState.FAILED,
        outcome=f"{name} has moved to {target} and is stopped there",
        error=error,
        advice=final.advice or advice_for(error),
    )


async def _start(drive: Drive, migration: Migration) -> str:
    """Start the server on its new host; libvirt's text if that fails."""
    command = ServerCommand(generation=migration.generation + 1)
    deadline_s = time.monotonic() + CLEAR_PATIENCE_S
    while True:
        try:
            await drive.target(migration).start(migration.server_id, command)
            return ""
        except GodwitError as error:
            away = error.code is ErrorCode.AGENT_UNREACHABLE
            if not away or time.monotonic() > deadline_s:
                return error.message
        await asyncio.sleep(ASK_AGAIN_S)


async def _give_back(drive: Drive, migration: Migration, reason: str) -> None:
    """Give the server back to its source, which alone has its latest state."""
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    health = drive.fleet.health.get(migration.source_host_id)
    generation = migration.generation + 2

    def own(owner: Owner) -> Owner:
        return msgspec.structs.replace(
            owner,
            host_id=migration.source_host_id,
            epoch=health.epoch if health else 0,
            generation=generation,
        )

    migration = await drive.journal.advance_with_owner(migration, own)
    cleared = await clear_target(drive, migration, generation=generation)
    here = await _side(drive, migration.source_host_id, migration)
    why = reason or f"{name} was started or changed on {source} while it moved"
    on = here in _ON
    final = msgspec.structs.replace(
        migration,
        state=MigrationState.FAILED,
        finished_at_ms=now_ms(),
        outcome=at_rest(name, here, source),
        error=f"{why}, so it stays on {source}",
        advice=f"Stop it and move it again, or use server-live-migrate to take it to {target}."
        if on
        else "Move it again.",
    )
    await _finish(drive, noted(final, cleared.error) if cleared.error else final)


async def _finish(drive: Drive, final: Migration) -> None:
    final = await drive.journal.advance_with_owner(final, unlocked)
    drive.jobs.forget(final.migration_id)
    _log.info("%s: %s: %s %s", final.migration_id, final.state, final.outcome, final.error)


def _figures(drive: Drive, migration: Migration) -> Statistics:
    """What the copy's job told; the whole time by the clock, which counts its breaks too."""
    job = drive.jobs.latest(migration.migration_id)
    figures = (job.statistics if job else None) or migration.statistics
    took_ms = max(0, now_ms() - migration.started_at_ms) if migration.started_at_ms else 0
    return msgspec.structs.replace(figures, total_ms=took_ms, downtime_ms=None)
