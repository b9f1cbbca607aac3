"""The server's own state: only a running server migrates live."""

from backend.scheduler.move import HostState, Move
from wire.fleet import ServerStatus

_WORDS = {
    ServerStatus.READY: "is stopped (ready)",
    ServerStatus.SUSPEND: "is paused (suspend)",
    ServerStatus.UNKNOWN: "has an unknown state",
    ServerStatus.START_MIGRATE: "is already migrating",
    ServerStatus.MIGRATING: "is already migrating",
    ServerStatus.LIVE_MIGRATING: "is already migrating",
}


def not_live(name: str, status: ServerStatus, reason: str = "") -> str:
    """Say why a server in this status cannot be live-migrated; empty when it runs."""
    if status is ServerStatus.RUNNING:
        return ""
    because = f": {reason}" if reason else ""
    words = _WORDS.get(status, f"is {status}")
    return f"{name} {words}, and a live migration needs a running server{because}"


class Running:
    """The server runs and is in no other migration."""

    name = "running"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return not_live(move.server.name, move.status, move.status_reason)
