"""Which servers of a lost host are started elsewhere, and why the others are not."""

from backend.rescue.definition import Definition
from wire.fleet import OwnerPhase, ServerRecord


def obstacle(record: ServerRecord, definition: Definition | None, host_name: str) -> str:
    """Say why a server cannot be started on another host, even by hand; empty if it can.

    What binds a server to its host is told by its agent, whose fence leaves such a guest alive.

    Args:
        record: the server.
        definition: as etcd keeps it; None if it was not read yet.
        host_name: of the lost host.
    """
    name = record.name
    if record.owner.phase is OwnerPhase.LOST:
        return (
            f"{name} was lost before: godwit server-settle --keep-host HOST {name} defines it again"
        )
    if record.bound_by:
        return record.bound_by.replace("this host", host_name)
    if definition is None:
        return ""
    if definition.fault or not definition.tied_to:
        return definition.fault
    return f"it uses {', '.join(definition.tied_to)} of {host_name}"


def unwanted(record: ServerRecord) -> str:
    """Say why a server is not started elsewhere unless a person asks; empty if it is."""
    if record.suspended:
        return (
            "it was paused by a person, and its memory died with its host; "
            f"godwit server-migrate --rescue-mode {record.name} brings it elsewhere"
        )
    return "" if record.wanted_on else "stopped, stays stopped"
