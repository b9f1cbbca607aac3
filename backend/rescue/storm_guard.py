"""The guard that disarms rescues in a storm, or where this backend is cut off itself."""

import logging

from backend.fleet.known import Fleet
from backend.migrations.notes import noted
from backend.moments import now_ms
from backend.rescue.incidents import ARMED, Incidents
from backend.rescue.storm import TOGETHER_S, CutOff, storm
from wire.lease import boot_clock_s
from wire.rescue import Incident, IncidentState, RescueGuard

_log = logging.getLogger(__name__)


class StormGuard:
    """Of one term of leadership; it disarms, and only a person arms again."""

    def __init__(self, fleet: Fleet, incidents: Incidents) -> None:
        self._fleet = fleet
        self._incidents = incidents
        self._cut_off = CutOff()
        self._lost_s: dict[str, float] = {}
        """incident_id → when its host was lost, by the clock that nobody sets."""

    @property
    def cut_off(self) -> str:
        """Why this backend had better start nothing now; empty if it may."""
        return self._cut_off.reason

    async def look(self) -> None:
        """Disarm when too much is lost together.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        fleet, now_s = self._fleet, boot_clock_s()
        reached = sum(1 for host_id in fleet.health if not fleet.link(host_id).silent)
        self._cut_off.look(reached=reached, present=len(fleet.health), now_s=now_s)
        if not fleet.guard.armed:
            return
        counted = [one for one in fleet.incidents.values() if one.open and not _armed_again(one)]
        self._lost_s = {one.incident_id: self._lost_at_s(one, now_s) for one in counted}
        recent = [
            one
            for one in counted
            if not one.shut_down
            and (
                one.state is IncidentState.PROVING
                or self._lost_s[one.incident_id] > now_s - TOGETHER_S
            )
        ]
        reason = storm(
            lost={one.host_name for one in recent},
            late={self._name(one) for one in fleet.late},
            present={self._name(one) for one in fleet.health},
        )
        undone = [one for one in counted if one.state is not IncidentState.RESCUED]
        if not reason and undone and self._cut_off.for_long(now_s):
            reason, recent = self._cut_off.reason, undone
        if reason:
            await self._disarm(reason, recent)

    async def _disarm(self, reason: str, because_of: list[Incident]) -> None:
        await self._incidents.put_guard(RescueGuard(armed=False, reason=reason, at_ms=now_ms()))
        _log.error("rescues are disarmed: %s", reason)
        for one in because_of:
            await self._incidents.change(
                one.incident_id, lambda known: noted(known, f"rescues are disarmed: {reason}")
            )

    def _lost_at_s(self, incident: Incident, now_s: float) -> float:
        """When a host was lost; the wall clock tells only what was before the first look."""
        before_s = max(0.0, (now_ms() - incident.lost_at_ms) / 1000)
        return self._lost_s.get(incident.incident_id, now_s - before_s)

    def _name(self, host_id: str) -> str:
        facts = self._fleet.facts.get(host_id)
        return facts.name if facts else host_id


def _armed_again(incident: Incident) -> bool:
    """Whether a person armed rescues in spite of this incident."""
    return any(note.text == ARMED for note in incident.notes)
