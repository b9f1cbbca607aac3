"""An incident's list of servers, made anew from records and journal: any leader makes the same."""

from collections.abc import Callable, Mapping

import msgspec

from wire.fleet import OwnerPhase, RescuePriority, ServerPolicy, ServerRecord
from wire.migration import Migration, MigrationState
from wire.rescue import Incident, IncidentServer, RescueState

IN_TURN = "waits for its turn"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is made of."""

    records: tuple[ServerRecord, ...]
    """Of the servers that the lost host owns now."""
    rescues: tuple[Migration, ...]
    """Those of this incident."""
    policies: Mapping[str, ServerPolicy]
    skips: Callable[[ServerRecord], str]
    """Why a server is not started elsewhere by itself; empty if it is."""
    waits: Callable[[ServerRecord], str]
    """Why one that is to be started elsewhere has not been yet; empty if its turn comes."""
    stalls: Mapping[str, str]
    """migration_id → what a rescue under way waits for."""


def account(incident: Incident, given: Given) -> tuple[IncidentServer, ...]:
    """List every server that the host owned when it was lost, by priority and name."""
    lines = {one.server_id: one for one in incident.servers}
    owned = {one.server_id: one for one in given.records}
    latest: dict[str, Migration] = {}
    for one in sorted(given.rescues, key=lambda one: one.generation):
        latest[one.server_id] = one
    count = {
        server_id: sum(1 for one in given.rescues if one.server_id == server_id)
        for server_id in latest
    }
    for server_id in lines.keys() | owned.keys() | latest.keys():
        line, rescue = lines.get(server_id), latest.get(server_id)
        if rescue is not None:
            lines[server_id] = _of_rescue(rescue, count[server_id], given)
        elif server_id in owned and incident.open:
            lines[server_id] = _of_record(owned[server_id], given)
        elif line is not None and line.state.open:
            lines[server_id] = _of_the_past(line, owned=server_id in owned)
    listed = [_with_priority(one, given.policies) for one in lines.values()]
    return tuple(sorted(listed, key=lambda one: (one.priority.rank, one.server_name)))


def turn(record: ServerRecord, policies: Mapping[str, ServerPolicy]) -> tuple[int, int, str]:
    """When a server's turn comes: by priority, then larger memory, then name."""
    return _priority(record.server_id, policies).rank, -record.memory_bytes, record.name


def _of_the_past(line: IncidentServer, *, owned: bool) -> IncidentServer:
    """A server that was to be started elsewhere, of a host that is back, or that has left it."""
    if owned:
        return msgspec.structs.replace(
            line, state=RescueState.RETURNED, reason="its host came back before"
        )
    return msgspec.structs.replace(
        line, state=RescueState.SKIPPED, reason="it does not belong to its host any more"
    )


def _of_record(record: ServerRecord, given: Given) -> IncidentServer:
    skipped = given.skips(record)
    moving = record.owner.phase is OwnerPhase.MIGRATING
    if moving:
        state, reason = RescueState.WAITING, f"migration {record.owner.migration_id} ends first"
    elif skipped:
        state, reason = RescueState.SKIPPED, skipped
    else:
        state, reason = RescueState.WAITING, given.waits(record) or IN_TURN
    return IncidentServer(
        server_id=record.server_id, server_name=record.name, state=state, reason=reason
    )


def _of_rescue(rescue: Migration, tries: int, given: Given) -> IncidentServer:
    target, name = rescue.target_host_name, rescue.server_name
    waits_for = given.stalls.get(rescue.migration_id, "")
    reason = "; ".join(one for one in (f"is being started on {target}", waits_for) if one)
    state, running_at_ms = RescueState.STARTING, 0
    if rescue.state is MigrationState.SUCCEEDED:
        runs = rescue.options.auto_start
        state = RescueState.RESCUED
        reason = "" if runs else f"{name} is defined on {target} and stopped, as it was asked for"
        running_at_ms = rescue.finished_at_ms if runs else 0
    elif rescue.state.ended:
        state, reason = RescueState.FAILED, rescue.error
    return IncidentServer(
        server_id=rescue.server_id,
        server_name=name,
        state=state,
        reason=reason,
        tries=tries,
        migration_id=rescue.migration_id,
        target_host_name=target,
        running_at_ms=running_at_ms,
    )


def _with_priority(line: IncidentServer, policies: Mapping[str, ServerPolicy]) -> IncidentServer:
    return msgspec.structs.replace(line, priority=_priority(line.server_id, policies))


def _priority(server_id: str, policies: Mapping[str, ServerPolicy]) -> RescuePriority:
    return policies.get(server_id, ServerPolicy()).rescue_priority
