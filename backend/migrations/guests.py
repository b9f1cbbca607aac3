"""Asking both hosts of a migration what they know of the guest."""

from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.migrations.drive import Drive
from backend.migrations.ending import Finding
from backend.migrations.outcome import Side, judge, side_of
from wire.agent import GuestTruth
from wire.errors import GodwitError
from wire.fleet import HostStatus
from wire.migration import Migration


async def ask(drive: Drive, migration: Migration, *, patient: bool) -> Finding:
    """Ask the target, then the source, and judge the pair. See :mod:`backend.migrations.outcome`.

    A host that does not answer counts as gone only while etcd shows no health key of it, and as
    dead only once the incident about it has proof.
    """
    server_id = migration.server_id
    target, target_truth = await side_on(
        drive, server_id, migration.target_host_id, migration.target_host_name
    )
    source, source_truth = await side_on(
        drive, server_id, migration.source_host_id, migration.source_host_name
    )
    if migration.paused and source is Side.HALTED:
        # a person paused it before: whatever the migration did, it must not run on its account
        source = Side.SUSPENDED
    job_active = source_truth is not None and source_truth.job_active
    receiving = target_truth is not None and target_truth.job_active
    return Finding(
        source=source,
        target=target,
        judgement=judge(
            source, target, job_active=job_active, receiving=receiving, patient=patient
        ),
        source_truth=source_truth,
        target_truth=target_truth,
    )


async def side_on(
    drive: Drive, server_id: str, host_id: str, host_name: str
) -> tuple[Side, GuestTruth | None]:
    """Ask one host now; without an answer the truth is None."""
    try:
        truth = await drive.agents.of(host_id, host_name).truth(server_id)
    except GodwitError:
        if await drive.is_dead(host_id):
            return Side.DEAD, None
        return (Side.GONE if is_offline(drive.fleet, host_id) else Side.SILENT), None
    return side_of(truth), truth


def is_offline(fleet: Fleet, host_id: str) -> bool:
    """Whether etcd answers and shows no health key of this host."""
    facts = fleet.facts.get(host_id)
    if facts is None:
        return not fleet.etcd_error
    return host_status(fleet, facts)[0] is HostStatus.OFFLINE
