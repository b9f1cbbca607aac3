"""Moving the running servers of a host away, live, while it shuts down in order."""

import asyncio
import logging
from collections import Counter

from backend.fleet.host_view import shutting_down
from backend.fleet.known import Fleet
from backend.fleet.server_view import standing, storage_kind
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.acts import Acts
from backend.migrations.desk import Desk
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation, EvacuationKind, EvacuationState, MoveState
from wire.fleet import HostPolicy, OwnerPhase, ServerPolicy, ServerRecord, ServerStatus
from wire.forecast import Ease
from wire.lease import boot_clock_s
from wire.migration import MigrationOptions, MigrationState

_log = logging.getLogger(__name__)

REQUESTED_BY = "host shutdown"
AT_ONCE = 2
"""Moves from one host at a time: more share its link, and end later or not at all."""
TRIES = 2
"""A move that failed once may have met a target that was just filled."""
_LOOK_S = 0.5
_LAST_S = 3.0
"""Nothing is begun when so little is left: it would only be broken off."""
_BREAK_OFF_S = 1.0
"""With so little left, what still copies is cancelled: libvirt refuses to shut down a guest that
moves, for 30 s, and then the host cuts it off."""
_ASK_AGAIN_S = 5.0
"""So long a server without a target waits until it is tried anew."""


class Departures:
    """Runs while this backend leads. What is under way is known from the journal alone."""

    def __init__(self, fleet: Fleet, desk: Desk, acts: Acts) -> None:
        self._fleet = fleet
        self._desk = desk
        self._acts = acts
        self._until_s: dict[tuple[str, str], float] = {}
        """host_id and boot_id → when its time is over, by this machine's CLOCK_BOOTTIME."""
        self._not_before_s: dict[str, float] = {}
        """server_id → when it is tried again."""
        self._tries: Counter[str] = Counter()
        """server_id → how many moves of it were begun."""

    async def lead(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Begin what may be begun now, for every host that shuts down, and end what comes late."""
        self._forget()
        if self._fleet.etcd_error:
            return
        for host_id in tuple(self._fleet.shutdowns):
            if not self._leaves(host_id):
                continue
            left_s = self._deadline_s(host_id) - boot_clock_s()
            if left_s > _LAST_S:
                await self._move_some(host_id)
            elif left_s <= _BREAK_OFF_S:
                await self._break_off(host_id)

    def _leaves(self, host_id: str) -> bool:
        policy = self._fleet.policies.get(host_id, HostPolicy())
        return policy.auto_migrate_on_host_shutdown and shutting_down(self._fleet, host_id)

    def _deadline_s(self, host_id: str) -> float:
        """Count the time from when this backend saw the word: clocks of hosts may differ."""
        word = self._fleet.shutdowns[host_id]
        return self._until_s.setdefault((host_id, word.boot_id), boot_clock_s() + word.within_s)

    async def _move_some(self, host_id: str) -> None:
        under_way = sum(
            1
            for one in self._fleet.migrations.values()
            if one.source_host_id == host_id and not one.state.ended
        )
        left_to_it = _evacuated(self._fleet.open_evacuation(host_id))
        for record in departing(self._fleet, host_id):
            if record.server_id in left_to_it:
                continue
            if under_way >= AT_ONCE:
                return
            if self._may_try(record):
                under_way += await self._begin(record)

    async def _break_off(self, host_id: str) -> None:
        """Cancel the live moves that do not switch over yet, whoever began them."""
        for one in tuple(self._fleet.migrations.values()):
            leaves = one.source_host_id == host_id and one.kind == "live"
            if not leaves or one.state.rank >= MigrationState.SWITCHING_OVER.rank:
                continue
            if one.cancel_requested_by:
                continue
            try:
                await self._acts.cancel(one.migration_id, requested_by=REQUESTED_BY)
            except GodwitError as error:
                if error.code not in {*NOTHING_IS_WRITTEN, ErrorCode.CONFLICT}:
                    _log.warning("%s is not broken off: %s", one.server_name, error.message)

    def _may_try(self, record: ServerRecord) -> bool:
        waits = boot_clock_s() < self._not_before_s.get(record.server_id, 0.0)
        return not waits and self._tries[record.server_id] < TRIES

    async def _begin(self, record: ServerRecord) -> bool:
        """Begin one move; say whether it was."""
        try:
            await self._desk.migrate(
                "live",
                record.server_id,
                MigrationOptions(quickly_finish=True),
                requested_by=REQUESTED_BY,
            )
        except GodwitError as error:
            self._not_before_s[record.server_id] = boot_clock_s() + _ASK_AGAIN_S
            if error.code not in NOTHING_IS_WRITTEN:
                _log.warning("%s does not leave yet: %s", record.name, error.message)
            return False
        self._tries[record.server_id] += 1
        return True

    def _forget(self) -> None:
        present = {(host_id, one.boot_id) for host_id, one in self._fleet.shutdowns.items()}
        for over in self._until_s.keys() - present:
            del self._until_s[over]
        if not present:
            self._not_before_s.clear()
            self._tries.clear()


def _evacuated(evacuation: Evacuation | None) -> set[str]:
    """The servers that an evacuation moves, at its own pace; by id.

    Not those that it has given up, or that wait for a lever: no person will pull that in time.
    """
    if evacuation is None or evacuation.kind is not EvacuationKind.EVACUATE:
        return set()
    if evacuation.state is not EvacuationState.RUNNING:
        return set()
    return {
        one.plan.server_id
        for one in evacuation.servers
        if one.state.open
        and (
            one.state is MoveState.MOVING
            or one.plan.forecast is None
            or one.plan.forecast.ease is not Ease.STUCK
        )
    }


def departing(fleet: Fleet, host_id: str) -> list[ServerRecord]:
    """List the servers that run on a host and move nowhere yet, in the order of their going.

    Those on shared disks first, since disks take long; then by rescue priority; then the small
    ones, of which more get away in the same time.
    """
    records = [fleet.records[one] for one in fleet.owned.get(host_id, ())]
    running = [
        one
        for one in records
        if one.owner.phase is OwnerPhase.SETTLED
        and standing(fleet, one).status is ServerStatus.RUNNING
    ]

    def turn(record: ServerRecord) -> tuple[bool, int, int, str]:
        with_disks = storage_kind(record.disks) in {"local", "mixed"}
        policy = fleet.server_policies.get(record.server_id, ServerPolicy())
        return with_disks, policy.rescue_priority.rank, record.memory_bytes, record.name

    return sorted(running, key=turn)
