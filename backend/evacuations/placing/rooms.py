"""What targets have room for: what they have now, less what other evacuations were promised."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from backend.evacuations.placing.spare import Running, Spare
from backend.evacuations.placing.ways import KINDS, runs_there
from backend.fleet.known import Fleet
from backend.fleet.targets import host_states
from backend.rescue.placing import with_promised
from backend.scheduler.move import HostState
from backend.scheduler.storage import pool_needs
from wire.evacuation import Evacuation, EvacuationKind, MoveState, PlannedMove, Way
from wire.fleet import HostStatus, OwnerPhase, ServerRecord
from wire.migration import MigrationKind


def taken(host: HostState, record: ServerRecord, kind: MigrationKind, *, runs: bool) -> HostState:
    """Give a host as it is once one more server was promised to it."""
    return msgspec.structs.replace(
        host,
        server_count=host.server_count + 1,
        incoming_bytes=host.incoming_bytes + (record.memory_bytes if runs else 0),
        incoming_pool_bytes=Counter(host.incoming_pool_bytes) + pool_needs(record.disks, kind),
    )


def promised(
    evacuations: Iterable[Evacuation], *, apart_from: Collection[str]
) -> list[PlannedMove]:
    """List what open evacuations but these have promised to targets and not begun."""
    return [
        one.plan
        for evacuation in evacuations
        if evacuation.open and evacuation.evacuation_id not in apart_from
        for one in evacuation.servers
        if one.state is MoveState.WAITING and one.plan.way is not Way.STAYS
        if one.plan.target_host_id
    ]


def emptied(evacuations: Iterable[Evacuation]) -> dict[str, Evacuation]:
    """Map the hosts that servers are leaving now to their open evacuations."""
    return {
        one.host_id: one
        for one in evacuations
        if one.open and one.kind is not EvacuationKind.RETURN
    }


def rooms(
    fleet: Fleet,
    promises: Iterable[PlannedMove],
    *,
    leaving: Collection[str],
    untouched: bool,
) -> dict[str, HostState]:
    """Every host that may be a target, by id and in the order of names.

    Args:
        fleet: all that is known.
        promises: of other evacuations.
        leaving: ids of the hosts that are emptied, which are no targets.
        untouched: count memory that running servers were given and have not touched as taken, as
            rescues do.
    """
    states = {
        one.facts.host_id: with_promised(fleet, one) if untouched else one
        for one in sorted(host_states(fleet), key=lambda one: one.facts.name)
        if one.facts.host_id not in leaving
    }
    for move in promises:
        record, host = fleet.records.get(move.server_id), states.get(move.target_host_id)
        if record is not None and host is not None and record.owner.host_id != move.target_host_id:
            runs = runs_there(move.way, move.options)
            states[move.target_host_id] = taken(host, record, KINDS[move.way], runs=runs)
    return states


def spare_of(
    fleet: Fleet,
    states: Mapping[str, HostState],
    promises: Iterable[PlannedMove],
    *,
    untouched: bool,
) -> Spare:
    """Reckon which hosts may die now.

    Args:
        fleet: all that is known.
        states: of :func:`rooms`.
        promises: as there.
        untouched: as there.
    """
    takers: dict[str, int] = {}
    running: dict[str, list[Running]] = {}
    for host_id, host in states.items():
        guests, given_bytes = _running(fleet, host_id)
        usable = not host.policy.maintenance and not host.shutting_down
        if host.status is HostStatus.ONLINE and usable:
            used_bytes = host.meters.memory_used_bytes if host.meters else 0
            uncounted = 0 if untouched else max(0, given_bytes - used_bytes)
            takers[host_id] = max(0, (host.free_bytes or 0) - uncounted)
        if host.status is not HostStatus.OFFLINE:
            running[host_id] = guests
    arriving = [
        (one.target_host_id, one.server_id)
        for one in fleet.migrations.values()
        if not one.state.ended and (one.kind == "live" or one.options.auto_start)
    ]
    arriving += [
        (one.target_host_id, one.server_id) for one in promises if runs_there(one.way, one.options)
    ]
    for host_id, server_id in arriving:
        record = fleet.records.get(server_id)
        if record is not None and host_id in running:
            running[host_id].append(record)
    names = {host_id: facts.name for host_id, facts in fleet.facts.items()}
    return Spare(takers, running, names)


def _running(fleet: Fleet, host_id: str) -> tuple[list[Running], int]:
    """The servers that would be started elsewhere if a host died, and what those there were given.

    The bytes are those that :func:`backend.rescue.placing.with_promised` counts.
    """
    found: list[Running] = []
    given_bytes = 0
    records = fleet.records
    for server_id in fleet.owned.get(host_id, ()):
        record = records[server_id]
        if record.wanted_on:
            if record.owner.phase is OwnerPhase.SETTLED:
                given_bytes += record.memory_bytes
            if not record.suspended:
                found.append(record)
    return found, given_bytes
