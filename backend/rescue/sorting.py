"""Which servers of a lost host are started elsewhere, and why the others are not."""

from backend.rescue.definition import UnreadableDefinition, parse_definition
from wire.fleet import OwnerPhase, ServerRecord


def obstacle(record: ServerRecord, definition: str | None, host_name: str) -> str:
    """Say why a server cannot be started on another host, even by hand; empty if it can.

    What binds a server to its host is told by its agent, whose fence leaves such a guest alive.

    Args:
        record: the server.
        definition: the XML that etcd keeps, empty if it keeps none; None if it was not read yet.
        host_name: of the lost host.
    """
    name = record.name
    if record.owner.phase is OwnerPhase.LOST:
        return (
            f"{name} was lost before: godwit server-settle --keep-host HOST {name} defines it again"
        )
    if record.bound_by:
        return f"{record.bound_by}, which is {host_name}"
    if definition is None:
        return ""
    if not definition:
        return f"etcd keeps no definition of {name}"
    try:
        parsed = parse_definition(definition)
    except UnreadableDefinition as error:
        return f"the definition of {name} that etcd keeps cannot be read: {error}"
    return f"it uses {', '.join(parsed.tied_to)} of {host_name}" if parsed.tied_to else ""


def unwanted(record: ServerRecord) -> str:
    """Say why a server is not started elsewhere unless a person asks; empty if it is."""
    if record.suspended:
        return (
            "it was paused by a person, and its memory died with its host; "
            f"godwit server-migrate --rescue-mode {record.name} brings it elsewhere"
        )
    return "" if record.wanted_on else "stopped, stays stopped"
