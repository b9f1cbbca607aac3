"""Whether a new plan may find targets that the last one did not: what has changed since."""

from collections.abc import Iterable, Mapping

import msgspec

from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report
from backend.fleet.targets import host_states
from backend.scheduler.move import HostState
from wire.fleet import HostFacts, HostStatus, Owner, ServerFacts, ServerRecord

_NOISE_BYTES = 64 << 20
"""Memory in use goes up and down by as much, and nothing has happened."""
_MORE_DISK_BYTES = 1 << 30
_PART = 0.05
"""Of the smallest server: less room more would have made no difference but by chance."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What matters of one host that may be a target."""

    facts: HostFacts
    """Without what is free in its pools."""
    takes: bool
    """Online, in no maintenance, and not being shut down."""
    free_bytes: int
    pool_bytes: tuple[int, ...]


class Prospects(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan for these servers was made of, as far as it decides whether there is a target."""

    servers: Mapping[str, tuple[Owner, ServerFacts | None] | None]
    """By id; without what is used of their disks."""
    rooms: Mapping[str, Room]
    held: frozenset[str]
    """Ids of open evacuations: what they are promised is room that others do not get."""
    least_bytes: int
    """Memory of the smallest server."""


def prospects(fleet: Fleet, server_ids: Iterable[str]) -> Prospects:
    """Look at what a plan would be made of now."""
    records = {one: fleet.records.get(one) for one in server_ids}
    return Prospects(
        servers={
            id_: (record.owner, _report(fleet, record)) if record else None
            for id_, record in records.items()
        },
        rooms={one.facts.host_id: _room(one) for one in host_states(fleet)},
        held=frozenset(one.evacuation_id for one in fleet.evacuations.values() if one.open),
        least_bytes=min((one.memory_bytes for one in records.values() if one), default=0),
    )


def are_better(now: Prospects, before: Prospects) -> bool:
    """Whether what differs may bring a target: a host more, or more room, and never less of it."""
    if now.servers != before.servers or before.held - now.held:
        return True
    more_bytes = max(_NOISE_BYTES, _PART * now.least_bytes)
    return any(
        one.takes and _is_more(one, before.rooms.get(host_id), more_bytes)
        for host_id, one in now.rooms.items()
    )


def _is_more(now: Room, before: Room | None, more_bytes: float) -> bool:
    if before is None or not before.takes or now.facts != before.facts:
        return True
    pools = zip(now.pool_bytes, before.pool_bytes, strict=True)  # facts tell the same pools
    return now.free_bytes >= before.free_bytes + more_bytes or any(
        free >= known + _MORE_DISK_BYTES for free, known in pools
    )


def _room(host: HostState) -> Room:
    pools = host.facts.pools
    facts = msgspec.structs.replace(
        host.facts, pools=tuple(msgspec.structs.replace(one, available_bytes=0) for one in pools)
    )
    maintained = host.policy.maintenance or host.shutting_down
    return Room(
        facts=facts,
        takes=host.status is HostStatus.ONLINE and not maintained,
        free_bytes=host.free_bytes or 0,
        pool_bytes=tuple(one.available_bytes for one in pools),
    )


def _report(fleet: Fleet, record: ServerRecord) -> ServerFacts | None:
    report = owner_report(fleet, record)
    if report is None:
        return None
    disks = tuple(msgspec.structs.replace(one, allocation_bytes=0) for one in report.disks)
    return msgspec.structs.replace(report, disks=disks)
