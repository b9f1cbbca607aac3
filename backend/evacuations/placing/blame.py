"""Which failed moves speak against their target: others may be tried there again."""

from collections import defaultdict
from collections.abc import Mapping

from backend.fleet.known import Fleet
from wire.migration import Migration, MigrationState

_OF_THE_LINK = (
    "broken pipe",
    "client socket is closed",
    "connection reset",
    "connection timed out",
    "end of file while reading data",
    "keepalive",
    "network is unreachable",
    "no route to host",
    "from socket",
    "to socket",
)
_OF_THE_SERVER = (
    "domain is not running",
    "does not converge",
    "guest agent",
    "passthrough",
    "passed-through",
    "post-copy",
    "snapshot",
    "unsafe",
)


def unsuitable(fleet: Fleet, evacuation_id: str) -> Mapping[str, set[str]]:
    """server_id → the hosts to which its moves in one evacuation failed for the host's sake.

    Args:
        fleet: all that is known.
        evacuation_id: of one that runs, or has ended and is tried again; empty for a new one.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for migration_id in fleet.evacuation_moves.get(evacuation_id, ()):
        one = fleet.migrations[migration_id]
        if is_the_targets(one):
            found[one.server_id].add(one.target_host_id)
    return found


def is_the_targets(migration: Migration) -> bool:
    """Whether a move failed for a reason that its target has.

    By the words of the error. One that names the source alone is the source's or the server's; one
    that nobody can tell apart counts as the target's, since another one is no loss.
    """
    if migration.state is not MigrationState.FAILED or not migration.target_host_id:
        return False
    error = migration.error.lower()
    if any(words in error for words in (*_OF_THE_LINK, *_OF_THE_SERVER)):
        return False
    names = [migration.source_host_name.lower(), migration.target_host_name.lower()]
    source, target = (bool(name) and name in error for name in names)
    return target or not source
