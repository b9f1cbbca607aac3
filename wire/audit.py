"""The audit: who did what, to what, and when."""

from typing import Literal

import msgspec

from wire.role import Role

Parameter = str | int | bool

KEPT = 5_000
"""Entries that stay, the newest ones: some 300 bytes each."""


class AuditObject(msgspec.Struct, frozen=True, kw_only=True):
    """A host or a server that an act was about."""

    kind: Literal["host", "server"]
    object_id: str
    name: str
    """As it was called then."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/audit/<entry_id>``: one act of a person that changed something."""

    entry_id: str
    at_ms: int
    """When it was asked for, Unix time in ms."""
    user: str
    """Name of the token that asked."""
    role: Role
    """The token's then."""
    verb: str
    """As the command line calls it, whoever called: ``host-maintenance``."""
    objects: tuple[AuditObject, ...] = ()
    """Of an act on a migration its server, of one on an evacuation its host; nothing for one on
    the whole fleet."""
    parameters: dict[str, Parameter] = {}
    """What was given besides, by the names of the API; what was left to its default is not here.
    What consists of parts is told in words."""
