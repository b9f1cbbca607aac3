"""Following migrations and evacuations to their end."""

from collections.abc import Sequence
from typing import Protocol

from tui.client import Client, ConsoleEvent
from tui.waiting import wait_for_end
from wire.console import FleetSnapshot, MigrationSample
from wire.evacuation import Evacuation
from wire.migration import Migration, Sample


class Watcher(Protocol):
    """Who is told what happens to a migration, in order."""

    def on_migration(self, migration: Migration) -> None:
        """The record changed: another phase, another pass, the end."""

    def on_sample(self, sample: Sample) -> None:
        """New figures, about four a second while memory is copied."""

    def on_link(self, reason: str) -> None:
        """The stream broke for this reason; empty when it is up again."""


class EvacuationWatcher(Protocol):
    """Who is told what happens to evacuations, in order."""

    def on_evacuation(self, evacuation: Evacuation) -> None:
        """A record changed, or its figures did."""

    def on_link(self, reason: str) -> None:
        """The stream broke for this reason; empty when it is up again."""


async def follow_to_end(client: Client, begun: Migration, watcher: Watcher) -> Migration:
    """Wait until a migration has ended, as :func:`tui.waiting.wait_for_end` does."""
    following = _Migration(begun, watcher)
    await wait_for_end(client, following)
    return following.migration


async def follow_evacuations(
    client: Client, begun: Sequence[Evacuation], watcher: EvacuationWatcher
) -> list[Evacuation]:
    """Wait until each of several evacuations has ended; their records in the same order."""
    following = _Evacuations(begun, watcher)
    await wait_for_end(client, following)
    return list(following.evacuations.values())


class _Migration:
    """What is known of one migration."""

    def __init__(self, begun: Migration, watcher: Watcher) -> None:
        self.migration = begun
        self._watcher = watcher
        self.on_link = watcher.on_link
        watcher.on_migration(begun)

    @property
    def ended(self) -> bool:
        return self.migration.state.ended

    def take(self, payload: ConsoleEvent) -> bool:
        if isinstance(payload, FleetSnapshot):
            taken = [self._take(migration) for migration in payload.migrations]
            return any(taken)
        if isinstance(payload, Migration):
            return self._take(payload)
        if isinstance(payload, MigrationSample) and self._is_ours(payload):
            self._watcher.on_sample(payload.sample)
            return True
        return False

    async def ask(self, client: Client) -> None:
        self._take((await client.migration(self.migration.migration_id)).migration)

    def _is_ours(self, thing: Migration | MigrationSample) -> bool:
        return thing.migration_id == self.migration.migration_id

    def _take(self, migration: Migration) -> bool:
        if not self._is_ours(migration):
            return False
        if migration != self.migration and migration.state.rank >= self.migration.state.rank:
            self.migration = migration
            self._watcher.on_migration(migration)
        return True


class _Evacuations:
    """What is known of several evacuations, by id."""

    def __init__(self, begun: Sequence[Evacuation], watcher: EvacuationWatcher) -> None:
        self.evacuations = {each.evacuation_id: each for each in begun}
        self._watcher = watcher
        self.on_link = watcher.on_link
        for each in begun:
            watcher.on_evacuation(each)

    @property
    def ended(self) -> bool:
        return not any(each.open for each in self.evacuations.values())

    def take(self, payload: ConsoleEvent) -> bool:
        if isinstance(payload, FleetSnapshot):
            taken = [self._take(evacuation) for evacuation in payload.evacuations]
            return any(taken)
        return isinstance(payload, Evacuation) and self._take(payload)

    async def ask(self, client: Client) -> None:
        for each in list(self.evacuations.values()):
            if each.open:
                self._take(await client.evacuation(each.evacuation_id))

    def _take(self, evacuation: Evacuation) -> bool:
        known = self.evacuations.get(evacuation.evacuation_id)
        if known is None:
            return False
        # the answer to a question overtakes events: nothing follows an end, and no note is lost
        overtaken = not known.open or len(evacuation.notes) < len(known.notes)
        if not overtaken and evacuation != known:
            self.evacuations[evacuation.evacuation_id] = evacuation
            self._watcher.on_evacuation(evacuation)
        return True
