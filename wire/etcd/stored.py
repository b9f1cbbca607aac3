"""What etcd keeps and answers, as structs of our own."""

from collections.abc import Sequence
from typing import Any

import msgspec

from wire.errors import ErrorCode, GodwitError


class EtcdUnreachable(GodwitError):
    """No endpoint answered in time. Whether a write was done is then not known."""

    def __init__(self, endpoints: Sequence[str], reason: str) -> None:
        where = ", ".join(endpoints)
        super().__init__(
            ErrorCode.ETCD_UNREACHABLE,
            f"etcd does not answer at {where} ({reason})",
        )


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """One key as etcd holds it."""

    key: str
    value: bytes
    mod_revision: int
    """Revision of its last change: what a compare-and-swap compares."""
    lease_id: int = 0

    @property
    def text(self) -> str:
        """The value as text, whatever bytes somebody else may have put there."""
        return text_of(self.value)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd answered, and in which term of its leader (``raft_term`` of the answer's header).

    A leader that was deposed while its disk hung goes on answering keepalives; it cannot answer a
    linearizable read.
    """

    raft_term: int
    seconds_left: int = 0
    """Of a lease that was refreshed; 0 when etcd no longer knows it."""
    item: KeyValue | None = None
    """Of a key that was read."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """All keys under a prefix at one revision of the store."""

    revision: int
    items: tuple[KeyValue, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A put, or with ``item`` None a deletion (lease expiry included)."""

    key: str
    revision: int
    item: KeyValue | None


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Holds when the key was last changed at this revision; 0 means that it does not exist."""

    key: str
    mod_revision: int


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Put a value, or with None delete the key."""

    key: str
    value: bytes | None
    lease_id: int = 0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A granted lease; ``ttl_s`` is what the server gave, which may differ from the wish."""

    lease_id: int
    ttl_s: int


class LeaseLife(msgspec.Struct, frozen=True, kw_only=True):
    """How long a lease has left."""

    lease_id: int
    left_s: int
    """Whole seconds, rounded down; -1 when etcd does not know the lease (any more)."""
    granted_s: int = 0
    """The TTL that it was granted with."""

    @property
    def gone(self) -> bool:
        """Whether it has ended: by itself, or revoked."""
        return self.left_s < 0


def key_value(item: Any) -> KeyValue:
    """A generated message as ours."""
    return KeyValue(
        key=text_of(item.key),
        value=item.value,
        mod_revision=item.mod_revision,
        lease_id=item.lease,
    )


def text_of(raw: bytes) -> str:
    """Bytes as text; what nobody of ours wrote may be no UTF-8."""
    return raw.decode(errors="backslashreplace")
