"""When a move is given up, and what follows when one ends with the server where it was."""

from collections.abc import Sequence

import msgspec

from backend.evacuations.timing.remarks import reforecast
from backend.fleet.known import Fleet
from backend.forecast.forecasts import forecast_of
from backend.forecast.levers import lever_shown
from backend.migrations.jobs import Jobs
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationState, MoveState, Way
from wire.fleet import OwnerPhase, PowerState
from wire.forecast import Basis, Ease, Forecast
from wire.migration import Migration, MigrationState, Pass

TRIES = 2
"""A second target may do what the first could not; a third would only take time."""
GAVE_UP = "evacuation (did not converge)"
"""Who cancels a move that does not converge: in the migration's record instead of a person.

A mere word might be the name of a person's token.
"""
_HELD_BACK_PERCENT = 99
"""QEMU throttles no further than this."""
_PASSES = 4
_SHRINKS = 0.8
"""So much of what remained may be left after these passes, if it converges."""


def hopeless(passes: Sequence[Pass]) -> str:
    """Say why a move will not end by itself; empty while it may.

    Auto-converge holds a guest back more and more as long as it dirties memory too fast. Once it
    cannot be held back further, and what remains does not shrink, nothing changes any more.
    """
    late = passes[-_PASSES - 1 :]
    if len(late) <= _PASSES or any(one.throttle_percent < _HELD_BACK_PERCENT for one in late):
        return ""
    before, now = late[0].remaining_at_start_bytes, late[-1].remaining_at_start_bytes
    if now < before * _SHRINKS:
        return ""
    mib = 1 << 20
    return (
        f"it does not converge: held back by {late[-1].throttle_percent} %, pass "
        f"{late[-1].number} still began with {now // mib} MiB"
    )


def since_changed(migration: Migration, passes: Sequence[Pass], at_ms: int) -> Sequence[Pass]:
    """The passes that began after the last change of parameters: those before prove nothing.

    Args:
        migration: its notes tell when that was.
        passes: of its job.
        at_ms: now, by the clock that wrote the notes.
    """
    changed = [one.at_ms for one in migration.notes if " changed from " in one.text]
    if not changed or not passes:
        return passes
    now_in_job_ms = passes[-1].started_ms + passes[-1].duration_ms
    since_ms = now_in_job_ms - max(0, at_ms - changed[-1])
    return [one for one in passes if one.started_ms >= since_ms]


def after_failure(
    fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer, migration: Migration
) -> EvacuatedServer:
    """The server after a move that ended with it where it was: another try, or the end.

    A move that is to be tried again has no target: that is chosen anew.
    """
    at_ms = migration.finished_at_ms
    if migration.state is MigrationState.CANCELLED:
        if migration.cancel_requested_by == GAVE_UP:
            return _waits_for_a_lever(fleet, evacuation, server, migration)
        reason = f"cancelled by {migration.cancel_requested_by}"
        return ended(server, MoveState.CANCELLED, reason, at_ms)
    why = migration.error or migration.outcome
    if not _may_try_again(fleet, evacuation, server):
        return ended(server, MoveState.FAILED, why, at_ms)
    plan = msgspec.structs.replace(server.plan, target_host_id="", target_host_name="")
    to = f" to {migration.target_host_name}" if migration.target_host_name else ""
    reason = f"another target is chosen, since the move{to} failed: {why}"
    return ended(msgspec.structs.replace(server, plan=plan), MoveState.WAITING, reason, at_ms)


def ended(server: EvacuatedServer, state: MoveState, reason: str, at_ms: int) -> EvacuatedServer:
    """The server once its move, or its waiting, is over."""
    return msgspec.structs.replace(server, state=state, reason=reason, ended_at_ms=at_ms)


def _may_try_again(fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer) -> bool:
    if server.tries >= TRIES or server.plan.pinned or server.plan.way is Way.RESCUE:
        return False
    if evacuation.state is EvacuationState.CANCELLING:
        return False
    record = fleet.records.get(server.plan.server_id)
    if record is None or record.owner.phase is not OwnerPhase.SETTLED:
        return False
    return not _elsewhere(fleet, record.owner.host_id, record.server_id)


def _elsewhere(fleet: Fleet, host_id: str, server_id: str) -> bool:
    """Whether it runs on another host too: a person has to settle that first."""
    return any(
        other != host_id
        and (report := reports.get(server_id)) is not None
        and report.state is PowerState.RUNNING
        for other, reports in fleet.reports.items()
    )


def _waits_for_a_lever(
    fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer, migration: Migration
) -> EvacuatedServer:
    """One that did not converge: what its forecast said was wrong, and its passes tell better.

    It counts as stuck even where they do not make it so: it was seen to be.
    """
    figures, passes = migration.statistics, migration.passes
    forecast = _forecast_anew(fleet, evacuation, server, migration) or Forecast(
        ease=Ease.STUCK,
        basis=Basis.PAST_MOVE,
        total_ms=figures.total_ms,
        low_ms=figures.total_ms,
        high_ms=figures.total_ms,
        sent_bytes=figures.memory_transferred_bytes,
        downtime_ms=migration.downtime_limit_ms,
    )
    lever = forecast.lever
    if not lever and passes:
        why = hopeless(passes) or "it was given up, since it did not converge"
        lever = lever_shown(why, passes, fixed_pause_ms=fleet.past.fixed_pause_ms())
    stuck = msgspec.structs.replace(forecast, ease=Ease.STUCK, lever=lever)
    return msgspec.structs.replace(
        server, plan=reforecast(server.plan, stuck), state=MoveState.WAITING
    )


def _forecast_anew(
    fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer, migration: Migration
) -> Forecast | None:
    """What it would take once more, by the passes of this move; else what the plan said."""
    plan, record = server.plan, fleet.records.get(server.plan.server_id)
    if record is None:
        return plan.forecast
    options = msgspec.structs.replace(
        plan.options,
        prefer_host="",
        max_bandwidth_bytes_per_s=evacuation.max_bandwidth_bytes_per_s,
    )
    anew = forecast_of(
        fleet,
        Jobs(),
        record,
        kind="live",
        options=options,
        target_host_id=plan.target_host_id,
        just_made=migration.passes,
    )
    return anew or plan.forecast
