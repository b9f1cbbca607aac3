"""The console over a recorded fleet and migration: what the terminal test runs in a pty."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from tui.app import Console
from tui.client import Connected, Event
from tui.desk import Desk
from wire.console import FleetSnapshot, MigrationSample
from wire.migration import Migration, MigrationDetail, MigrationState

DATA = Path(__file__).parent / "data"
BEGUN = 40
"""Samples that had come before the console began."""


class RecordedClient:
    """Gives each sample at the moment of its job at which it was taken."""

    def __init__(self) -> None:
        fleet = msgspec.json.decode((DATA / "fleet.json").read_bytes(), type=FleetSnapshot)
        self.detail = msgspec.json.decode((DATA / "busy.json").read_bytes(), type=MigrationDetail)
        self.fleet = msgspec.structs.replace(fleet, migrations=(self._at(BEGUN),))

    async def __aenter__(self) -> "RecordedClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def events(self) -> AsyncIterator[Connected | Event]:
        yield Connected()
        yield Event(name="snapshot", payload=self.fleet)
        samples = self.detail.samples
        for number in range(BEGUN, len(samples)):
            pause_ms = samples[number].elapsed_ms - samples[number - 1].elapsed_ms
            await asyncio.sleep(pause_ms / 1000)
            yield Event(
                name="sample",
                payload=MigrationSample(
                    migration_id=self.detail.migration.migration_id, sample=samples[number]
                ),
            )
            if samples[number].pass_number > samples[number - 1].pass_number:
                yield Event(name="migration", payload=self._at(number))
        await asyncio.Event().wait()

    async def migration(self, _: str) -> MigrationDetail:
        return MigrationDetail(migration=self._at(BEGUN), samples=self.detail.samples[:BEGUN])

    def _at(self, number: int) -> Migration:
        now_ms = self.detail.samples[number].elapsed_ms
        passes = self.detail.migration.passes
        done = [each for each in passes if each.started_ms + each.duration_ms <= now_ms]
        return msgspec.structs.replace(
            self.detail.migration,
            state=MigrationState.COPYING_MEMORY,
            passes=tuple(done),
            finished_at_ms=0,
        )


if __name__ == "__main__":
    console = Console(Desk(client=RecordedClient(), address="10.77.1.2:8700"))
    console.run(mouse=False)
    sys.exit(console.return_code)
