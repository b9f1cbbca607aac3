"""The entry points of planning: for hosts to empty, for a return, and anew for what is open.

What libvirt says of CPUs, and the definitions of a dead host's servers, are asked for first; all
that follows is a pure function of what is known then.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from backend.evacuations.options import merged
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.fleet.names import find_host
from backend.fleet.server_view import standing
from backend.fleet.targets import host_states, move_of
from backend.migrations.choice import skips_of
from backend.migrations.jobs import Jobs
from backend.migrations.notes import now_ms
from backend.scheduler.candidates import candidates
from backend.scheduler.move import HostState
from backend.scheduler.state import MOVES_COLD, MOVES_LIVE
from backend.scheduler.storage import pool_needs
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    MoveState,
    Plan,
    PlanEdit,
    PlannedMove,
    PlanRequest,
    ReturnRequest,
    Way,
)
from wire.fleet import HostFacts, ServerRecord
from wire.migration import MigrationKind


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What plans are made from."""

    fleet: Fleet
    comparisons: Comparisons
    jobs: Jobs
    definition: Callable[[str], Awaitable[str]]
    """A server's definition as etcd keeps it, by its id; read for the servers of a dead host."""
    evacuations: Mapping[str, Evacuation] = {}
    """By id: every one that etcd keeps."""


async def plan(sources: Sources, request: PlanRequest) -> tuple[Plan, ...]:
    """Plan for one host or several together: live ones are emptied, dead ones are rescued.

    Raises:
        GodwitError: NOT_FOUND or AMBIGUOUS for a host or server that nobody knows; BAD_REQUEST for
            an edit that makes no sense. Why nothing can be started is in ``refusals``.
    """
    hosts = [find_host(sources.fleet, one) for one in request.hosts]
    states = {one.facts.host_id: one for one in host_states(sources.fleet)}
    for host in hosts:
        states.pop(host.host_id, None)
    return tuple([await _simple(sources, host, request, states) for host in hosts])


async def plan_return(sources: Sources, host: str, request: ReturnRequest) -> Plan:
    """Plan to bring back to a host what left it in evacuations that have ended.

    Raises:
        GodwitError: as :func:`plan`.
    """
    del request
    facts = find_host(sources.fleet, host)
    return Plan(
        kind=EvacuationKind.RETURN,
        host_id=facts.host_id,
        host_name=facts.name,
        moves=(),
        made_at_ms=now_ms(),
        refusals=(f"nothing that left {facts.name} is left to return",),
    )


async def replan(
    sources: Sources, evacuation: Evacuation, edits: tuple[PlanEdit, ...] = ()
) -> Evacuation:
    """Plan anew what waits, keep what moved, and add servers that turned up on the host since.

    Raises:
        GodwitError: as :func:`plan`, for the edits.
    """
    request = PlanRequest(hosts=(evacuation.host_id,), options=evacuation.options, edits=edits)
    (fresh,) = await plan(sources, request)
    kept = {
        one.plan.server_id: one
        for one in evacuation.servers
        if one.state not in {MoveState.WAITING, MoveState.STAYED}
    }
    added = [as_server(one) for one in fresh.moves if one.server_id not in kept]
    return msgspec.structs.replace(evacuation, servers=(*kept.values(), *added))


def as_server(move: PlannedMove) -> EvacuatedServer:
    """A planned server as it stands in an evacuation that begins."""
    stays = move.way is Way.STAYS
    return EvacuatedServer(
        plan=move,
        state=MoveState.STAYED if stays else MoveState.WAITING,
        reason=move.why if stays else "",
    )


async def _simple(
    sources: Sources, host: HostFacts, request: PlanRequest, states: dict[str, HostState]
) -> Plan:
    fleet = sources.fleet
    records = sorted(
        (fleet.records[one] for one in fleet.owned.get(host.host_id, ())),
        key=lambda one: (-one.memory_bytes, one.name),
    )
    moves = [await _line(sources, host, record, request, states) for record in records]
    return Plan(
        kind=EvacuationKind.EVACUATE,
        host_id=host.host_id,
        host_name=host.name,
        moves=tuple(sorted(moves, key=lambda one: (one.way is Way.STAYS, one.memory_bytes))),
        made_at_ms=now_ms(),
    )


async def _line(
    sources: Sources,
    host: HostFacts,
    record: ServerRecord,
    request: PlanRequest,
    states: dict[str, HostState],
) -> PlannedMove:
    fleet = sources.fleet
    now = standing(fleet, record)
    way = Way.LIVE if now.status in MOVES_LIVE else Way.COLD
    kind: MigrationKind = "live" if way is Way.LIVE else "cold"
    options = merged(kind, request.options)
    line = PlannedMove(
        server_id=record.server_id,
        server_name=record.name,
        way=way,
        source_host_id=host.host_id,
        source_host_name=host.name,
        options=options,
        memory_bytes=record.memory_bytes,
    )
    move = move_of(fleet, record, kind=kind, skips=skips_of(options))
    if move is None or now.status not in MOVES_LIVE | MOVES_COLD:
        why = f"{record.name} is {now.status}: {now.reason}"
        return msgspec.structs.replace(line, way=Way.STAYS, why=why)
    judged = candidates(move, await sources.comparisons.asked_states(move, states.values()))
    best = next((one for one in judged if one.fits), None)
    if best is None:
        why = _nearest(judged)
        return msgspec.structs.replace(line, way=Way.STAYS, why=why)
    state = states[best.host_id]
    states[best.host_id] = msgspec.structs.replace(
        state,
        server_count=state.server_count + 1,
        incoming_bytes=state.incoming_bytes + (record.memory_bytes if kind == "live" else 0),
        incoming_pool_bytes=Counter(state.incoming_pool_bytes) + pool_needs(record.disks, kind),
    )
    return msgspec.structs.replace(
        line,
        target_host_id=best.host_id,
        target_host_name=best.host_name,
        why=best.risk,
    )


def _nearest(judged: Iterable[object]) -> str:
    reasons = [getattr(one, "reasons", ()) for one in judged]
    nearest = min((one for one in reasons if one), key=len, default=("there is no other host",))
    return nearest[0]
