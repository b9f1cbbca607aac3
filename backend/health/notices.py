"""What people are told without asking: each turn of an incident, and of the rescue guard."""

from enum import StrEnum

import msgspec

from backend.health.transitions import fence_text
from backend.moments import now_ms
from wire.rescue import Incident, IncidentState, RescueGuard, RescueState


class NoticeEvent(StrEnum):
    """What happened, for programs."""

    HOST_LOST = "host_lost"
    HOST_DEAD = "host_dead"
    """It is proven or declared that its guests do not run any more."""
    RESCUE_HELD = "rescue_held"
    """Nothing is started elsewhere by itself: the text says why."""
    RESCUE_BEGAN = "rescue_began"
    RESCUE_ENDED = "rescue_ended"
    """Nothing more is to be done while the host is away: the incident is the report."""
    HOST_BACK = "host_back"
    STORM_GUARD_TRIPPED = "storm_guard_tripped"
    RESCUES_DISARMED = "rescues_disarmed"
    RESCUES_ARMED = "rescues_armed"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the webhook and input of the command, as JSON."""

    event: NoticeEvent
    at_ms: int
    """Unix time in ms."""
    text: str
    """One sentence."""
    incident: Incident | None = None
    """As it is at this moment; None for events of the guard."""


def of_incident(before: Incident | None, now: Incident) -> list[Notice]:
    """List what has happened between two states of an incident, in order.

    Args:
        before: as it was last told; None if it was not told of at all.
        now: as it is.
    """
    name = now.host_name
    told: list[Notice] = []

    def tell(event: NoticeEvent, text: str, at_ms: int = 0) -> None:
        told.append(Notice(event=event, at_ms=at_ms or now_ms(), text=text, incident=now))

    def turned(state: IncidentState) -> bool:
        return now.state is state and (before is None or before.state is not state)

    if before is None:
        word = ", after it said that it was being shut down" if now.shut_down else ""
        life = f"epoch {now.life.epoch}, {fence_text(now.life)}"
        tell(NoticeEvent.HOST_LOST, f"{name} is lost{word} ({life})", now.lost_at_ms)
    if now.dead_at_ms and (before is None or not before.dead_at_ms):
        tell(NoticeEvent.HOST_DEAD, f"{name} counts as dead: {now.proof}", now.dead_at_ms)
    held = now.state is IncidentState.HELD
    if held and (turned(IncidentState.HELD) or (before and before.held_reason != now.held_reason)):
        text = f"nothing of {name} is started elsewhere by itself: {now.held_reason}"
        tell(NoticeEvent.RESCUE_HELD, text)
    if turned(IncidentState.RESCUING):
        waiting = sum(one.state.open for one in now.servers)
        tell(NoticeEvent.RESCUE_BEGAN, f"{_servers(waiting)} of {name} begin to start elsewhere")
    if turned(IncidentState.RESCUED):
        tell(NoticeEvent.RESCUE_ENDED, summary(now))
    if turned(IncidentState.ENDED) and now.held_reason:
        tell(NoticeEvent.RESCUE_HELD, f"nothing of {name} is started elsewhere: {now.held_reason}")
    elif turned(IncidentState.ENDED):
        tell(NoticeEvent.HOST_BACK, f"{name} is back; {summary(now)}", now.ended_at_ms)
    return told


def of_guard(before: RescueGuard, now: RescueGuard) -> list[Notice]:
    """Say that rescues were armed or disarmed; nothing if they are as they were."""
    if before.armed == now.armed:
        return []
    because = f": {now.reason}" if now.reason else ""
    if now.armed:
        event, text = NoticeEvent.RESCUES_ARMED, f"{now.by} has armed rescues{because}"
    elif now.by:
        event, text = NoticeEvent.RESCUES_DISARMED, f"{now.by} has disarmed rescues{because}"
    else:
        event, text = NoticeEvent.STORM_GUARD_TRIPPED, f"rescues are disarmed{because}"
    return [Notice(event=event, at_ms=now.at_ms or now_ms(), text=text)]


def summary(incident: Incident) -> str:
    """Say in one clause what became of the servers of a lost host."""
    servers = incident.servers
    if not servers:
        return f"no servers belonged to {incident.host_name}"
    parts = [
        f"{count} {word}"
        for state, word in _WORDS.items()
        if (count := sum(one.state is state for one in servers))
    ]
    times = ""
    if incident.first_running_at_ms:
        first, last = (
            (at_ms - incident.lost_at_ms) / 1000
            for at_ms in (incident.first_running_at_ms, incident.last_running_at_ms)
        )
        times = f"; the first ran {first:.1f} s after {incident.host_name} was lost"
        times += f", the last {last:.1f} s" if len(servers) > 1 else ""
    return f"of {_servers(len(servers))} of {incident.host_name}: {', '.join(parts)}{times}"


_WORDS = {
    RescueState.RESCUED: "brought elsewhere",
    RescueState.SKIPPED: "skipped",
    RescueState.FAILED: "failed",
    RescueState.RETURNED: "back with it",
    RescueState.STARTING: "being started elsewhere",
    RescueState.WAITING: "waiting",
}


def _servers(count: int) -> str:
    return f"{count} server{'' if count == 1 else 's'}"
