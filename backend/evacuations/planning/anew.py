"""Planning an open evacuation anew: what of it is planned, and how the new plan is put in."""

from collections.abc import Sequence

import msgspec

from backend.evacuations.placing.wishes import Wish
from backend.evacuations.timing.timeline import Transfer
from backend.fleet.known import Fleet
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    MoveOptions,
    MoveState,
    PlannedMove,
    Way,
)
from wire.fleet import OwnerPhase, ServerRecord
from wire.forecast import Ease
from wire.migration import MigrationOptions

_DONE = {MoveState.MOVING, MoveState.LEFT}


def open_servers(fleet: Fleet, evacuation: Evacuation) -> dict[str, ServerRecord]:
    """The servers that a new plan may be about, by id: those known and those that turned up.

    One that waits and is moved all the same, by whomever, is left as it is until that has ended.
    """
    known = {one.plan.server_id: one for one in evacuation.servers}
    returning = evacuation.kind is EvacuationKind.RETURN
    ids = set(known) if returning else fleet.owned.get(evacuation.host_id, set()) | set(known)
    found = {}
    for server_id in ids:
        record, server = fleet.records.get(server_id), known.get(server_id)
        if record is None or (server is not None and server.state in _DONE):
            continue
        moves = record.owner.phase is OwnerPhase.MIGRATING
        if server is not None and server.state is MoveState.WAITING and moves:
            continue
        if (record.owner.host_id == evacuation.host_id) is not returning:
            found[server_id] = record
    return found


def remembered(evacuation: Evacuation) -> dict[str, Wish]:
    """What operators wanted of each server, as its plan keeps it.

    A way that merely is what a server's state allows is no wish: the state may have changed.
    """
    return {one.plan.server_id: _wish(one.plan) for one in evacuation.servers}


def under_way(evacuation: Evacuation, at_ms: int) -> tuple[Transfer, ...]:
    """What is left of the moves that have begun, taken to go on as they were reckoned."""
    found = []
    for one in evacuation.servers:
        forecast = one.forecast
        if one.state is not MoveState.MOVING or forecast is None:
            continue
        spent_ms = max(0, at_ms - one.started_at_ms)
        share_left = max(0.0, 1 - spent_ms / max(1, forecast.total_ms))
        rate = max(1, forecast.bandwidth_bytes_per_s)
        left_s = forecast.total_ms / 1000 * share_left
        # holes of disks count among what is sent, and take no time
        left_bytes = min(forecast.sent_bytes * share_left, left_s * rate)
        found.append(
            Transfer(
                server_id=one.plan.server_id,
                source_host_id=one.plan.source_host_id,
                target_host_id=one.plan.target_host_id,
                sent_bytes=left_bytes,
                bytes_per_s=rate,
                after_s=max(0.0, left_s - left_bytes / rate),
                alone=forecast.ease is Ease.HEAVY,
            )
        )
    return tuple(found)


def again(evacuation: Evacuation, fresh: Sequence[EvacuatedServer], at_ms: int) -> Evacuation:
    """Put a new plan in: what is kept comes first, then what was planned, in its order.

    Args:
        evacuation: as it is.
        fresh: the new plan of some of its servers, and of those that turned up.
        at_ms: when it was made; its times count from there, those of the record from its begin.
    """
    since_s = max(0, at_ms - evacuation.created_at_ms) // 1000
    known = {one.plan.server_id: one for one in evacuation.servers}
    planned = {one.plan.server_id for one in fresh}
    kept = [one for one in evacuation.servers if one.plan.server_id not in planned]
    anew = [_put(known.get(one.plan.server_id), _later(one, since_s)) for one in fresh]
    return msgspec.structs.replace(evacuation, servers=(*kept, *anew))


def _wish(plan: PlannedMove) -> Wish:
    way = plan.way if plan.chosen_way and plan.way in {Way.STAYS, Way.RESCUE} else None
    told = msgspec.structs.replace(plan.options, prefer_host="", auto_start=False)
    untold = told == MigrationOptions()
    live = plan.way is Way.LIVE or (plan.way is Way.STAYS and not untold)
    return Wish(
        target_host_id=plan.options.prefer_host if plan.pinned else "",
        way=way,
        first=plan.first,
        options=_own(plan.options) if live else MoveOptions(),
    )


def _own(options: MigrationOptions) -> MoveOptions:
    return MoveOptions(**{name: getattr(options, name) for name in MoveOptions.__struct_fields__})


def _later(server: EvacuatedServer, by_s: int) -> EvacuatedServer:
    plan = server.plan
    if not plan.ends_in_s:
        return server
    later = msgspec.structs.replace(
        plan, starts_in_s=plan.starts_in_s + by_s, ends_in_s=plan.ends_in_s + by_s
    )
    return msgspec.structs.replace(server, plan=later)


def _put(known: EvacuatedServer | None, fresh: EvacuatedServer) -> EvacuatedServer:
    if known is None:
        return fresh
    return msgspec.structs.replace(
        known, plan=fresh.plan, state=fresh.state, reason=fresh.reason, ended_at_ms=0
    )
