"""The notes of a migration: what was decided and what happened, oldest first."""

import time
from collections.abc import Iterable

import msgspec

from wire.migration import Migration, Note


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


def noted(migration: Migration, text: str, *, by: str = "") -> Migration:
    """Add a note, unless it would repeat the last one word for word."""
    if migration.notes and (migration.notes[-1].text, migration.notes[-1].by) == (text, by):
        return migration
    note = Note(at_ms=now_ms(), text=text, by=by)
    return msgspec.structs.replace(migration, notes=merged((*migration.notes, note), ()))


def merged(one: Iterable[Note], other: Iterable[Note]) -> tuple[Note, ...]:
    """Join two accounts of the same migration."""
    return tuple(sorted({*one, *other}, key=lambda note: (note.at_ms, note.text)))
