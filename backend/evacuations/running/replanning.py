"""Planning anew while an evacuation runs: when it is needed, and what of a new plan is taken."""

from collections.abc import Collection, Mapping

import msgspec

from backend.fleet.host_view import host_status, shutting_down
from backend.fleet.known import Fleet
from backend.moments import now_ms
from wire.evacuation import EvacuatedServer, Evacuation, MoveState, PlannedMove, Way
from wire.fleet import HostPolicy, HostStatus, OwnerPhase
from wire.forecast import Ease

_HANGS_MS = 60_000
"""A target that is silent for longer is replaced, if any other one fits."""


def unfit(fleet: Fleet, host_id: str) -> str:
    """Why a host takes nothing any more, in one clause; empty if it does.

    One that merely does not answer may be back in a moment.
    """
    facts = fleet.facts.get(host_id)
    if facts is None:
        return "its target was removed from the fleet"
    if host_status(fleet, facts)[0] is HostStatus.OFFLINE:
        return f"{facts.name} is offline"
    if fleet.policies.get(host_id, HostPolicy()).maintenance:
        return f"{facts.name} is in maintenance"
    if shutting_down(fleet, host_id):
        return f"{facts.name} is being shut down"
    return ""


def to_place(fleet: Fleet, evacuation: Evacuation) -> list[EvacuatedServer]:
    """List the waiting servers whose target is missing, or takes nothing any more."""
    return [
        one
        for one in evacuation.servers
        if one.state is MoveState.WAITING
        and not _moves(fleet, one.plan.server_id)
        and (
            not one.plan.target_host_id
            or unfit(fleet, one.plan.target_host_id)
            or (not one.plan.pinned and _hangs(fleet, one.plan.target_host_id, now_ms()))
        )
    ]


def _moves(fleet: Fleet, server_id: str) -> bool:
    """Whether somebody moves a server now: it is planned once that has ended."""
    record = fleet.records.get(server_id)
    return record is not None and record.owner.phase is OwnerPhase.MIGRATING


def _hangs(fleet: Fleet, host_id: str, at_ms: int) -> bool:
    """Whether a host has not answered for so long that others are asked instead."""
    link = fleet.link(host_id)
    return not link.connected and 0 < link.seen_at_ms < at_ms - _HANGS_MS


def unplaced(evacuation: Evacuation, refused: Mapping[str, str]) -> Evacuation:
    """Take their targets from servers that could not begin as planned: they are planned anew.

    Args:
        evacuation: as it is.
        refused: server_id → why it could not begin.
    """
    servers = tuple(
        msgspec.structs.replace(
            one,
            plan=msgspec.structs.replace(one.plan, target_host_id="", target_host_name=""),
            reason=refused[one.plan.server_id],
        )
        if one.state is MoveState.WAITING and one.plan.server_id in refused
        else one
        for one in evacuation.servers
    )
    return msgspec.structs.replace(evacuation, servers=servers)


def broken_pins(fleet: Fleet, evacuation: Evacuation) -> dict[str, str]:
    """Say of each server whose target an operator chose that this one takes nothing any more.

    Returns:
        server_id → what has become of the target, and how another one is chosen.
    """
    found = {}
    for plan in (one.plan for one in evacuation.servers if one.plan.pinned):
        host = fleet.facts.get(plan.options.prefer_host)
        why = unfit(fleet, plan.options.prefer_host)
        if not why:
            continue
        what = f"{host.name}, and {why}" if host else "a host that was removed from the fleet"
        if host is not None and host_status(fleet, host)[0] is HostStatus.OFFLINE:
            what = f"{host.name}, which is lost"
        found[plan.server_id] = (
            f"an operator chose {what}; choose another: godwit evacuation-change "
            f"--move {plan.server_name}=HOST {evacuation.host_name}"
        )
    return found


def replanned(
    known: Evacuation,
    fresh: Evacuation,
    pins: Mapping[str, str],
    *,
    asked_for: bool,
    edited: Collection[str] = (),
) -> Evacuation:
    """Take over a new plan for what waits, and for servers that turned up.

    Args:
        known: the evacuation as it is.
        fresh: the same with a new plan.
        pins: what is said of chosen targets that take nothing any more, by server id.
        asked_for: a person wants it, so that also those are planned which stayed by the plan.
        edited: ids of servers that a person wants otherwise: what the plan says holds.
    """
    planned = {one.plan.server_id: one for one in fresh.servers}
    there = {one.plan.server_id for one in known.servers}
    servers = [
        _replanned(one, planned.get(one.plan.server_id), pins, asked_for, edited)
        for one in known.servers
    ]
    added = [one for one in fresh.servers if one.plan.server_id not in there]
    places = {one.plan.server_id: place for place, one in enumerate(fresh.servers)}
    ordered = sorted(
        (*servers, *added),
        key=lambda one: (one.state is not MoveState.WAITING, places.get(one.plan.server_id, -1)),
    )
    begun = [one for one in ordered if one.state is not MoveState.WAITING]
    waiting = [one for one in ordered if one.state is MoveState.WAITING]
    return msgspec.structs.replace(known, servers=(*begun, *waiting))


def _replanned(
    server: EvacuatedServer,
    fresh: EvacuatedServer | None,
    pins: Mapping[str, str],
    asked_for: bool,  # noqa: FBT001
    edited: Collection[str],
) -> EvacuatedServer:
    wanted = {MoveState.WAITING, MoveState.STAYED} if asked_for else {MoveState.WAITING}
    chosen = server.plan.server_id in edited
    if fresh is None or (server.state not in wanted and not chosen):
        return server
    if server.state in {MoveState.MOVING, MoveState.LEFT}:
        return server
    if fresh.plan.way is not Way.STAYS:
        plan = fresh.plan if chosen else _as_shown(server, fresh.plan)
        return msgspec.structs.replace(
            server, plan=plan, state=MoveState.WAITING, reason="", ended_at_ms=0
        )
    stayed = server.state is MoveState.STAYED or server.plan.way is Way.STAYS
    if chosen or fresh.plan.chosen_way or stayed:
        return msgspec.structs.replace(
            server, plan=fresh.plan, state=MoveState.STAYED, reason=fresh.plan.why
        )
    plan = msgspec.structs.replace(server.plan, target_host_id="", target_host_name="")
    reason = pins.get(plan.server_id) or f"no host takes it now: {fresh.plan.why}"
    return msgspec.structs.replace(server, plan=plan, reason=reason)


def _as_shown(server: EvacuatedServer, fresh: PlannedMove) -> PlannedMove:
    """A new plan of one that a move has shown to be stuck: so it is until its options change."""
    shown = server.plan.forecast
    if not server.tries or shown is None or shown.ease is not Ease.STUCK:
        return fresh
    asked = msgspec.structs.replace(fresh.options, prefer_host="")
    if fresh.way is not server.plan.way or asked != msgspec.structs.replace(
        server.plan.options, prefer_host=""
    ):
        return fresh
    return msgspec.structs.replace(fresh, forecast=shown)
