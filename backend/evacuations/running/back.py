"""Servers that left a host and are on it again, by whatever road."""

import msgspec

from backend.fleet.known import Fleet
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind, MoveState
from wire.fleet import OwnerPhase, ServerRecord
from wire.migration import Migration, MigrationState


def is_back(fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer) -> bool:
    """Whether a server that had left is on the host again that was emptied.

    A record of before its own move, which the watch tells late, is no sign of that.
    """
    if server.state is not MoveState.LEFT or evacuation.kind is EvacuationKind.RETURN:
        return False
    record = fleet.records.get(server.plan.server_id)
    if record is None or record.owner.host_id != server.plan.source_host_id:
        return False
    own = fleet.migrations.get(server.migration_id)
    later = own is None or record.owner.generation > own.generation
    return later and record.owner.phase is OwnerPhase.SETTLED


def how_it_came_back(fleet: Fleet, record: ServerRecord) -> str:
    """Say who brought a server back to its host, in one sentence."""
    facts = fleet.facts.get(record.owner.host_id)
    host = facts.name if facts else record.owner.host_id
    last = last_move(fleet, record)
    if last is None:
        return f"{record.name} is on {host} again"
    by = last.requested_by or "somebody"
    return f"{by} moved {record.name} back to {host} (migration {last.migration_id})"


def marked(fleet: Fleet, evacuation: Evacuation) -> Evacuation:
    """An evacuation that has ended, with what is back on its host: it is not left behind anywhere.

    Whoever moves it away by hand later does not have it brought back by that.
    """
    here = fleet.owned.get(evacuation.host_id)
    if not here or evacuation.open or evacuation.kind is EvacuationKind.RETURN:
        return evacuation
    servers = tuple(
        _marked(fleet, one)
        if one.plan.server_id in here and not one.returned and is_back(fleet, evacuation, one)
        else one
        for one in evacuation.servers
    )
    if servers == evacuation.servers:
        return evacuation
    return msgspec.structs.replace(evacuation, servers=servers)


def last_move(fleet: Fleet, record: ServerRecord) -> Migration | None:
    """The move by which a server came to where it is; None if the journal knows none."""
    last = max(
        (
            one
            for one in fleet.migrations.values()
            if one.server_id == record.server_id and one.state is MigrationState.SUCCEEDED
        ),
        key=lambda one: one.finished_at_ms,
        default=None,
    )
    return last if last is not None and last.target_host_id == record.owner.host_id else None


def _marked(fleet: Fleet, server: EvacuatedServer) -> EvacuatedServer:
    how = how_it_came_back(fleet, fleet.records[server.plan.server_id])
    reason = f"{server.reason}; {how}" if server.reason else how
    return msgspec.structs.replace(server, returned=True, reason=reason)
