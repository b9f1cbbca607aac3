"""The entry points of planning: for hosts to empty, for a return, and anew for what is open.

What libvirt says of CPUs, and the definitions of a dead host's servers, are asked for; all else is
a pure function of what is known at the beginning (:mod:`backend.evacuations.planning.making`). It
runs in a thread, on a copy, one plan at a time: a plan for a rack takes seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from backend.evacuations.placing.wishes import Scope, wishes
from backend.evacuations.planning.anew import again, open_servers, remembered, under_way
from backend.evacuations.planning.making import Wanted, given, make
from backend.evacuations.planning.snapshot import snapshot_of
from backend.evacuations.planning.telling import kind_of
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.fleet.names import find_host
from backend.migrations.jobs import Jobs
from backend.moments import now_ms
from backend.rescue.definition import Definition, read_definition
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
from wire.fleet import ServerRecord


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What plans are made from."""

    fleet: Fleet
    comparisons: Comparisons
    jobs: Jobs
    definition: Callable[[str], Awaitable[str]]
    """A server's definition as etcd keeps it, by its id; read for the servers of a dead host."""
    turn: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(1))
    """Held by the one plan that is reckoned now: two threads would be slower than one."""


async def plan(sources: Sources, request: PlanRequest) -> tuple[Plan, ...]:
    """Plan for one host or several together: those that are up are emptied, others rescued.

    Raises:
        GodwitError: NOT_FOUND or AMBIGUOUS for a host or server that nobody knows; BAD_REQUEST for
            an edit or an option that makes no sense. Why nothing can be started as it is stands in
            ``refusals``, and why one server stays in its line.
    """
    fleet = sources.fleet
    hosts = {one.host_id: one for one in (find_host(fleet, name) for name in request.hosts)}
    wanted = []
    for host in hosts.values():
        records = _owned(fleet, host.host_id)
        wanted.append(
            Wanted(
                kind=kind_of(fleet, host),
                host=host,
                records=records,
                options=request.options,
                cap_bytes_per_s=request.max_bandwidth_bytes_per_s,
                empty_by_ms=request.empty_by_ms,
            )
        )
    scope = Scope(
        kind=EvacuationKind.EVACUATE,
        hosts=tuple(hosts.values()),
        records={id_: record for one in wanted for id_, record in one.records.items()},
    )
    wished = wishes(fleet, scope, request.edits)
    wanted = [msgspec.structs.replace(one, wishes=wished) for one in wanted]
    return await _made(sources, wanted, keep_spare=request.keep_spare)


async def plan_return(sources: Sources, host: str, request: ReturnRequest) -> Plan:
    """Plan to bring back to a host what left it in evacuations that have ended.

    Each server comes from where it is now. One that was brought back since, or is gone, is not in
    the plan.

    Raises:
        GodwitError: as :func:`plan`.
    """
    fleet = sources.fleet
    facts = find_host(fleet, host)
    records = _left(fleet, facts.host_id)
    scope = Scope(kind=EvacuationKind.RETURN, hosts=(facts,), records=records)
    wanted = Wanted(
        kind=EvacuationKind.RETURN,
        host=facts,
        records=records,
        wishes=wishes(fleet, scope, request.edits),
        options=request.options,
        cap_bytes_per_s=request.max_bandwidth_bytes_per_s,
    )
    (made,) = await _made(sources, [wanted], keep_spare=False)
    return made


async def replan(
    sources: Sources, evacuation: Evacuation, edits: tuple[PlanEdit, ...] = ()
) -> Evacuation:
    """Plan anew what waits and what stays, and add servers that turned up on the host since.

    What moves, has left, failed or was cancelled is kept as it is, unless an edit names one that
    failed or was cancelled. Pinned targets stay pinned: one that takes nothing any more makes its
    server stay, with the reason. The servers come in the order in which they begin.

    Raises:
        GodwitError: as :func:`plan`, for the edits.
    """
    fleet = sources.fleet
    host = find_host(fleet, evacuation.host_id)
    records = open_servers(fleet, evacuation)
    scope = Scope(kind=evacuation.kind, hosts=(host,), records=records)
    edited = wishes(fleet, scope, edits)
    known = {one.plan.server_id: one for one in evacuation.servers}
    closed = {
        server_id
        for server_id, one in known.items()
        if one.state in {MoveState.FAILED, MoveState.CANCELLED} and server_id not in edited
    }
    at_ms = now_ms()
    wanted = Wanted(
        kind=evacuation.kind,
        host=host,
        records={id_: record for id_, record in records.items() if id_ not in closed},
        wishes=wishes(fleet, scope, edits, remembered(evacuation)),
        options=evacuation.options,
        cap_bytes_per_s=evacuation.max_bandwidth_bytes_per_s,
        evacuation_id=evacuation.evacuation_id,
        under_way=under_way(evacuation, at_ms),
    )
    (made,) = await _made(sources, [wanted], keep_spare=evacuation.keep_spare)
    fresh = [as_server(one) for one in made.moves]
    return again(evacuation, fresh, at_ms)


def as_server(move: PlannedMove) -> EvacuatedServer:
    """A planned server as it stands in an evacuation that begins."""
    stays = move.way is Way.STAYS
    return EvacuatedServer(
        plan=move,
        state=MoveState.STAYED if stays else MoveState.WAITING,
        reason=move.why if stays else "",
    )


async def _made(
    sources: Sources, wanted: Sequence[Wanted], *, keep_spare: bool
) -> tuple[Plan, ...]:
    fleet = sources.fleet
    dead = (
        record
        for one in wanted
        if one.kind is EvacuationKind.RESCUE
        for record in one.records.values()
    )
    definitions = await _definitions(sources, dead)
    async with sources.turn:
        known = await asyncio.to_thread(
            given,
            snapshot_of(fleet),
            snapshot_of(sources.jobs),
            wanted,
            definitions,
            now_ms(),
        )
    moves = [line.move for each in known.lines for line in each if line.move is not None]
    await known.alike.ask(sources.comparisons, moves)
    async with sources.turn:
        return await asyncio.to_thread(make, known, wanted, keep_spare=keep_spare)


async def _definitions(
    sources: Sources, records: Iterable[ServerRecord]
) -> Mapping[str, Definition]:
    listed = list(records)
    read = await asyncio.gather(*(sources.definition(one.server_id) for one in listed))
    return {
        record.server_id: read_definition(record.name, xml)
        for record, xml in zip(listed, read, strict=True)
    }


def _owned(fleet: Fleet, host_id: str) -> dict[str, ServerRecord]:
    return {one: fleet.records[one] for one in fleet.owned.get(host_id, ())}


def _left(fleet: Fleet, host_id: str) -> dict[str, ServerRecord]:
    """The servers that left a host in an evacuation, are not there now, and were not returned."""
    found = {}
    for evacuation in fleet.evacuations.values():
        if evacuation.open or evacuation.host_id != host_id:
            continue
        if evacuation.kind is EvacuationKind.RETURN:
            continue
        for one in evacuation.servers:
            record = fleet.records.get(one.plan.server_id)
            gone = one.state is MoveState.LEFT and not one.returned
            if gone and record is not None and record.owner.host_id != host_id:
                found[record.server_id] = record
    return found
