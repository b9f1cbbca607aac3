"""Planning anew while an evacuation runs, whenever a server has no target that takes it."""

import logging
import time
from collections.abc import Iterable, Sequence

from backend.evacuations.planning import planner
from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations
from backend.evacuations.running.course import newcomers
from backend.evacuations.running.replanning import replanned, to_place, unfit
from backend.migrations.notes import noted
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import EvacuatedServer, Evacuation

_log = logging.getLogger(__name__)

_AGAIN_S = 3.0
"""What has no target is planned anew so often: room may have been made."""


class Replanner:
    """Keeps the plans of open evacuations fit to be followed."""

    def __init__(self, sources: Sources, records: Evacuations) -> None:
        self._fleet = sources.fleet
        self._sources = sources
        self._records = records
        self._planned_s: dict[str, float] = {}
        """evacuation_id → when it was last planned anew."""

    async def look(self, evacuation: Evacuation) -> Evacuation:
        """Choose targets for servers that have none, and plan those in that turned up."""
        without, new = to_place(self._fleet, evacuation), newcomers(self._fleet, evacuation)
        waited_s = time.monotonic() - self._planned_s.get(evacuation.evacuation_id, -_AGAIN_S)
        if not (without or new) or waited_s < _AGAIN_S:
            return evacuation
        try:
            fresh = await planner.replan(self._sources, evacuation)
        except GodwitError as error:
            if error.code in {ErrorCode.NOT_LEADING, ErrorCode.ETCD_UNREACHABLE}:
                raise
            self._planned_s[evacuation.evacuation_id] = time.monotonic()
            _log.warning("%s not planned anew: %s", evacuation.host_name, error.message)
            return evacuation
        changed = await self.take(evacuation, fresh)
        return await self._noted(changed, without, [one.name for one in new])

    async def _noted(
        self, evacuation: Evacuation, before: Iterable[EvacuatedServer], new: Sequence[str]
    ) -> Evacuation:
        """Note in the record what was planned anew."""
        now = {one.plan.server_id: one.plan for one in evacuation.servers}
        texts = [f"{name} has turned up on {evacuation.host_name}" for name in new]
        for one in before:
            plan = now[one.plan.server_id]
            if plan.target_host_id and plan.target_host_id != one.plan.target_host_id:
                why = unfit(self._fleet, one.plan.target_host_id) if one.plan.target_host_id else ""
                because = f", since {why}" if why else ""
                texts.append(f"{plan.server_name} goes to {plan.target_host_name}{because}")

        def change(known: Evacuation) -> Evacuation:
            for text in texts:
                known = noted(known, text)
            return known

        return await self._records.change(evacuation.evacuation_id, change) if texts else evacuation

    async def take(
        self,
        evacuation: Evacuation,
        fresh: Evacuation,
        *,
        asked_for: bool = False,
        edited: Sequence[str] = (),
    ) -> Evacuation:
        """Take over a new plan.

        Args:
            evacuation: as it is.
            fresh: as it was planned anew.
            asked_for: a person wants all planned that has not begun.
            edited: ids of servers that a person wants otherwise.
        """
        self._planned_s[evacuation.evacuation_id] = time.monotonic()
        return await self._records.change(
            evacuation.evacuation_id,
            lambda known: replanned(known, fresh, asked_for=asked_for, edited=edited),
        )
