"""Which servers of a lost host are started elsewhere, and why the others are not."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from backend.rescue.definition import Definition, UnreadableDefinition, parse_definition
from wire.fleet import HostFacts, OwnerPhase, ServerRecord, StoragePool


def obstacle(record: ServerRecord, definition: str | None, facts: HostFacts) -> str:
    """Say why a server cannot be started on another host, even by hand; empty if it can.

    Args:
        record: the server.
        definition: the XML that etcd keeps, empty if it keeps none; None if it was not read yet.
        facts: the lost host: its pools tell which files others reach.
    """
    name, host = record.name, facts.name
    if record.owner.phase is OwnerPhase.LOST:
        return (
            f"{name} was lost by a migration: godwit server-settle --keep-host HOST {name} "
            "defines it again"
        )
    local = [
        f"{disk.target} ({disk.source})" for disk in record.disks if disk.source and not disk.shared
    ]
    if local:
        return f"only {host} reaches {', '.join(local)}"
    if definition is None:
        return ""
    if not definition:
        return f"etcd keeps no definition of {name}"
    try:
        parsed = parse_definition(definition)
    except UnreadableDefinition as error:
        return f"the definition of {name} that etcd keeps cannot be read: {error}"
    return _tie(parsed, facts)


def unwanted(record: ServerRecord) -> str:
    """Say why a server is not started elsewhere unless a person asks; empty if it is."""
    if record.suspended:
        return (
            "it was paused by a person, and its memory died with its host; "
            f"godwit server-migrate --rescue-mode {record.name} brings it elsewhere"
        )
    return "" if record.wanted_on else "stopped, stays stopped"


def _tie(definition: Definition, facts: HostFacts) -> str:
    if definition.tied_to:
        return f"it uses {', '.join(definition.tied_to)} of {facts.name}"
    nvram = definition.nvram_path
    if nvram and not _in_shared_pool(nvram, facts.pools):
        return f"only {facts.name} reaches its UEFI variables {nvram}"
    return ""


def _in_shared_pool(path: str, pools: Iterable[StoragePool]) -> bool:
    return any(pool.shared and PurePosixPath(path).is_relative_to(pool.path) for pool in pools)
