"""The course of an incident: how far it is, and what is noted of it on the way. Pure."""

import msgspec

from backend.migrations.notes import noted
from backend.moments import now_ms
from backend.rescue.proof import Proof
from wire.rescue import Incident, IncidentServer, IncidentState, RescueState


def goes_on(incident: Incident) -> bool:
    """Tell whether to look at it: its host is away, or a server of it has not ended."""
    return incident.open or any(one.state.open for one in incident.servers)


def with_proof(incident: Incident, proof: Proof) -> Incident:
    """Note that a host is dead; dead once is dead for the whole of that life."""
    if incident.dead_at_ms or not proof.dead:
        return incident
    dead = msgspec.structs.replace(incident, dead_at_ms=now_ms(), proof=proof.reason)
    return noted(dead, f"counts as dead: {proof.reason}")


def left_where_they_are(incident: Incident, reason: str) -> tuple[IncidentServer, ...]:
    """List the servers of a host that was removed: those in their turn stay where they are."""
    return tuple(
        msgspec.structs.replace(one, state=RescueState.SKIPPED, reason=reason)
        if one.state is RescueState.WAITING
        else one
        for one in incident.servers
    )


def missing(incident: Incident, proof: Proof) -> str:
    """Say what is missing for a host to count as dead; without the seconds, which pass."""
    return proof.needs or f"{incident.host_name} may still live: {proof.waits_for}"


def state_of(
    incident: Incident, proof: Proof, servers: tuple[IncidentServer, ...]
) -> IncidentState:
    """Say how far a case is."""
    if not incident.dead_at_ms:
        return IncidentState.HELD if proof.needs else IncidentState.PROVING
    if not any(one.state.open for one in servers):
        return IncidentState.RESCUED
    return IncidentState.HELD if incident.held_reason else IncidentState.RESCUING


def with_times(incident: Incident) -> Incident:
    """Note when the first and the last of its servers ran again."""
    running = [one.running_at_ms for one in incident.servers if one.running_at_ms]
    return msgspec.structs.replace(
        incident,
        first_running_at_ms=min(running, default=0),
        last_running_at_ms=max(running, default=0),
    )
