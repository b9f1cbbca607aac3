"""A cap on all that leaves a host, divided among its moves anew as they begin and end."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from backend.migrations.acts import Acts
from backend.migrations.checks import LEAST_BANDWIDTH_BYTES_PER_S
from wire.errors import GodwitError
from wire.evacuation import Evacuation
from wire.migration import Migration, MigrationParameters, MigrationState

_log = logging.getLogger(__name__)

BY = "evacuation"
"""Who changes the caps, in the migrations' records."""
_AGAIN_S = 2.0
"""A host that did not take its share is told again so much later."""


def share(cap_bytes_per_s: int | None, count: int) -> int | None:
    """What each of so many moves gets of a cap; None for no cap."""
    if cap_bytes_per_s is None:
        return None
    return max(LEAST_BANDWIDTH_BYTES_PER_S, cap_bytes_per_s // max(1, count))


def sharers(moves: Iterable[Migration]) -> list[Migration]:
    """Those that still send."""
    return [
        one
        for one in moves
        if one.kind != "rescue" and one.state.rank < MigrationState.SWITCHING_OVER.rank
    ]


class Sharing:
    """Tells hosts the shares of their moves. An agent that is slow holds up nobody."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._telling: dict[str, asyncio.Task[None]] = {}

    def look(self, evacuation: Evacuation, moves: Sequence[Migration]) -> None:
        """Change what differs: first those that get less, so that the sum stays below the cap."""
        wanted = share(evacuation.max_bandwidth_bytes_per_s, len(sharers(moves)))
        if wanted is None:
            return
        parameters = MigrationParameters(max_bandwidth_bytes_per_s=wanted)
        above, below = [], []
        for one in sharers(moves):
            cap = one.max_bandwidth_bytes_per_s
            if cap is None or cap > wanted:
                above.append(one)
            elif cap < wanted:
                below.append(one)
        for one in above or below:
            self._tell(one.migration_id, parameters)

    def lift(self, moves: Sequence[Migration]) -> None:
        """Take the caps of moves away."""
        for one in sharers(moves):
            if one.max_bandwidth_bytes_per_s is not None:
                if (earlier := self._telling.pop(one.migration_id, None)) is not None:
                    earlier.cancel()
                self._tell(one.migration_id, MigrationParameters(no_bandwidth_limit=True))

    def stop(self) -> None:
        """Tell nothing more."""
        for task in self._telling.values():
            task.cancel()
        self._telling.clear()

    def _tell(self, migration_id: str, parameters: MigrationParameters) -> None:
        self._forget()
        if migration_id not in self._telling:
            self._telling[migration_id] = asyncio.create_task(
                self._told(migration_id, parameters), name=f"share of {migration_id}"
            )

    async def _told(self, migration_id: str, parameters: MigrationParameters) -> None:
        try:
            await self._acts.set_parameters(migration_id, parameters, requested_by=BY)
        except GodwitError as error:
            _log.info("%s: its share is not set yet: %s", migration_id, error.message)
            await asyncio.sleep(_AGAIN_S)

    def _forget(self) -> None:
        for migration_id, task in tuple(self._telling.items()):
            if task.done():
                del self._telling[migration_id]
