"""What is known of a job: told to whoever listens, and kept for a later process."""

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from hostagent.journal import Entry, Journal
from wire.agent import Job, JobState
from wire.migration import Note

_log = logging.getLogger(__name__)

_ORDER = list(JobState)


class Ledger:
    """One job's entry; each change of the job is published at once and kept soon."""

    def __init__(
        self, entry: Entry, journal: Journal, publish: Callable[[msgspec.Struct], None]
    ) -> None:
        self.entry = entry
        self._journal = journal
        self._publish = publish
        self._unkept = False

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return msgspec.structs.replace(self.entry.job, passes=self.entry.log.passes)

    def put(self, **fields: Any) -> None:
        """Change fields of the entry that nobody is told of."""
        self.entry = msgspec.structs.replace(self.entry, **fields)

    def change(self, **fields: Any) -> None:
        """Change fields of the job; without any, tell of its passes."""
        job = msgspec.structs.replace(self.job, **fields)
        self.put(job=job)
        self._unkept = True
        self._publish(job)

    def note(self, text: str) -> None:
        """Add what was decided or happened."""
        _log.info("%s: %s", self.job.migration_id, text)
        note = Note(at_ms=time.time_ns() // 1_000_000, text=text)
        self.change(notes=(*self.job.notes, note))

    def advance(self, state: JobState) -> bool:
        """Go forward to a state; False if it is not ahead."""
        if _ORDER.index(state) <= _ORDER.index(self.entry.job.state):
            return False
        self.change(state=state)
        return True

    async def keep(self) -> None:
        """Write the entry."""
        self._unkept = False
        await self._journal.write(self.entry)

    async def keep_changes(self) -> None:
        """Write the entry if its job has changed since it was written."""
        if self._unkept:
            await self.keep()
