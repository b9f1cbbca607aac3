"""Why a migration under way does not go on: a host of it does not answer, or refuses an act."""

from backend.fleet.dead import is_dead
from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.moments import now_ms
from wire.fleet import HostStatus
from wire.migration import Migration

_MINUTES_FROM_S = 120


def stalled_reason(fleet: Fleet, migration: Migration) -> str:
    """Say that a host which has to work on a migration under way does not answer, since when.

    Also what its end waits for. Empty for nothing, and when the migration has ended. The answer
    changes as time passes.
    """
    if migration.state.ended:
        return ""
    reason = _silence(fleet, migration.source_host_id, migration.source_host_name)
    if migration.kind == "rescue" and is_dead(fleet, migration.source_host_id):
        reason = ""
    if migration.target_host_id:
        there = _silence(fleet, migration.target_host_id, migration.target_host_name)
        waits_for = fleet.waiting.get(migration.migration_id, "")
        reason = "; ".join(part for part in (reason, there, waits_for) if part)
    return reason


def _silence(fleet: Fleet, host_id: str, name: str) -> str:
    facts = fleet.facts.get(host_id)
    if facts is None:
        return f"{name} is not known any more"
    status, _ = host_status(fleet, facts)
    link = fleet.link(host_id)
    if status is not HostStatus.OFFLINE and link.connected:
        return ""
    fault = "is offline" if status is HostStatus.OFFLINE else "does not answer"
    return f"{name} {fault}, {_last_heard(link.seen_at_ms)}{_unproven(fleet, host_id)}"


def _unproven(fleet: Fleet, host_id: str) -> str:
    """What is missing for an offline host to count as dead; empty if it does."""
    incident = fleet.open_incident(host_id)
    if incident is None or incident.dead_at_ms:
        return ""
    return f" ({incident.held_reason})"


def _last_heard(seen_at_ms: int) -> str:
    if not seen_at_ms:
        return "not heard since this backend started"
    age_s = max(0, now_ms() - seen_at_ms) // 1000
    age = f"{age_s} s" if age_s < _MINUTES_FROM_S else f"{age_s // 60} min"
    return f"last heard {age} ago"
