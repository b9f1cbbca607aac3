"""Where a server of a dead host may start anew."""

from collections.abc import Collection

import msgspec

from backend.fleet.cpus import Comparisons
from backend.fleet.host_view import host_status, shutting_down
from backend.fleet.known import Fleet
from backend.fleet.targets import host_states
from backend.leader_writes import persist
from backend.migrations.drive import Drive
from backend.rescue.definition import Definition, read_definition
from backend.scheduler.candidates import candidates
from backend.scheduler.move import HostState, Move
from wire.candidates import Candidate
from wire.fleet import (
    HostFacts,
    HostPolicy,
    HostStatus,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
    ServerStatus,
)
from wire.migration import Migration

_REASONS_TOLD = 4


def facts_of(record: ServerRecord, definition: Definition) -> ServerFacts:
    """A server as it would be started anew, from what etcd keeps of it."""
    return ServerFacts(
        server_id=record.server_id,
        name=record.name,
        vcpu_count=record.vcpu_count,
        memory_bytes=record.memory_bytes,
        disks=record.disks,
        machine=definition.machine,
        virt_type=definition.virt_type,
        state=PowerState.SHUT_OFF,
        cpu_xml=definition.cpu_xml,
        architecture=definition.architecture,
        passthrough=definition.tied_to,
    )


async def judged(
    fleet: Fleet,
    comparisons: Comparisons,
    record: ServerRecord,
    source: HostFacts,
    *,
    definition: Definition,
    auto_start: bool,
) -> tuple[Candidate, ...]:
    """Judge every host as the new one of a server, best first.

    Args:
        fleet: all that is known.
        comparisons: what libvirt says of CPUs; asked for what is not known yet.
        record: the server.
        source: the host that is dead.
        definition: the server's, as etcd keeps it.
        auto_start: whether it is to run there.
    """
    move = Move(
        server=facts_of(record, definition),
        status=ServerStatus.UNKNOWN,
        source=source,
        kind="rescue",
        auto_start=auto_start,
    )
    hosts = [with_promised(fleet, host) for host in host_states(fleet)]
    return candidates(move, await comparisons.asked_states(move, hosts))


def best(
    fleet: Fleet, judged_hosts: tuple[Candidate, ...], *, apart_from: Collection[str] = ()
) -> Candidate | None:
    """Pick the best host that fits; one that is late itself only if there is no other."""
    fitting = [one for one in judged_hosts if one.fits and one.host_id not in apart_from]
    in_time = [one for one in fitting if one.host_id not in fleet.late]
    return next(iter(in_time or fitting), None)


async def next_target(
    drive: Drive, migration: Migration, *, apart_from: Collection[str]
) -> Candidate | None:
    """Pick the next host for a rescue under way; None if there is none."""
    fleet = drive.fleet
    record = fleet.records.get(migration.server_id)
    incident = fleet.incidents.get(migration.incident_id)
    source = fleet.facts.get(incident.host_id if incident else migration.source_host_id)
    if record is None or source is None:
        return None
    xml = await persist(drive.journal.definition, record.server_id)
    hosts = await judged(
        fleet,
        drive.comparisons,
        record,
        source,
        definition=read_definition(record.name, xml),
        auto_start=migration.options.auto_start,
    )
    return best(fleet, hosts, apart_from=apart_from)


def takers(fleet: Fleet) -> set[str]:
    """Ids of the hosts that take servers at all, whichever they are."""
    return {
        host_id
        for host_id, facts in fleet.facts.items()
        if host_status(fleet, facts)[0] is HostStatus.ONLINE
        and not fleet.policies.get(host_id, HostPolicy()).maintenance
        and not shutting_down(fleet, host_id)
    }


def summary(name: str, judged_hosts: tuple[Candidate, ...], *, apart_from: str) -> str:
    """Say in one sentence why no host fits, each with its first reason."""
    others = [one for one in judged_hosts if one.host_id != apart_from and one.reasons]
    if not others:
        return f"{name} has nowhere to start: there is no other host"
    told = [one.reasons[0] for one in others[:_REASONS_TOLD]]
    more = len(others) - len(told)
    rest = f"; and {more} more {'host' if more == 1 else 'hosts'}" if more > 0 else ""
    return f"{name} has nowhere to start: {'; '.join(told)}{rest}"


def with_promised(fleet: Fleet, host: HostState) -> HostState:
    """Count the memory that running servers were given and have not touched yet as promised.

    A guest that was started a moment ago uses little of what it will use.
    """
    if host.meters is None:
        return host
    records = (fleet.records[one] for one in fleet.owned.get(host.facts.host_id, ()))
    given = sum(
        one.memory_bytes
        for one in records
        if one.wanted_on and one.owner.phase is OwnerPhase.SETTLED
    )
    untouched = max(0, given - host.meters.memory_used_bytes)
    return msgspec.structs.replace(host, incoming_bytes=host.incoming_bytes + untouched)
