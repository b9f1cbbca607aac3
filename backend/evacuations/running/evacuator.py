"""What the leader does all the time about hosts that are emptied or filled again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from backend.audit.act import unasked
from backend.duties import Duty, Faults
from backend.evacuations.moves import under_way
from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations
from backend.evacuations.running.back import marked
from backend.evacuations.running.catching_up import find_moves, read_anew
from backend.evacuations.running.course import given_back, observed
from backend.evacuations.running.failing import GAVE_UP, hopeless, since_changed
from backend.evacuations.running.replanner import Replanner
from backend.evacuations.running.replanning import unplaced
from backend.evacuations.running.setting_out import Outcome, SettingOut
from backend.evacuations.timing.sharing import Sharing
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.acts import Acts
from backend.migrations.drive import Drive
from backend.moments import now_ms
from wire.errors import ErrorCode, GodwitError, conflict
from wire.evacuation import Evacuation, EvacuationKind, EvacuationState, MoveState
from wire.migration import Migration, PostcopyState

DoneT = TypeVar("DoneT")
_log = logging.getLogger(__name__)

_LOOK_S = 0.2
_GATHER_S = 0.02
"""What happens within this becomes one look."""
_TRIM_EVERY = 500
"""Looks between two trims."""
_SKIPPED_S = 10.0
"""So long an evacuation is left alone that cannot be looked at."""
_TURN_S = 8.0
"""So long a person waits for the runner; a look takes longer only where hosts answer late."""


class Evacuator:
    """Begins the moves of evacuations as links become free, and notes how they ended.

    Only the leading backend runs it. All that a look decides on is in etcd and in the agents'
    streams, so that another leader's first look goes on where this one's last ended.
    """

    def __init__(
        self,
        drive: Drive,
        sources: Sources,
        records: Evacuations,
        acts: Acts,
        setting_out: SettingOut,
        *,
        faults: Faults,
    ) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._records = records
        self._acts = acts
        self._setting_out = setting_out
        self._faults = faults
        self.sharing = Sharing(acts)
        self.replanner = Replanner(sources, records)
        self.lock = asyncio.Lock()
        """Held while evacuations are looked at, or changed by a person."""
        self._read = False
        """Whether etcd was asked for all that is open since this backend leads."""
        self._not_before_s: dict[str, float] = {}
        """evacuation_id → when it is looked at again after an error."""

    async def lead(self) -> None:
        """Look for ever."""
        told, looks = "", 0
        changed = self._fleet.moves_changed
        self._read = False
        try:
            while True:
                changed.clear()
                try:
                    async with self.lock:
                        await self.look()
                        if looks % _TRIM_EVERY == 0 and not self._fleet.etcd_error:
                            await self._records.trim()
                        self._faults.keep_parts(Duty.EVACUATIONS, self._not_before_s)
                    told = ""
                except GodwitError as error:
                    self._faults.add_part(Duty.EVACUATIONS, "", error)
                    if error.message != told:
                        _log.warning("evacuations not looked at: %s", error.message)
                    told = error.message
                looks += 1
                await asyncio.sleep(_GATHER_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await changed.wait()
        finally:
            self.sharing.stop()
            for evacuation_id in tuple(self._fleet.evacuation_waits):
                self._fleet.put_waits(evacuation_id, {})

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the lock for what a person asks for.

        Raises:
            GodwitError: ETCD_UNREACHABLE or CONFLICT, if it is not free soon.
        """
        try:
            async with asyncio.timeout(_TURN_S):
                await self.lock.acquire()
        except TimeoutError:
            if self._fleet.etcd_error:
                raise GodwitError(ErrorCode.ETCD_UNREACHABLE, self._fleet.etcd_error) from None
            raise conflict(
                f"nothing was changed: for {_TURN_S:g} s evacuations have been waiting for hosts "
                "that answer late; ask again",
            ) from None
        try:
            yield
        finally:
            self.lock.release()

    async def look(self) -> None:
        """Look at every open evacuation once; the caller holds the lock.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE; the next look goes on.
        """
        if self._fleet.etcd_error:
            return
        if not self._read:
            await read_anew(self._records, self.open())
            self._read = True
        known = self.open()
        for gone in self._not_before_s.keys() - self._fleet.evacuations.keys():
            del self._not_before_s[gone]
        self.replanner.keep({one.evacuation_id for one in known})
        due = [one for one in known if not self._is_skipped(one)]
        seen = [await self._or_skipped(one, self._observe) for one in due]
        looked_at = [one for one in seen if one is not None]
        running = [one for one in looked_at if one.state is EvacuationState.RUNNING]
        skipped = {one.evacuation_id for one in known} & self._not_before_s.keys()
        kept = skipped | {one.evacuation_id for one in running}
        for over in self._fleet.evacuation_waits.keys() - kept:
            self._fleet.put_waits(over, {})
        going = [one for one in looked_at if one.open]
        begun = await self._setting_out.look(going)
        for one in self.open():  # also what is skipped: what it holds back would stay so
            await self._or_skipped(one, self._shared)
        for outcome in begun:
            await self._note_begun(outcome)
        for one in tuple(self._fleet.evacuations.values()):
            if not one.open and not self._is_skipped(one):
                await self._or_skipped(one, self._mark_what_is_back)

    def open(self) -> list[Evacuation]:
        """List what is open, oldest first."""
        return sorted(
            (one for one in self._fleet.evacuations.values() if one.open),
            key=lambda one: one.created_at_ms,
        )

    async def note_moves(self, evacuation_id: str) -> Evacuation:
        """Write what has become of the servers, if anything has."""
        with unasked():
            return await self._records.change(
                evacuation_id, lambda known: observed(self._fleet, known, now_ms())
            )

    async def _shared(self, evacuation: Evacuation) -> None:
        moves = under_way(self._fleet, evacuation)
        self.sharing.look(evacuation, moves, self._setting_out.held_back)

    async def _note_begun(self, outcome: Outcome) -> None:
        """Write which moves have begun, and take their targets from those that cannot."""

        async def note(evacuation: Evacuation) -> None:
            await self._records.change(
                evacuation.evacuation_id,
                lambda known: observed(self._fleet, unplaced(known, outcome.refused), now_ms()),
            )

        known = self._fleet.evacuations.get(outcome.evacuation_id)
        if known is not None:
            await self._or_skipped(known, note)

    def _is_skipped(self, evacuation: Evacuation) -> bool:
        return time.monotonic() < self._not_before_s.get(evacuation.evacuation_id, 0.0)

    async def _or_skipped(
        self, evacuation: Evacuation, step: Callable[[Evacuation], Awaitable[DoneT]]
    ) -> DoneT | None:
        """Take a step with one; None, a word to its servers and a pause if that fails."""
        evacuation_id, of = evacuation.evacuation_id, f"the evacuation of {evacuation.host_name}"
        try:
            done = await step(evacuation)
        except Exception as error:
            if isinstance(error, GodwitError):
                if error.code in NOTHING_IS_WRITTEN:
                    raise
                why = error.message
                _log.warning("evacuation %s: %s", evacuation_id, why)
            else:
                why = f"{type(error).__name__} in this backend, told in its log"
                _log.exception("evacuation %s is not looked at", evacuation_id)
            self._faults.add_part(Duty.EVACUATIONS, evacuation_id, error, of=of)
        else:
            if not self._is_skipped(evacuation):
                self._not_before_s.pop(evacuation_id, None)
            return done
        self._not_before_s[evacuation_id] = time.monotonic() + _SKIPPED_S
        text = f"{of} cannot go on now: {why}"
        waiting = (one for one in evacuation.servers if one.state is MoveState.WAITING)
        self._fleet.put_waits(evacuation_id, {one.plan.server_id: text for one in waiting})
        return None

    async def _observe(self, evacuation: Evacuation) -> Evacuation:
        await find_moves(self._drive.journal, self._fleet, evacuation)
        seen = observed(self._fleet, evacuation, now_ms())
        if seen != evacuation:
            evacuation = await self.note_moves(evacuation.evacuation_id)
        if not evacuation.open:
            _log.info("evacuation of %s has ended", evacuation.host_name)
            return evacuation
        if evacuation.kind is EvacuationKind.RESCUE and self._is_back(evacuation):
            return await self._leave_to_its_host(evacuation)
        if evacuation.state is EvacuationState.RUNNING:
            evacuation = await self._renewed(await self.replanner.look(evacuation))
        moves = under_way(self._fleet, evacuation)
        if evacuation.state is EvacuationState.CANCELLING:
            await self._cancel(moves, evacuation)
        await self._give_up(moves)
        return evacuation

    async def _renewed(self, evacuation: Evacuation) -> Evacuation:
        """Write in which order the servers begin, once links have shown what they carry."""
        outlook = self._setting_out.outlook
        if not outlook.differs(evacuation):
            return evacuation
        return await self._records.change(evacuation.evacuation_id, outlook.renewed)

    async def _cancel(self, moves: Iterable[Migration], evacuation: Evacuation) -> None:
        """Cancel what moves; what is too late to be cancelled goes on to its end."""
        by = next((one.by for one in reversed(evacuation.notes) if one.by), evacuation.requested_by)
        for one in moves:
            if not one.cancel_requested_by and one.kind != "rescue":
                await self._cancel_one(one, by)

    async def _give_up(self, moves: Iterable[Migration]) -> None:
        """Cancel what does not converge, so that the link is free for others."""
        for one in moves:
            job = self._drive.jobs.latest(one.migration_id)
            if one.kind != "live" or job is None or one.cancel_requested_by:
                continue
            if {one.postcopy, job.postcopy} != {PostcopyState.NOT}:
                continue
            if one.migration_id in self._setting_out.held_back:
                continue  # it was given nothing of the link to converge on
            reason = hopeless(since_changed(one, job.passes, now_ms()))
            if reason and await self._cancel_one(one, GAVE_UP):
                _log.warning("%s is given up: %s", one.server_name, reason)
                await self._note(one.migration_id, reason)

    async def _note(self, migration_id: str, text: str) -> None:
        """Journal a word of the runner, unless etcd is silent: the lock is held meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TURN_S):
                await self._drive.note(migration_id, text, by=GAVE_UP)

    async def _cancel_one(self, migration: Migration, by: str) -> bool:
        """Ask for a move's end; whether it is not too late."""
        try:
            await self._acts.cancel(migration.migration_id, requested_by=by)
        except GodwitError as error:
            if error.code not in {ErrorCode.CONFLICT, ErrorCode.NOT_FOUND}:
                raise
            return False
        return True

    def _is_back(self, evacuation: Evacuation) -> bool:
        return evacuation.host_id in self._fleet.health

    async def _leave_to_its_host(self, evacuation: Evacuation) -> Evacuation:
        """A dead host that has come back starts its own servers."""
        await self._records.change(
            evacuation.evacuation_id, lambda known: given_back(self._fleet, known, now_ms())
        )
        return await self.note_moves(evacuation.evacuation_id)

    async def _mark_what_is_back(self, evacuation: Evacuation) -> None:
        """Note in an evacuation that has ended what is on its host again."""
        if marked(self._fleet, evacuation) is not evacuation:
            await self._records.change(
                evacuation.evacuation_id, lambda known: marked(self._fleet, known)
            )
