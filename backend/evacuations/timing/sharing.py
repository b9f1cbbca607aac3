"""A cap on all that leaves a host, divided among its moves anew as they begin and end."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence

from backend.audit.act import unasked
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
        self._telling: dict[str, tuple[MigrationParameters, asyncio.Task[None]]] = {}
        """migration_id → what it is told."""
        self._refused: set[str] = set()
        """Those that did not take it just now."""

    def look(
        self, evacuation: Evacuation, moves: Sequence[Migration], held_back: Collection[str] = ()
    ) -> None:
        """Change what differs: first those that get less, so that the sum stays below the cap.

        Whose agent does not answer is waited for by none of the others.

        Args:
            evacuation: its cap counts.
            moves: its moves under way.
            held_back: ids of those that leave the link to another one.
        """
        sending = sharers(moves)
        free = sum(one.migration_id not in held_back for one in sending)
        cap_bytes_per_s = evacuation.max_bandwidth_bytes_per_s
        if cap_bytes_per_s is not None:  # those that are held back send a little all the same
            cap_bytes_per_s -= (len(sending) - free) * LEAST_BANDWIDTH_BYTES_PER_S
        whole = share(cap_bytes_per_s, free)
        above: dict[str, MigrationParameters] = {}
        below: dict[str, MigrationParameters] = {}
        for one in sending:
            wanted = LEAST_BANDWIDTH_BYTES_PER_S if one.migration_id in held_back else whole
            if evacuation.max_bandwidth_bytes_per_s is None and _capped_by_a_person(one):
                continue
            cap = one.max_bandwidth_bytes_per_s
            if cap == wanted:
                continue
            parameters = MigrationParameters(
                max_bandwidth_bytes_per_s=wanted, no_bandwidth_limit=wanted is None
            )
            lowered = wanted is not None and (cap is None or cap > wanted)
            (above if lowered else below)[one.migration_id] = parameters
        first = above if set(above) - self._refused else above | below
        for migration_id, parameters in first.items():
            self._tell(migration_id, parameters)

    def lift(self, moves: Sequence[Migration]) -> None:
        """Take the caps of moves away."""
        for one in sharers(moves):
            if one.max_bandwidth_bytes_per_s is not None:
                self._tell(one.migration_id, MigrationParameters(no_bandwidth_limit=True))

    def stop(self) -> None:
        """Tell nothing more."""
        for _, task in self._telling.values():
            task.cancel()
        self._telling.clear()

    def _tell(self, migration_id: str, parameters: MigrationParameters) -> None:
        self._forget()
        told, task = self._telling.get(migration_id, (None, None))
        if told == parameters:
            return
        if task is not None:
            task.cancel()
        # the task outlives the request of whoever changed the cap, and tells it again if need be
        with unasked():
            task = asyncio.create_task(
                self._told(migration_id, parameters), name=f"share of {migration_id}"
            )
        self._telling[migration_id] = parameters, task

    async def _told(self, migration_id: str, parameters: MigrationParameters) -> None:
        try:
            await self._acts.set_parameters(migration_id, parameters, requested_by=BY)
        except GodwitError as error:
            _log.info("%s: its share is not set yet: %s", migration_id, error.message)
        except Exception:  # noqa: BLE001 - it is told again like any other
            _log.exception("%s: its share is not set yet", migration_id)
        else:
            return
        self._refused.add(migration_id)
        try:
            await asyncio.sleep(_AGAIN_S)
        finally:
            self._refused.discard(migration_id)

    def _forget(self) -> None:
        for migration_id, (_, task) in tuple(self._telling.items()):
            if task.done():
                del self._telling[migration_id]


def _capped_by_a_person(migration: Migration) -> bool:
    """Whether the cap of a move is not a share: somebody set it since the move began."""
    if migration.parameters.max_bandwidth_bytes_per_s is None:
        return False
    by = [one.by for one in migration.notes if one.text.startswith("bandwidth cap changed")]
    return bool(by) and by[-1] != BY
