"""The act of a person that a task carries out, and whether etcd has its entry yet.

Whoever writes need not know of it: :class:`backend.leader_writes.LeaderWrites`, which all writes of
the leader pass, puts the entry into the first transaction that is made for the act.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from wire.audit import AuditEntry
from wire.etcd import Write
from wire.keys import AUDIT


class Act:
    """One request that changes something."""

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.key = AUDIT + entry.entry_id
        self.revision = 0
        """Of the transaction that took the entry; 0 while none has."""

    @property
    def write(self) -> Write:
        """What enters it; the same each time, so that doing it twice does no harm."""
        return Write(key=self.key, value=msgspec.json.encode(self.entry))


_carried_out: ContextVar[Act | None] = ContextVar("act", default=None)


@contextmanager
def carrying_out(entry: AuditEntry) -> Iterator[Act]:
    """Have the first change that this task makes meanwhile carry an entry."""
    act = Act(entry)
    token = _carried_out.set(act)
    try:
        yield act
    finally:
        _carried_out.reset(token)


@contextmanager
def unasked() -> Iterator[None]:
    """Changes meanwhile are the backend's own, though it is a person's request that brings them."""
    token = _carried_out.set(None)
    try:
        yield
    finally:
        _carried_out.reset(token)


def not_entered() -> Act | None:
    """The act that this task carries out, as long as no transaction has taken its entry."""
    act = _carried_out.get()
    return act if act is not None and not act.revision else None
