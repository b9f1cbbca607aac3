"""What has become of each server of an evacuation, by what journal and records say.

The record of an evacuation tells nothing of a move under way. Whoever leads reads it together with
the migrations that carry its id: those that were begun and not noted are adopted here, those that
ended are noted. All of it is a pure function of the fleet model.
"""

from collections.abc import Sequence

import msgspec

from backend.evacuations.moves import moves_of
from backend.evacuations.running.back import how_it_came_back, is_back, last_move
from backend.evacuations.running.dead import left_to_its_host, why_it_never_leaves
from backend.evacuations.running.failing import after_failure, ended
from backend.fleet.known import Fleet
from backend.migrations.notes import noted
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
)
from wire.fleet import OwnerPhase, ServerRecord
from wire.migration import Migration, MigrationState


def observed(fleet: Fleet, evacuation: Evacuation, at_ms: int) -> Evacuation:
    """The evacuation with what has become of its servers; ended once nothing is open."""
    moves = moves_of(fleet, evacuation)
    servers = tuple(
        _observed(fleet, evacuation, one, moves.get(one.plan.server_id, ()), at_ms)
        for one in evacuation.servers
    )
    if servers != evacuation.servers:
        back = [
            now.reason
            for now, before in zip(servers, evacuation.servers, strict=True)
            if before.state is MoveState.LEFT and now.state is not MoveState.LEFT
        ]
        evacuation = msgspec.structs.replace(evacuation, servers=servers)
        for text in back:
            evacuation = noted(evacuation, text)
    if any(one.state.open for one in servers) or _expected(fleet, evacuation):
        return evacuation
    if evacuation.open:
        return msgspec.structs.replace(evacuation, state=EvacuationState.ENDED, ended_at_ms=at_ms)
    return evacuation


def given_back(fleet: Fleet, evacuation: Evacuation, at_ms: int) -> Evacuation:
    """The evacuation of a dead host that has come back: what waits is its own again."""
    name = evacuation.host_name
    servers = tuple(
        ended(
            one,
            MoveState.STAYED,
            left_to_its_host(fleet.records.get(one.plan.server_id), name),
            at_ms,
        )
        if one.state is MoveState.WAITING
        else one
        for one in evacuation.servers
    )
    return msgspec.structs.replace(evacuation, servers=servers)


def newcomers(fleet: Fleet, evacuation: Evacuation) -> list[ServerRecord]:
    """List the servers on a host that is emptied which its evacuation knows nothing of."""
    if evacuation.kind is EvacuationKind.RETURN:
        return []
    known = {one.plan.server_id for one in evacuation.servers}
    owned = fleet.owned.get(evacuation.host_id, set()) - known
    return [fleet.records[one] for one in sorted(owned)]


def _expected(fleet: Fleet, evacuation: Evacuation) -> bool:
    """Whether a host that is emptied holds a server that is not listed yet, or gets one."""
    host_id, state = evacuation.host_id, evacuation.state
    if evacuation.kind is not EvacuationKind.EVACUATE or host_id not in fleet.facts:
        return False
    if state not in {EvacuationState.RUNNING, EvacuationState.PAUSED}:
        return False
    return bool(newcomers(fleet, evacuation)) or any(
        one.target_host_id == host_id and not one.state.ended for one in fleet.migrations.values()
    )


def _observed(
    fleet: Fleet,
    evacuation: Evacuation,
    server: EvacuatedServer,
    moves: Sequence[Migration],
    at_ms: int,
) -> EvacuatedServer:
    server = _adopted(server, moves)
    record = fleet.records.get(server.plan.server_id)
    if server.state is MoveState.MOVING:
        return _moving(fleet, evacuation, server, record)
    if server.state is MoveState.LEFT:
        if record is not None and is_back(fleet, evacuation, server):
            return _back(evacuation, server, how_it_came_back(fleet, record), at_ms)
        return server
    if record is not None and _is_brought_elsewhere(server, record):
        return server
    gone = _gone(fleet, server, record)
    if gone is not None:
        return _left(_by_others(fleet, server, record), gone, at_ms)
    return (
        _waiting(fleet, evacuation, server, at_ms) if server.state is MoveState.WAITING else server
    )


def _waiting(
    fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer, at_ms: int
) -> EvacuatedServer:
    if evacuation.state is EvacuationState.CANCELLING:
        return ended(server, MoveState.CANCELLED, "cancelled before it began", at_ms)
    why = why_it_never_leaves(fleet, evacuation, server)
    return ended(server, MoveState.FAILED, why, at_ms) if why else server


def _back(evacuation: Evacuation, server: EvacuatedServer, how: str, at_ms: int) -> EvacuatedServer:
    """One that is back while its host is still being emptied: it has to leave again."""
    if evacuation.kind is EvacuationKind.RESCUE:
        return ended(server, MoveState.STAYED, how, at_ms)
    if evacuation.state is EvacuationState.CANCELLING:
        return ended(server, MoveState.CANCELLED, how, at_ms)
    plan = msgspec.structs.replace(server.plan, target_host_id="", target_host_name="")
    return msgspec.structs.replace(
        server,
        plan=plan,
        state=MoveState.WAITING,
        reason=how,
        tries=0,
        ended_at_ms=0,
        downtime_ms=None,
        forecast=None,
    )


