"""Whether a dead host's servers are started elsewhere without being asked."""

from wire.fleet import HostPolicy
from wire.rescue import Incident, RescueGuard


def held_reason(incident: Incident, *, policy: HostPolicy, guard: RescueGuard, cut_off: str) -> str:
    """Say why nothing is done by itself about a host; empty if it is.

    Args:
        incident: of the host; whether it is dead is another question.
        policy: what operators decided about it.
        guard: whether rescues are armed.
        cut_off: why this backend does not trust what it sees; empty if it does.
    """
    name = incident.host_name
    if not policy.auto_migrate_on_host_down:
        return (
            f"nobody has asked for it (auto_migrate_on_host_down of {name} is disabled); "
            f"godwit host-evacuate {name} starts its servers elsewhere, "
            "server-migrate --rescue-mode a single one"
        )
    if incident.shut_down and not policy.auto_migrate_on_host_shutdown:
        return f"{name} was shut down in order, and its auto_migrate_on_host_shutdown is disabled"
    if not guard.armed:
        return f"rescues are disarmed: {guard.reason or 'an operator has disarmed them'}"
    return cut_off
