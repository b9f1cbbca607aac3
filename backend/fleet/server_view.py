"""A server as the API shows it: one status word, and where it is."""

from typing import Literal

import msgspec

from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.fleet.stalled import stalled_reason
from wire.fleet import (
    Disk,
    HostStatus,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerPolicy,
    ServerRecord,
    ServerStatus,
    ServerView,
)
from wire.migration import Migration, MigrationState

_OF_POWER = {
    PowerState.RUNNING: ServerStatus.RUNNING,
    PowerState.PAUSED: ServerStatus.SUSPEND,
    PowerState.SHUT_OFF: ServerStatus.READY,
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A server's status word and, where it needs one, its reason."""

    status: ServerStatus
    reason: str = ""


def standing(fleet: Fleet, record: ServerRecord) -> Standing:
    """Say how a server stands: by its migration if one is under way, else by its owner's report."""
    migration = fleet.move_under_way(record)
    if migration is not None and not migration.state.ended:
        return _migrating(fleet, migration)
    silence = _silence(fleet, record.owner.host_id)
    if silence:
        return _unheard(record, "; ".join(part for part in (silence, _case(fleet, record)) if part))
    report = owner_report(fleet, record)
    if report is None:
        return Standing(status=ServerStatus.UNKNOWN, reason=_missing(fleet, record))
    status = of_power(report.state)
    detail = report.state_detail if status is ServerStatus.SUSPEND else ""
    return Standing(status=status, reason=detail)


def of_power(state: PowerState) -> ServerStatus:
    """The status word of a server that does not migrate."""
    return _OF_POWER.get(state, ServerStatus.UNKNOWN)


def owner_report(fleet: Fleet, record: ServerRecord) -> ServerFacts | None:
    """What the owning host says of a server; None when it does not have it."""
    report = fleet.reports.get(record.owner.host_id, {}).get(record.server_id)
    return None if report is None or report.state is PowerState.ABSENT else report


def server_view(fleet: Fleet, record: ServerRecord, targets: tuple[str, ...]) -> ServerView:
    """Put a server's view together; ``targets`` are the names of hosts it may go to now."""
    now = standing(fleet, record)
    owner = fleet.facts.get(record.owner.host_id)
    report = owner_report(fleet, record)  # beside the record's it tells how much is in use
    return ServerView(
        server_id=record.server_id,
        name=record.name,
        status=now.status,
        status_reason="; ".join(part for part in (now.reason, _blind(fleet)) if part),
        host_id=record.owner.host_id,
        host_name=owner.name if owner else record.owner.host_id,
        vcpu_count=record.vcpu_count,
        memory_bytes=record.memory_bytes,
        disks=report.disks if report is not None else record.disks,
        storage=storage_kind(record.disks),
        target_host_names=targets,
        migration_id=record.owner.migration_id,
        generation=record.owner.generation,
        rescue_priority=fleet.server_policies.get(record.server_id, ServerPolicy()).rescue_priority,
        wanted_on=record.wanted_on,
    )


def storage_kind(disks: tuple[Disk, ...]) -> Literal["shared", "local", "mixed", "none"]:
    """Sum up where a server's disks lie; media and empty drives do not count."""
    kinds = {disk.shared for disk in disks if disk.source and disk.device in {"disk", "lun"}}
    if len(kinds) > 1:
        return "mixed"
    if not kinds:
        return "none"
    return "shared" if kinds.pop() else "local"


def _migrating(fleet: Fleet, migration: Migration) -> Standing:
    to = f"to {migration.target_host_name}" if migration.target_host_name else ""
    reason = "; ".join(part for part in (to, stalled_reason(fleet, migration)) if part)
    if migration.state.rank <= MigrationState.PREPARING.rank:
        return Standing(status=ServerStatus.START_MIGRATE, reason=reason)
    if migration.kind != "live":
        return Standing(status=ServerStatus.MIGRATING, reason=reason)
    return Standing(status=ServerStatus.LIVE_MIGRATING, reason=reason)


def _blind(fleet: Fleet) -> str:
    """Say why a server seems to have nowhere to go while nobody knows how the hosts are."""
    return f"where it may go is unknown: {fleet.etcd_error}" if fleet.etcd_error else ""


def _silence(fleet: Fleet, host_id: str) -> str:
    facts = fleet.facts.get(host_id)
    if facts is None:
        return f"no host has the id {host_id}"
    status, reason = host_status(fleet, facts)
    if status is HostStatus.OFFLINE:
        return reason
    link = fleet.link(host_id)
    return link.reason if link.silent else ""


def _case(fleet: Fleet, record: ServerRecord) -> str:
    """What the incident about a server's host says of it: why it is not started elsewhere."""
    incident = fleet.open_incident(record.owner.host_id)
    servers = incident.servers if incident else ()
    return next((one.reason for one in servers if one.server_id == record.server_id), "")


def _unheard(record: ServerRecord, silence: str) -> Standing:
    if record.wanted_on:
        return Standing(status=ServerStatus.UNKNOWN, reason=silence)
    return Standing(status=ServerStatus.READY, reason=silence)


def _missing(fleet: Fleet, record: ServerRecord) -> str:
    owner = fleet.facts[record.owner.host_id].name
    elsewhere = [
        facts.name
        for facts in fleet.facts.values()
        if (report := fleet.reports.get(facts.host_id, {}).get(record.server_id)) is not None
        and report.state in {PowerState.RUNNING, PowerState.PAUSED}
    ]
    if elsewhere:
        return f"{', '.join(sorted(elsewhere))} has it, although it belongs to {owner}"
    if record.owner.phase is not OwnerPhase.LOST:
        return f"{owner} does not have it"
    name = record.name
    return (
        f"{owner} does not have it: godwit server-settle --keep-host {owner} {name} defines it "
        f"again, godwit server-forget {name} deletes what is kept of it"
    )