def _adopted(server: EvacuatedServer, moves: Sequence[Migration]) -> EvacuatedServer:
    """Take over the latest move, if the record does not tell of it yet."""
    latest = moves[-1] if moves else None
    noted = latest is None or latest.migration_id == server.migration_id
    if latest is None or noted:
        return server
    if latest.state.ended and latest.created_at_ms < server.started_at_ms:
        return server
    return begun(server, latest)


def begun(server: EvacuatedServer, migration: Migration) -> EvacuatedServer:
    """The server whose move has just begun."""
    return msgspec.structs.replace(
        server,
        state=MoveState.MOVING,
        reason="",
        tries=server.tries + 1,
        migration_id=migration.migration_id,
        started_at_ms=max(migration.created_at_ms, server.started_at_ms + 1),
        ended_at_ms=0,
        downtime_ms=None,
        forecast=server.plan.forecast,
    )


def _moving(
    fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer, record: ServerRecord | None
) -> EvacuatedServer:
    migration = fleet.migrations.get(server.migration_id)
    if migration is not None and not migration.state.ended:
        return server
    if record is not None and record.owner.phase is OwnerPhase.MIGRATING:
        held = record.owner.migration_id == server.migration_id
        ours = migration is not None and migration.state is MigrationState.SUCCEEDED
        if held or (not ours and _is_brought_elsewhere(server, record)):
            return server  # the watch of server records is behind that of the journal, or a rescue
    at_ms = migration.finished_at_ms if migration else server.started_at_ms
    if migration is not None:
        server = _with_figures(server, migration)
    gone = _gone(fleet, server, record)
    if gone is not None:
        there = record is not None and record.owner.host_id == server.plan.target_host_id
        moved = server if there else _by_others(fleet, server, record)
        return _left(moved, _unstarted(migration) if there else gone, at_ms)
    if migration is None:
        reason = f"the record of migration {server.migration_id} vanished"
        return ended(server, MoveState.FAILED, reason, at_ms)
    if migration.state is MigrationState.SUCCEEDED:
        reason = f"{server.plan.server_name} is on {server.plan.source_host_name} again"
        return ended(server, MoveState.FAILED, reason, at_ms)
    return after_failure(fleet, evacuation, server, migration)


def _unstarted(migration: Migration | None) -> str:
    """Say of a server that arrived why it does not run there although it was to; else empty."""
    if migration is None or migration.state is not MigrationState.FAILED:
        return ""
    why = migration.error or migration.outcome
    return f"not started: {why}" if migration.kind != "live" else why


def _with_figures(server: EvacuatedServer, migration: Migration) -> EvacuatedServer:
    """Take over where it went and what it took, by the migration's own record."""
    figures = migration.statistics
    plan = server.plan
    if migration.target_host_id:
        plan = msgspec.structs.replace(
            plan,
            target_host_id=migration.target_host_id,
            target_host_name=migration.target_host_name,
        )
    sent_bytes = figures.memory_transferred_bytes + figures.disk_transferred_bytes
    return msgspec.structs.replace(
        server,
        plan=plan,
        downtime_ms=figures.downtime_ms,
        forecast=migration.forecast or server.forecast,
        sent_bytes=server.sent_bytes + sent_bytes,
    )


def _is_brought_elsewhere(server: EvacuatedServer, record: ServerRecord) -> bool:
    """Whether a rescue has claimed it for another host, and has not ended yet."""
    owner = record.owner
    return owner.host_id != server.plan.source_host_id and owner.phase is OwnerPhase.MIGRATING


def _gone(fleet: Fleet, server: EvacuatedServer, record: ServerRecord | None) -> str | None:
    """Say how a server went that is not on its host any more; None if it is there."""
    if record is None:
        return f"{server.plan.server_name} was deleted meanwhile"
    if record.owner.host_id == server.plan.source_host_id:
        return None
    return _how_it_left(fleet, server, record)


def _by_others(
    fleet: Fleet, server: EvacuatedServer, record: ServerRecord | None
) -> EvacuatedServer:
    """The same with where it is now; what was expected of its own move is not of that one."""
    if record is None:
        return server
    host_id = record.owner.host_id
    facts = fleet.facts.get(host_id)
    plan = msgspec.structs.replace(
        server.plan, target_host_id=host_id, target_host_name=facts.name if facts else host_id
    )
    return msgspec.structs.replace(server, plan=plan, forecast=None)


def _how_it_left(fleet: Fleet, server: EvacuatedServer, record: ServerRecord) -> str:
    """Say where a server is that nobody moved in this evacuation, and who did."""
    name, host_id = server.plan.server_name, record.owner.host_id
    facts = fleet.facts.get(host_id)
    where = facts.name if facts else host_id
    last = last_move(fleet, record)
    if last is None:
        return f"{name} belongs to {where} now"
    if last.kind == "rescue":
        by = f" by {last.requested_by}" if last.requested_by else ""
        return f"{name} was rescued to {where}{by} (migration {last.migration_id})"
    return f"{last.requested_by} moved {name} to {where} (migration {last.migration_id})"


def _left(server: EvacuatedServer, reason: str, at_ms: int) -> EvacuatedServer:
    return ended(server, MoveState.LEFT, reason, at_ms)
