"""What keeps a waiting server from beginning, other than links."""

from backend.fleet.dead import is_dead
from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind
from wire.fleet import HostStatus


def held(fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer) -> str:
    """What keeps a waiting server from beginning, other than links; empty for nothing."""
    plan = server.plan
    record = fleet.records.get(plan.server_id)
    if record is not None and record.owner.migration_id:
        moves = fleet.migrations.get(record.owner.migration_id)
        by = moves.requested_by if moves and moves.requested_by else "somebody else"
        return f"{by} moves it (migration {record.owner.migration_id})"
    if not plan.target_host_id:
        return server.reason or "a target is being chosen"
    if evacuation.kind is not EvacuationKind.RESCUE:
        away = _away(fleet, evacuation, plan.source_host_id)
        if away:
            return away
    return _silent(fleet, plan.target_host_id)


def _away(fleet: Fleet, evacuation: Evacuation, host_id: str) -> str:
    """Why nothing leaves a host now."""
    facts = fleet.facts.get(host_id)
    if facts is None:
        return "its host was removed from the fleet"
    incident = fleet.open_incident(host_id)
    if host_status(fleet, facts)[0] is HostStatus.OFFLINE:
        if host_id == evacuation.host_id and is_dead(fleet, host_id):
            return (
                f"{facts.name} is dead: what no incident starts elsewhere is rescued by godwit "
                f"evacuation-cancel {evacuation.evacuation_id}, then godwit host-evacuate "
                f"{facts.name}"
            )
        case = f": incident {incident.incident_id} decides what is started" if incident else ""
        return f"{facts.name} is down{case}"
    return _silent(fleet, host_id)


def _silent(fleet: Fleet, host_id: str) -> str:
    facts = fleet.facts.get(host_id)
    if facts is None:
        return "its target was removed from the fleet"
    status, reason = host_status(fleet, facts)
    if status is HostStatus.ONLINE:
        return ""
    because = "" if status is HostStatus.UNREACHABLE else f": {reason}"
    return f"{facts.name} does not answer{because}"
