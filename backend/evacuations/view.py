"""An evacuation as the API shows it: with its band of finishing, its link, and what waits."""

import msgspec

from backend.evacuations.beginning import at
from backend.fleet.known import Fleet
from backend.forecast.rates import Rates
from backend.migrations.jobs import Jobs
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind, EvacuationState, MoveState
from wire.forecast import Ease

_OVERLAP_MS = 1_000
"""So much of a move is spent on what goes on beside another one's copying."""


class _Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is still to come, in ms."""

    expected_ms: int
    low_ms: int
    high_ms: int


def evacuation_view(fleet: Fleet, jobs: Jobs, record: Evacuation, at_ms: int) -> Evacuation:
    """A record with what is known beside it now; an ended one needs nothing."""
    if not record.open:
        return record
    rates = Rates(fleet, jobs)
    fills = record.kind is EvacuationKind.RETURN
    link = rates.into(record.host_id) if fills else rates.out_of(record.host_id)
    view = msgspec.structs.replace(
        record,
        servers=tuple(_with_reason(fleet, record, one) for one in record.servers),
        link=link,
        sending_bytes_per_s=_sending(fleet, jobs, record),
    )
    left = _left(record, at_ms)
    if left is None:
        return _with_deadline(view)
    return _with_deadline(
        msgspec.structs.replace(
            view,
            finish_at_ms=at_ms + left.expected_ms,
            finish_low_ms=at_ms + left.low_ms,
            finish_high_ms=at_ms + left.high_ms,
        )
    )


def _with_reason(fleet: Fleet, record: Evacuation, server: EvacuatedServer) -> EvacuatedServer:
    if server.state is not MoveState.WAITING:
        return server
    if record.state is EvacuationState.PAUSED:
        return msgspec.structs.replace(server, reason="the evacuation is paused")
    waits = fleet.evacuation_waits.get(record.evacuation_id, {})
    reason = waits.get(server.plan.server_id, "")
    return msgspec.structs.replace(server, reason=reason) if reason else server


def _sending(fleet: Fleet, jobs: Jobs, record: Evacuation) -> int:
    """What its moves send together, by their latest samples."""
    total = 0
    for one in record.servers:
        migration = fleet.migrations.get(one.migration_id)
        if one.state is not MoveState.MOVING or migration is None or migration.state.ended:
            continue
        for sample in jobs.samples(one.migration_id)[-1:]:
            total += sample.bandwidth_bytes_per_s + sample.disk_bandwidth_bytes_per_s
    return total


def _left(record: Evacuation, at_ms: int) -> _Left | None:
    """What is still to come, one after the other; None if nobody can say.

    Nobody can while it is paused, or while a server waits for a person or for room.
    """
    if record.state is EvacuationState.PAUSED:
        return None
    expected, low, high = 0, 0, 0
    for one in record.servers:
        if not one.state.open:
            continue
        forecast = one.forecast if one.state is MoveState.MOVING else one.plan.forecast
        if one.state is MoveState.WAITING:
            stuck = forecast is not None and forecast.ease is Ease.STUCK
            if stuck or not one.plan.target_host_id:
                return None
        if forecast is None:
            continue
        spent_ms = at_ms - one.started_at_ms if one.state is MoveState.MOVING else _OVERLAP_MS
        expected += max(0, forecast.total_ms - spent_ms)
        low += max(0, forecast.low_ms - spent_ms)
        high += max(0, forecast.high_ms - spent_ms)
    return _Left(expected_ms=expected, low_ms=low, high_ms=high)


def _with_deadline(view: Evacuation) -> Evacuation:
    if not view.empty_by_ms:
        return view
    by = at(view.empty_by_ms)
    if not view.finish_at_ms:
        sentence = f"whether it is empty by {by} cannot be said: something waits for a person"
        return msgspec.structs.replace(view, deadline=sentence, meets_deadline=False)
    if view.finish_high_ms <= view.empty_by_ms:
        sentence = f"empty by {by}: yes, at the latest at {at(view.finish_high_ms)}"
        return msgspec.structs.replace(view, deadline=sentence)
    meets = view.finish_at_ms <= view.empty_by_ms
    word = "probably" if meets else "no"
    sentence = f"empty by {by}: {word}, reckoned at {at(view.finish_at_ms)}"
    return msgspec.structs.replace(view, deadline=sentence, meets_deadline=meets)
