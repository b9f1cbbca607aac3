"""Blocking reads of one domain; each function is called in a thread with a time-out."""

import contextlib
from collections.abc import Collection, Iterable

import libvirt
import msgspec

from hostagent.backing import chain_of_image
from hostagent.departure import SAVED_XML
from hostagent.domain import Definition, DiskDefinition, State, describe_state, parse_definition
from hostagent.pools import holding_pool
from hostagent.postcopy import is_half
from hostagent.statistics import final_statistics, job_runs
from wire.agent import GuestTruth
from wire.fleet import Disk, PowerState, StoragePool
from wire.migration import Statistics


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """A domain as it is now."""

    definition: Definition
    """Of the running guest if it runs, else as saved."""
    saved_xml: str
    """What another host needs to define it (``INACTIVE | MIGRATABLE``)."""
    state: State
    incoming: bool
    """Paused as the receiving side of a migration."""
    job_active: bool
    """libvirt shows a migration job on it, in or out, or it is a half of a guest in post-copy."""
    snapshot_names: tuple[str, ...] = ()


def find_domain(handle: libvirt.virConnect, server_id: str) -> libvirt.virDomain | None:
    """The domain, or None when libvirt positively does not have it."""
    try:
        return handle.lookupByUUIDString(server_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG}:
            return None  # unknown, or no UUID at all
        raise


def read_guest(handle: libvirt.virConnect, server_id: str) -> Guest | None:
    """Read a domain; None if this host does not have it."""
    domain = find_domain(handle, server_id)
    if domain is None:
        return None
    try:
        state = describe_state(*domain.state())
        incoming, outgoing = _job(domain, state)
        return Guest(
            definition=parse_definition(domain.XMLDesc()),
            saved_xml=domain.XMLDesc(SAVED_XML),
            state=state,
            incoming=incoming and state.power is PowerState.PAUSED,
            job_active=incoming or outgoing or is_half(state),
            snapshot_names=tuple(sorted(domain.snapshotListNames())),
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None  # gone between two calls
        raise


def _job(domain: libvirt.virDomain, state: State) -> tuple[bool, bool]:
    """Whether the domain is being received, and whether it is being sent.

    libvirt has no question for the receiving side: it refuses job statistics there with
    ``OPERATION_UNSUPPORTED``, and only there.
    """
    try:
        outgoing = job_runs(domain.jobStats()) if state.power is not PowerState.SHUT_OFF else False
    except libvirt.libvirtError as error:
        match error.get_error_code():
            case libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
                return True, False
            case libvirt.VIR_ERR_OPERATION_INVALID:
                return False, False  # it stopped running meanwhile
            case _:
                raise
    return False, outgoing


def read_truth(handle: libvirt.virConnect, server_id: str) -> GuestTruth:
    """What this hypervisor knows of a guest now; ``ABSENT`` if nothing."""
    guest, domain = read_guest(handle, server_id), find_domain(handle, server_id)
    if guest is None or domain is None:
        return GuestTruth(server_id=server_id, state=PowerState.ABSENT)
    return GuestTruth(
        server_id=server_id,
        state=guest.state.power,
        state_detail=guest.state.detail,
        incoming=guest.incoming,
        job_active=guest.job_active,
        completed=_completed(domain),
    )


def _completed(domain: libvirt.virDomain) -> Statistics | None:
    """Statistics of the last finished job, which libvirt keeps on the receiving side."""
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        stats = domain.jobStats(flags)
    except libvirt.libvirtError:
        return None
    if stats.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED:
        return None
    return final_statistics(stats)


def read_disks(
    handle: libvirt.virConnect, guest: Guest, pools: Iterable[StoragePool]
) -> tuple[Disk, ...]:
    """The domain's disks with their pools and sizes; a size that cannot be read is 0."""
    disks = []
    for one in guest.definition.disks:
        pool = holding_pool(pools, source=one.disk.source, pool_name=one.pool_name)
        capacity, allocation = _image_bytes(handle, guest, one)
        disks.append(
            msgspec.structs.replace(
                one.disk,
                kind="block" if pool and not pool.holds_files else one.disk.kind,
                pool_id=pool.pool_id if pool else "",
                pool_name=pool.name if pool else "",
                shared=bool(pool and pool.shared),
                capacity_bytes=capacity,
                allocation_bytes=allocation,
                backing_paths=_backing_paths(one),
            )
        )
    return tuple(disks)


def _backing_paths(one: DiskDefinition) -> tuple[str, ...]:
    """What the XML says, or else the image's header; a raw image has nothing below it."""
    if one.backing_known or one.disk.format == "raw" or not one.disk.source.startswith("/"):
        return one.disk.backing_paths
    return chain_of_image(one.disk.source, one.disk.format)


def stays_reachable(guest: Guest, disks: tuple[Disk, ...], copied: Collection[str]) -> bool:
    """Whether every disk that the guest may write lies in a shared pool, or is copied.

    Args:
        guest: whose disks they are.
        disks: those of its definition, with their pools.
        copied: targets of the disks that are copied.
    """
    return all(
        disk.shared or disk.target in copied
        for one, disk in zip(guest.definition.disks, disks, strict=True)
        if one.writable
    )


def _image_bytes(handle: libvirt.virConnect, guest: Guest, one: DiskDefinition) -> tuple[int, int]:
    """Capacity and allocation: of the pool's volume, else (it is new to the pool) by the domain.

    A domain with a job is not asked: libvirt would let the question wait for the job.
    """
    if not one.disk.source:
        return 0, 0
    with contextlib.suppress(libvirt.libvirtError):
        if one.pool_name:
            pool = handle.storagePoolLookupByName(one.pool_name)
            info = pool.storageVolLookupByName(one.disk.source).info()
        else:
            info = handle.storageVolLookupByPath(one.disk.source).info()
        return info[1], info[2]
    if guest.job_active:
        return 0, 0
    with contextlib.suppress(libvirt.libvirtError):
        domain = handle.lookupByUUIDString(guest.definition.server_id)
        info = domain.blockInfo(one.disk.target)
        return info[0], info[1]
    return 0, 0
