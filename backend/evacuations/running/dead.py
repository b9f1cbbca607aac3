"""What becomes of servers that wait on a host which died, came back, or was removed."""

from backend.fleet.dead import is_dead
from backend.fleet.known import Fleet
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationKind
from wire.fleet import ServerRecord
from wire.rescue import IncidentState, RescueState

_LEFT_THERE = {RescueState.SKIPPED, RescueState.FAILED}


def why_it_never_leaves(fleet: Fleet, evacuation: Evacuation, server: EvacuatedServer) -> str:
    """Why a waiting server leaves its host neither by a move nor by a rescue; empty if it may.

    While the incident of a host that died is under way, or held until a person decides, it may.
    Those of a dead host that is evacuated as one are rescued by the evacuation itself.
    """
    host = server.plan.source_host_name
    if server.plan.source_host_id not in fleet.facts:
        return f"{host} was removed from the fleet before it left"
    host_id = evacuation.host_id
    incident = fleet.open_incident(host_id)
    if evacuation.kind is not EvacuationKind.EVACUATE or incident is None:
        return ""
    if incident.state is not IncidentState.RESCUED or not is_dead(fleet, host_id):
        return ""
    known = {one.server_id: one for one in incident.servers}
    told = known.get(server.plan.server_id)
    if told is None or told.state not in _LEFT_THERE:
        return ""
    case = f"incident {incident.incident_id} has not started it elsewhere"
    return f"{host} died before it left, and {case}: {told.reason}"


def left_to_its_host(record: ServerRecord | None, host_name: str) -> str:
    """What a host that is back does with a server that was to be rescued."""
    if record is None or record.wanted_on:
        return f"{host_name} is back, and starts it itself"
    return f"{host_name} is back, where it is stopped as it was before"
