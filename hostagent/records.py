"""A server's record in etcd, made from what libvirt says and from the record before."""

import msgspec

from hostagent.inventory import Server
from wire.fleet import Disk, Owner, OwnerPhase, PowerState, ServerRecord


def new_record(server: Server, *, host_id: str, epoch: int, generation: int) -> ServerRecord:
    """Adopt a domain that has no record: it is ours."""
    return _record(
        server,
        owner=Owner(host_id=host_id, epoch=epoch, generation=generation),
        wanted_on=_is_on(server),
    )


def renewed_record(record: ServerRecord, server: Server, *, switched: bool | None) -> ServerRecord:
    """The record with the facts of now; its owner stays.

    Args:
        record: as stored.
        server: as read from libvirt.
        switched: whether somebody switched the server on (or off) since. Otherwise one that runs
            is wanted on, and one that does not keeps its wish: it may have crashed.
    """
    wanted_on = (record.wanted_on or _is_on(server)) if switched is None else switched
    found_again = record.owner.phase is OwnerPhase.LOST
    owner = (
        msgspec.structs.replace(record.owner, phase=OwnerPhase.SETTLED)
        if found_again
        else record.owner
    )
    return _record(server, owner=owner, wanted_on=wanted_on)


def _record(server: Server, *, owner: Owner, wanted_on: bool) -> ServerRecord:
    facts = server.facts
    return ServerRecord(
        server_id=facts.server_id,
        name=facts.name,
        vcpu_count=facts.vcpu_count,
        memory_bytes=facts.memory_bytes,
        disks=tuple(_without_allocation(disk) for disk in facts.disks),
        owner=owner,
        wanted_on=wanted_on,
    )


def _is_on(server: Server) -> bool:
    return server.facts.state in {PowerState.RUNNING, PowerState.PAUSED}


def _without_allocation(disk: Disk) -> Disk:
    """Allocation grows with each write of the guest: volatile figures stay out of etcd."""
    return msgspec.structs.replace(disk, allocation_bytes=0)
