"""The notes of a record: what was decided and what happened, oldest first."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from backend.moments import now_ms
from wire.evacuation import Evacuation
from wire.migration import Migration, Note
from wire.rescue import Incident

NotedT = TypeVar("NotedT", Migration, Evacuation, Incident)


def noted(record: NotedT, text: str, *, by: str = "") -> NotedT:
    """Add a note, unless it would repeat the last one word for word."""
    if record.notes and (record.notes[-1].text, record.notes[-1].by) == (text, by):
        return record
    note = Note(at_ms=now_ms(), text=text, by=by)
    return msgspec.structs.replace(record, notes=(*record.notes, note))


def merged(one: Iterable[Note], other: Iterable[Note]) -> tuple[Note, ...]:
    """Join two accounts of the same migration."""
    return tuple(sorted({*one, *other}, key=lambda note: (note.at_ms, note.text)))
