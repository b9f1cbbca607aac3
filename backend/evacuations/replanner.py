"""Planning anew while an evacuation runs, whenever a server has no target that takes it."""

import logging
import time
from collections.abc import Iterable, Sequence

import msgspec

from backend.evacuations import planning
from backend.evacuations.course import newcomers
from backend.evacuations.planning import Sources
from backend.evacuations.records import Evacuations, noted
from backend.evacuations.replanning import failed_targets, replanned, to_place, unfit
from backend.migrations.choice import all_candidates
from backend.migrations.drive import Drive
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import EvacuatedServer, Evacuation, MoveState, Way
from wire.migration import MigrationKind

_log = logging.getLogger(__name__)

_AGAIN_S = 3.0
"""What has no target is planned anew so often: room may have been made."""


class Replanner:
    """Keeps the plans of open evacuations fit to be followed."""

    def __init__(self, drive: Drive, sources: Sources, records: Evacuations) -> None:
        self._drive = drive
        self._fleet = drive.fleet
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
            fresh = await planning.replan(self._sources, evacuation)
        except GodwitError as error:
            if error.code in {ErrorCode.NOT_LEADING, ErrorCode.ETCD_UNREACHABLE}:
                raise
            self._planned_s[evacuation.evacuation_id] = time.monotonic()
            _log.warning("%s not planned anew: %s", evacuation.host_name, error.message)
            return evacuation
        fresh = await self._apart_from_failures(evacuation, fresh)
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

    async def _apart_from_failures(self, evacuation: Evacuation, fresh: Evacuation) -> Evacuation:
        """Give servers whose move failed another target than that one, if any other fits."""
        servers = []
        for one in fresh.servers:
            failed = failed_targets(self._fleet, evacuation, one.plan.server_id)
            if one.state is MoveState.WAITING and one.plan.target_host_id in failed:
                servers.append(await self._elsewhere(one, failed))
            else:
                servers.append(one)
        return msgspec.structs.replace(fresh, servers=tuple(servers))

    async def _elsewhere(self, server: EvacuatedServer, failed: set[str]) -> EvacuatedServer:
        record = self._fleet.records.get(server.plan.server_id)
        if record is None or server.plan.way is Way.RESCUE:
            return server
        kind: MigrationKind = "live" if server.plan.way is Way.LIVE else "cold"
        try:
            judged = await all_candidates(
                self._fleet, self._drive.comparisons, record, kind, server.plan.options
            )
        except GodwitError:
            return server
        other = next((one for one in judged if one.fits and one.host_id not in failed), None)
        if other is None:
            return server
        plan = msgspec.structs.replace(
            server.plan, target_host_id=other.host_id, target_host_name=other.host_name
        )
        return msgspec.structs.replace(server, plan=plan)

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
