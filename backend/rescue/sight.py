"""What this backend has seen of health keys since it leads, on CLOCK_BOOTTIME."""

from typing import Protocol

from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from backend.rescue.proof import Evidence
from wire import keys
from wire.rescue import Incident


class LeaseSightings(Protocol):
    """What reading the leases of health keys tells."""

    def cannot_live_before(self, host_id: str) -> float | None:
        """Say when no lease of a host can live any more; None while nobody can say."""

    def left_s(self, host_id: str) -> int | None:
        """Say what a host's lease had left when last looked at."""


class Sight:
    """Since when each host is absent, and since when nothing was missed."""

    def __init__(self, leases: LeaseSightings) -> None:
        self._leases = leases
        self._watching_since_s = 0.0
        self._blind = True
        self.absent: dict[str, float] = {}
        """host_id → when its health key was first seen to be absent."""

    def begin(self, now_s: float) -> None:
        """A term of leadership begins: what an earlier one saw may have changed twice since."""
        self._watching_since_s = now_s
        self.absent.clear()

    def look(self, fleet: Fleet, now_s: float) -> None:
        """Note which hosts hold no health key now."""
        if fleet.etcd_error:
            self._blind = True
            self.absent.clear()
            return
        if self._blind:
            self._blind = False
            self._watching_since_s = now_s
        for host_id in fleet.facts:
            if host_id in fleet.health:
                self.absent.pop(host_id, None)
            else:
                self.absent.setdefault(host_id, now_s)
        for host_id in self.absent.keys() - fleet.facts.keys():
            del self.absent[host_id]

    def left_s(self, host_id: str) -> int | None:
        """What a host's lease had left when last looked at."""
        return self._leases.left_s(host_id)

    def evidence(self, fleet: Fleet, incident: Incident) -> Evidence:
        """What is known of the host of an incident."""
        host_id = incident.host_id
        present = host_id in fleet.health
        return Evidence(
            host_name=incident.host_name,
            life=incident.life,
            absent_since_s=None if present else self.absent.get(host_id),
            cannot_live_before_s=self._leases.cannot_live_before(host_id),
            watching_since_s=self._watching_since_s,
            declared_off_by=incident.declared_off_by,
            left_s=self._leases.left_s(host_id) if present else None,
            etcd_error=fleet.etcd_error,
            unreadable=unreadable_life(incident)
            if UNREADABLE_HEALTH in {incident.life, fleet.lives.get(host_id)}
            else "",
        )


def unreadable_life(incident: Incident) -> str:
    """What is missing while nobody can read which life of a host was its last, in one clause."""
    return (
        f"what etcd holds at {keys.LIVES}{incident.host_id} cannot be read, so that nobody knows "
        f"which life of {incident.host_name} was its last: start its agent, or switch it off and "
        "delete that key"
    )
