"""A server's record in etcd, made from what libvirt says and from the record before."""

from collections.abc import Iterable

import msgspec

from hostagent.inventory import Server
from hostagent.pools import holding_pool
from wire.fleet import (
    Disk,
    Owner,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
    StoragePool,
)

_ENDED_BY_HAND = {"shutdown", "destroyed"}
"""libvirt's reasons for a domain that somebody switched off, or that switched itself off."""
_PAUSED_BY_HAND = "user"


def new_record(
    server: Server, *, host_id: str, epoch: int, generation: int, pools: Iterable[StoragePool]
) -> ServerRecord:
    """Adopt a domain that has no record: it is ours."""
    return _record(
        server,
        pools,
        owner=Owner(host_id=host_id, epoch=epoch, generation=generation),
        wanted_on=_is_on(server),
        suspended=_is_suspended(server.facts, before=False),
    )


def renewed_record(
    record: ServerRecord,
    server: Server,
    *,
    switched: bool | None,
    pools: Iterable[StoragePool],
    host_shuts_down: bool = False,
) -> ServerRecord:
    """The record with the facts of now; its owner stays.

    Args:
        record: as stored.
        server: as read from libvirt.
        switched: whether somebody switched the server on (or off) since. Otherwise one that runs
            is wanted on, one that libvirt says was switched off is not (nobody heard of it when it
            was), and any other keeps its wish: it may have crashed.
        pools: of this host.
        host_shuts_down: servers that end now do so with their host, and keep their wish.
    """
    ended_by_hand = (
        server.facts.state is PowerState.SHUT_OFF and server.facts.state_detail in _ENDED_BY_HAND
    )
    if switched is not None:
        wanted_on = switched
    elif ended_by_hand and not host_shuts_down:
        wanted_on = False
    else:
        wanted_on = record.wanted_on or _is_on(server)
    found_again = record.owner.phase is OwnerPhase.LOST
    owner = (
        msgspec.structs.replace(record.owner, phase=OwnerPhase.SETTLED)
        if found_again
        else record.owner
    )
    return _record(
        server,
        pools,
        owner=owner,
        wanted_on=wanted_on,
        suspended=wanted_on and _is_suspended(server.facts, before=record.suspended),
    )


def bound_by(server: ServerFacts, pools: Iterable[StoragePool]) -> str:
    """Why a server cannot be started on another host, in one clause; empty if it can.

    The only judge of this: see ``ServerRecord.bound_by``.
    """
    pools = tuple(pools)
    for disk in server.disks:
        if disk.source and not disk.shared:
            return f"{disk.target} lies on this host alone ({disk.source})"
        for path in disk.backing_paths:
            if not _is_shared(pools, path):
                return f"{disk.target} is based on an image on this host alone ({path})"
    if server.nvram_path and not _is_shared(pools, server.nvram_path):
        return f"its UEFI variables lie on this host alone ({server.nvram_path})"
    if server.passthrough:
        return f"it holds a device of this host: {server.passthrough[0]}"
    return ""


def is_rescuable(record: ServerRecord) -> bool:
    """Whether a server is started elsewhere as soon as its host counts as dead."""
    return record.owner.phase is OwnerPhase.SETTLED and not record.bound_by


def _is_shared(pools: Iterable[StoragePool], path: str) -> bool:
    pool = holding_pool(pools, source=path)
    return pool is not None and pool.shared


def _record(
    server: Server,
    pools: Iterable[StoragePool],
    *,
    owner: Owner,
    wanted_on: bool,
    suspended: bool,
) -> ServerRecord:
    facts = server.facts
    return ServerRecord(
        server_id=facts.server_id,
        name=facts.name,
        vcpu_count=facts.vcpu_count,
        memory_bytes=facts.memory_bytes,
        disks=tuple(_without_allocation(disk) for disk in facts.disks),
        owner=owner,
        wanted_on=wanted_on,
        suspended=suspended,
        bound_by=bound_by(facts, pools),
    )


def _is_on(server: Server) -> bool:
    return server.facts.state in {PowerState.RUNNING, PowerState.PAUSED}


def _is_suspended(server: ServerFacts, *, before: bool) -> bool:
    """Paused by a person, which lasts until it runs; a crash or a migration changes nothing."""
    if server.state is PowerState.RUNNING:
        return False
    return before or (server.state is PowerState.PAUSED and server.state_detail == _PAUSED_BY_HAND)


def _without_allocation(disk: Disk) -> Disk:
    """Allocation grows with each write of the guest: volatile figures stay out of etcd."""
    return msgspec.structs.replace(disk, allocation_bytes=0)
