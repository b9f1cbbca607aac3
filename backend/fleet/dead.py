"""Which hosts are dead: offline, and proven or declared dead."""

from backend.fleet.known import Fleet


def is_dead(fleet: Fleet, host_id: str) -> bool:
    """Whether a host is dead now, by the incident that is open about its last life.

    Never while etcd does not answer, nor once the host has a health key or a newer life.
    """
    if fleet.etcd_error or host_id in fleet.health:
        return False
    incident = fleet.open_incident(host_id)
    if incident is None or not incident.dead_at_ms:
        return False
    return fleet.lives.get(host_id, incident.life) == incident.life
