"""What the way of a server means: the kind of its migration, and whether it runs on arrival."""

from wire.evacuation import Way
from wire.migration import MigrationKind, MigrationOptions

KINDS: dict[Way, MigrationKind] = {Way.LIVE: "live", Way.COLD: "cold", Way.RESCUE: "rescue"}
"""The kind of migration that each way is; none of one that stays."""


def runs_there(way: Way, options: MigrationOptions) -> bool:
    """Whether a server takes memory on its target from its arrival on."""
    return way is Way.LIVE or (way in {Way.COLD, Way.RESCUE} and options.auto_start)
