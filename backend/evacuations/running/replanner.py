"""Planning anew while an evacuation runs, whenever a server has no target that takes it."""

import logging
import time
from collections.abc import Iterable, Sequence

import msgspec

from backend.evacuations.planning import planner
from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations
from backend.evacuations.running.course import newcomers
from backend.evacuations.running.prospects import Prospects, are_better, prospects
from backend.evacuations.running.replanning import broken_pins, replanned, to_place, unfit
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.notes import noted
from wire.errors import GodwitError
from wire.evacuation import EvacuatedServer, Evacuation

_log = logging.getLogger(__name__)

_AGAIN_S = 3.0
"""What has no target is planned anew so often at most."""
_LONGEST_S = 60.0
"""And so often at least, though nothing has changed that would make a difference."""


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The last plan of an evacuation, and what it was made of."""

    at_s: float
    again_after_s: float
    prospects: Prospects | None = None
    """None if a person asked for the plan."""


class Replanner:
    """Keeps the plans of open evacuations fit to be followed."""

    def __init__(self, sources: Sources, records: Evacuations) -> None:
        self._fleet = sources.fleet
        self._sources = sources
        self._records = records
        self._attempts: dict[str, _Attempt] = {}
        """evacuation_id → when it was last planned anew."""
        self._looked_s: dict[str, float] = {}
        """evacuation_id → when it was last looked at whether that may bring more now."""

    def keep(self, evacuation_ids: set[str]) -> None:
        """Forget all others."""
        for known in (self._attempts, self._looked_s):
            for evacuation_id in known.keys() - evacuation_ids:
                del known[evacuation_id]

    async def look(self, evacuation: Evacuation) -> Evacuation:
        """Choose targets for servers that have none, and plan those in that turned up.

        As long as that brings nothing it is done more and more seldom, and at once when it may.
        """
        without, new = to_place(self._fleet, evacuation), newcomers(self._fleet, evacuation)
        if not (without or new):
            return evacuation
        ids = [*(one.plan.server_id for one in without), *(one.server_id for one in new)]
        after_s = self._due(evacuation.evacuation_id, ids)
        if after_s is None:
            return evacuation
        made_of = prospects(self._fleet, ids)
        try:
            fresh = await planner.replan(self._sources, evacuation)
        except GodwitError as error:
            if error.code in NOTHING_IS_WRITTEN:
                raise
            self._planned(evacuation.evacuation_id, after_s, made_of)
            _log.warning("%s not planned anew: %s", evacuation.host_name, error.message)
            return evacuation
        changed = await self.take(evacuation, fresh)
        still = {one.plan.server_id for one in to_place(self._fleet, changed)}
        is_in_vain = not new and all(one.plan.server_id in still for one in without)
        self._planned(evacuation.evacuation_id, after_s if is_in_vain else _AGAIN_S, made_of)
        return await self._noted(changed, without, [one.name for one in new])

    def _planned(self, evacuation_id: str, after_s: float, made_of: Prospects) -> None:
        self._attempts[evacuation_id] = _Attempt(
            at_s=time.monotonic(), again_after_s=after_s, prospects=made_of
        )

    def _due(self, evacuation_id: str, server_ids: Sequence[str]) -> float | None:
        """After how long it is planned once more if this brings nothing; None: not now."""
        now_s, last = time.monotonic(), self._attempts.get(evacuation_id)
        if last is None:
            return _AGAIN_S
        if now_s - last.at_s < _AGAIN_S:
            return None
        if now_s - last.at_s >= last.again_after_s:
            return min(_LONGEST_S, 2 * last.again_after_s)
        if now_s - self._looked_s.get(evacuation_id, -_AGAIN_S) < _AGAIN_S:
            return None
        self._looked_s[evacuation_id] = now_s
        now = prospects(self._fleet, server_ids)
        if last.prospects is None or are_better(now, last.prospects):
            return _AGAIN_S
        return None

    async def _noted(
        self, evacuation: Evacuation, before: Iterable[EvacuatedServer], new: Sequence[str]
    ) -> Evacuation:
        """Note in the record what was planned anew, and what a person has to choose anew."""
        servers = {one.plan.server_id: one for one in evacuation.servers}
        pins = broken_pins(self._fleet, evacuation)
        texts = [f"{name} has turned up on {evacuation.host_name}" for name in new]
        for one in before:
            now = servers[one.plan.server_id]
            plan = now.plan
            if plan.target_host_id and plan.target_host_id != one.plan.target_host_id:
                why = unfit(self._fleet, one.plan.target_host_id) if one.plan.target_host_id else ""
                because = f", since {why}" if why else ""
                texts.append(f"{plan.server_name} goes to {plan.target_host_name}{because}")
            elif now.reason != one.reason and now.reason == pins.get(plan.server_id):
                texts.append(f"{plan.server_name} waits: {now.reason}")

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
        self._attempts[evacuation.evacuation_id] = _Attempt(
            at_s=time.monotonic(), again_after_s=_AGAIN_S
        )
        pins = broken_pins(self._fleet, fresh)
        return await self._records.change(
            evacuation.evacuation_id,
            lambda known: replanned(known, fresh, pins, asked_for=asked_for, edited=edited),
        )
