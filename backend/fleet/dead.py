"""Which hosts are dead: offline, and proven or declared dead."""

from backend.fleet.known import NO_LIFE, UNREADABLE_HEALTH, Fleet
from wire.life import HealthValue
from wire.rescue import Incident


def is_dead(fleet: Fleet, host_id: str) -> bool:
    """Whether a host is dead now, by the incident that is open about its last life.

    Never while etcd does not answer, nor once the host has a health key or another life. What is
    decided on it asks etcd besides: :meth:`backend.migrations.drive.Drive.is_dead`.
    """
    if fleet.etcd_error or host_id in fleet.health:
        return False
    incident = fleet.open_incident(host_id)
    return incident is not None and is_over(incident, fleet.lives.get(host_id, NO_LIFE))


def is_over(incident: Incident, life: HealthValue) -> bool:
    """Whether the last life of an incident's host is the one that was proven to be over.

    A life that cannot be read may be a newer one: it is proof of nothing.
    """
    return bool(incident.dead_at_ms) and life != UNREADABLE_HEALTH and life == incident.life
