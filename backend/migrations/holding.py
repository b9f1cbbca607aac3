"""Who holds a server: nobody, one migration, or what is left of a lost one."""

from wire.errors import conflict
from wire.fleet import Owner, OwnerPhase, ServerRecord
from wire.migration import Migration


def check_settled(record: ServerRecord, migration: Migration) -> None:
    """Refuse to begin a migration of a server that something holds, or that is elsewhere.

    Raises:
        GodwitError: CONFLICT.
    """
    if record.owner.phase is OwnerPhase.LOST:
        raise conflict(
            f"{record.name} is lost: no host has it, so it cannot move; "
            f"godwit server-settle --keep-host HOST {record.name} defines it again",
        )
    if record.owner.phase is not OwnerPhase.SETTLED:
        raise conflict(
            f"{record.name} already migrates (migration {record.owner.migration_id}); "
            "wait for its end or cancel it",
        )
    if record.owner.host_id != migration.source_host_id:
        raise conflict(
            f"{record.name} is no longer on {migration.source_host_name}; ask again",
        )


def locked(record: ServerRecord, migration: Migration) -> bool:
    """Whether this migration holds the server."""
    owner = record.owner
    return owner.phase is OwnerPhase.MIGRATING and owner.migration_id == migration.migration_id


def still(owner: Owner, seen: Owner) -> bool:
    """Whether nobody changed the owner; an agent that finds a lost server changes the phase."""
    same = (owner.host_id, owner.generation, owner.migration_id)
    return same == (seen.host_id, seen.generation, seen.migration_id)
