"""What targets have room for: what they have now, less what other evacuations were promised."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from backend.evacuations.spare import Guest, Spare
from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.fleet.targets import host_states
from backend.rescue.placing import with_promised
from backend.scheduler.move import HostState
from backend.scheduler.storage import pool_needs
from wire.evacuation import Evacuation, EvacuationKind, MoveState, PlannedMove, Way
from wire.fleet import HostStatus, ServerRecord
from wire.migration import MigrationKind

KINDS: dict[Way, MigrationKind] = {Way.LIVE: "live", Way.COLD: "cold", Way.RESCUE: "rescue"}
"""The kind of migration that each way is."""


def runs_there(move: PlannedMove) -> bool:
    """Whether a server takes memory on its target from its arrival on."""
    return move.way is Way.LIVE or (move.way is Way.RESCUE and move.options.auto_start)


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
            states[move.target_host_id] = taken(
                host, record, KINDS[move.way], runs=runs_there(move)
            )
    return states


def spare_of(
    fleet: Fleet,
    states: Mapping[str, HostState],
    promises: Iterable[PlannedMove],
    *,
    leaving: Collection[str],
) -> Spare:
    """Reckon which hosts may die now.

    Args:
        fleet: all that is known.
        states: of :func:`rooms`.
        promises: as there, and as the last one.
        leaving: ids of the hosts that are emptied.
    """
    takers = {
        host_id: with_promised(fleet, one).free_bytes or 0
        for host_id, one in states.items()
        if one.status is HostStatus.ONLINE and not one.policy.maintenance and not one.shutting_down
    }
    running = {
        host_id: _running(fleet, host_id)
        for host_id, facts in fleet.facts.items()
        if host_id not in leaving and host_status(fleet, facts)[0] is not HostStatus.OFFLINE
    }
    arriving = [
        (one.target_host_id, one.server_id)
        for one in fleet.migrations.values()
        if not one.state.ended and (one.kind == "live" or one.options.auto_start)
    ]
    arriving += [(one.target_host_id, one.server_id) for one in promises if runs_there(one)]
    for host_id, server_id in arriving:
        record = fleet.records.get(server_id)
        if record is not None and host_id in running:
            running[host_id].append(Guest(record.memory_bytes, record.name))
    names = {host_id: facts.name for host_id, facts in fleet.facts.items()}
    return Spare(takers, running, names)


def _running(fleet: Fleet, host_id: str) -> list[Guest]:
    """The servers that would be started elsewhere if a host died."""
    records = (fleet.records[one] for one in fleet.owned.get(host_id, ()))
    return [
        Guest(one.memory_bytes, one.name) for one in records if one.wanted_on and not one.suspended
    ]
