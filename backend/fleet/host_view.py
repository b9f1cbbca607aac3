"""A host as the API shows it."""

from collections.abc import Iterable

from backend.fleet.dead import is_dead
from backend.fleet.known import UNREADABLE_HEALTH, Fleet
from wire.fleet import HostFacts, HostPolicy, HostStatus, HostView, ServerStatus, ServerView

_ON = {ServerStatus.RUNNING, ServerStatus.START_MIGRATE, ServerStatus.LIVE_MIGRATING}


def host_status(fleet: Fleet, facts: HostFacts) -> tuple[HostStatus, str]:
    """Say whether a host answers, and if not, why: one sentence.

    Only a health key that is absent while etcd answers makes a host offline.
    """
    if fleet.etcd_error:
        return HostStatus.UNKNOWN, fleet.etcd_error
    if facts.host_id not in fleet.health:
        return HostStatus.OFFLINE, f"{facts.name} holds no health key in etcd"
    if fleet.health[facts.host_id] == UNREADABLE_HEALTH:
        return HostStatus.UNKNOWN, f"what etcd holds as {facts.name}'s health key cannot be read"
    link = fleet.link(facts.host_id)
    if not link.connected:
        return HostStatus.UNREACHABLE, link.reason
    return HostStatus.ONLINE, ""


def shutting_down(fleet: Fleet, host_id: str) -> bool:
    """Whether the life that a host lives now is being shut down in order."""
    health, word = fleet.health.get(host_id), fleet.shutdowns.get(host_id)
    return health is not None and word is not None and word.boot_id == health.boot_id


def host_view(fleet: Fleet, facts: HostFacts, servers: Iterable[ServerView]) -> HostView:
    """Put a host's view together.

    Args:
        fleet: all that is known.
        facts: the host.
        servers: views of the servers that it owns.
    """
    status, reason = host_status(fleet, facts)
    link = fleet.link(facts.host_id)
    listed = tuple(servers)
    incident = fleet.open_incident(facts.host_id)
    evacuation = fleet.open_evacuation(facts.host_id)
    running = [server for server in listed if _is_on(fleet, server)]
    return HostView(
        facts=facts,
        status=status,
        status_reason=reason,
        health=fleet.health.get(facts.host_id),
        late=facts.host_id in fleet.late,
        dead=is_dead(fleet, facts.host_id),
        incident_id=incident.incident_id if incident else "",
        evacuation_id=evacuation.evacuation_id if evacuation else "",
        shutting_down=shutting_down(fleet, facts.host_id),
        policy=fleet.policies.get(facts.host_id, HostPolicy()),
        meters=link.meters if link.connected else None,
        server_count=len(listed),
        running_server_count=len(running),
        server_memory_bytes=sum(server.memory_bytes for server in running),
        seen_at_ms=link.seen_at_ms,
    )


def _is_on(fleet: Fleet, server: ServerView) -> bool:
    """Whether a server takes memory; one that begins to move cold is stopped."""
    moving = fleet.migrations.get(server.migration_id)
    return server.status in _ON and (moving is None or moving.kind == "live")
