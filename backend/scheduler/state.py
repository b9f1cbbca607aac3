"""The server's own state: what is on migrates live, what is stopped migrates cold."""

from backend.scheduler.move import HostState, Move
from wire.fleet import ServerStatus

MOVES_LIVE = frozenset({ServerStatus.RUNNING, ServerStatus.SUSPEND})
MOVES_COLD = frozenset({ServerStatus.READY})

_WORDS = {
    ServerStatus.RUNNING: "is running",
    ServerStatus.READY: "is stopped (ready)",
    ServerStatus.SUSPEND: "is paused (suspend)",
    ServerStatus.UNKNOWN: "has an unknown state",
    ServerStatus.START_MIGRATE: "is already migrating",
    ServerStatus.MIGRATING: "is already migrating",
    ServerStatus.LIVE_MIGRATING: "is already migrating",
}


def cannot_move(name: str, status: ServerStatus, kind: str, reason: str = "") -> str:
    """Say why a server in this status cannot be moved in this way; empty when it can."""
    if status in (MOVES_LIVE if kind == "live" else MOVES_COLD):
        return ""
    because = f": {reason}" if reason else ""
    words = _WORDS.get(status, f"is {status}")
    if kind == "live":
        advice = "; use server-migrate" if status in MOVES_COLD else ""
        return f"{name} {words}, and a live migration needs it running or paused{because}{advice}"
    advice = "; use server-live-migrate" if status in MOVES_LIVE else ""
    return f"{name} {words}, and a cold migration needs it stopped{because}{advice}"


class Status:
    """The server is in a state that can be moved in this way, and in no other migration."""

    name = "status"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return cannot_move(move.server.name, move.status, move.kind, move.status_reason)

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return "ready" if move.kind == "cold" else "running or suspend", move.status
