"""Beginning moves: what the pace lets begin is asked for at the desk where people ask, too."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Literal

import msgspec

from backend.evacuations.moves import under_way
from backend.evacuations.running.waiting import held
from backend.evacuations.timing.links import links_of, stream_of
from backend.evacuations.timing.outlook import Outlook
from backend.evacuations.timing.pacing import Links, Moving, Waiting, held_back, pace
from backend.evacuations.timing.sharing import share, sharers
from backend.evacuations.timing.under_way import Lead, moving, sends, shows_heavy
from backend.fleet.known import Fleet
from backend.forecast.rates import Rates
from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.migrations.checks import LEAST_BANDWIDTH_BYTES_PER_S
from backend.migrations.desk import Desk
from backend.migrations.drive import Drive
from backend.moments import now_ms
from backend.rescue.desk import RescueDesk
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationState, MoveState, Way
from wire.forecast import Ease
from wire.migration import Migration
from wire.rescue import RescueOptions

_log = logging.getLogger(__name__)

_AGAIN_S = 2.0
"""A server that was refused is asked for again so much later."""
_EARLY_S = 0.3
"""Leads vary by as much: rather two share a link for a moment than that it idles."""
_SKIPPED_S = 10.0
"""So long one is left alone that a fault of this backend keeps from beginning."""
_PLANNED_WRONG = {ErrorCode.NO_TARGET, ErrorCode.CONFLICT, ErrorCode.BAD_REQUEST}
"""Refusals that another plan may meet: its target is full, it was stopped meanwhile."""


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A server whose turn may have come."""

    evacuation: Evacuation
    server: EvacuatedServer


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it for one evacuation."""

    evacuation_id: str
    refused: dict[str, str]
    """server_id → why it cannot begin as it is planned."""


class SettingOut:
    """Begins moves. A refusal becomes what the server waits for, and is not the end."""

    def __init__(self, drive: Drive, desk: Desk, rescue_desk: RescueDesk) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._desk = desk
        self._rescue_desk = rescue_desk
        self._lead = Lead()
        self.outlook = Outlook(drive.fleet, drive.jobs)
        self.held_back: frozenset[str] = frozenset()
        """Ids of migrations that leave their links to another one, as of the last look."""
        self._shown_heavy: set[str] = set()
        """Ids of migrations that have shown that they need the whole link."""
        self._not_before_s: dict[str, float] = {}
        """server_id → when it is asked for again."""
        self._refusals: dict[str, str] = {}
        """server_id → why it was not begun."""

    async def look(self, evacuations: Sequence[Evacuation]) -> list[Outcome]:
        """Begin what may begin now of those that run; of paused ones only what moves is looked at.

        Args:
            evacuations: the open ones, save those that are left alone for now.

        Returns:
            One outcome for each evacuation of which something was begun, or should have been.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        fleet = self._fleet
        self._lead.look(fleet, self._drive.jobs)
        # of one that is open and left alone for now what it holds back stays so
        if not any(one.open for one in fleet.evacuations.values()):
            self.held_back = frozenset()
            return []
        running = [one for one in evacuations if one.state is EvacuationState.RUNNING]
        waits: dict[str, str] = {}
        turns: dict[str, _Turn] = {}
        for turn in _in_turn(running):
            server_id = turn.server.plan.server_id
            reason = held(fleet, turn.evacuation, turn.server) or self._refused(server_id)
            if reason:
                waits[server_id] = reason
            else:
                turns.setdefault(server_id, turn)
        rates = Rates(fleet)
        looked_at = {one.evacuation_id for one in evacuations}
        course = self._under_way(rates, looked_at)
        links = links_of(fleet, rates, evacuations, course)
        paced = pace(
            [_waiting(fleet, one) for one in turns.values()],
            course,
            links,
            lead_s=self._lead.s + _EARLY_S,
        )
        waits |= paced.waits
        for one in running:
            fleet.put_waits(one.evacuation_id, _of(one, waits))
        begun = [turns[server_id] for server_id in paced.begin]
        shares = self._shares(begun)
        # all of them, whatever one meets: none may go on once the caller's lock is released
        refusals = await asyncio.gather(
            *(self._begin(one, shares[one.evacuation.evacuation_id]) for one in begun),
            return_exceptions=True,
        )
        self.held_back = _held_back(self._under_way(rates, looked_at) if begun else course, links)
        found: dict[str, dict[str, str]] = {}
        for turn, refusal in zip(begun, refusals, strict=True):
            if isinstance(refusal, BaseException):
                raise refusal
            refused = found.setdefault(turn.evacuation.evacuation_id, {})
            if refusal:
                refused[turn.server.plan.server_id] = refusal
        return [Outcome(evacuation_id=id_, refused=refused) for id_, refused in found.items()]

    def _refused(self, server_id: str) -> str:
        if time.monotonic() < self._not_before_s.get(server_id, 0.0):
            return self._refusals[server_id]
        self._not_before_s.pop(server_id, None)
        self._refusals.pop(server_id, None)
        return ""

    async def _begin(self, turn: _Turn, share_bytes_per_s: int | None) -> str:
        """Begin one move; why it cannot begin as it is planned, if so."""
        plan = turn.server.plan
        try:
            migration = await self._ask(turn, share_bytes_per_s)
        except GodwitError as error:
            if error.code in NOTHING_IS_WRITTEN:
                raise
            self._not_before_s[plan.server_id] = time.monotonic() + _AGAIN_S
            self._refusals[plan.server_id] = error.message
            _log.info("%s does not begin yet: %s", plan.server_name, error.message)
            return error.message if error.code in _PLANNED_WRONG else ""
        except Exception:  # noqa: BLE001 - the others go on
            _log.exception("%s does not begin now", plan.server_name)
            self._not_before_s[plan.server_id] = time.monotonic() + _SKIPPED_S
            self._refusals[plan.server_id] = "this backend failed to begin it, told in its log"
            return ""
        self._lead.begun(migration.migration_id)
        return ""

    async def _ask(self, turn: _Turn, share_bytes_per_s: int | None) -> Migration:
        evacuation, plan = turn.evacuation, turn.server.plan
        by, evacuation_id = evacuation.requested_by, evacuation.evacuation_id
        if plan.way is Way.RESCUE:
            wanted = RescueOptions(
                prefer_host=plan.target_host_id, auto_start=plan.options.auto_start
            )
            return await self._rescue_desk.rescue(
                plan.server_id, wanted, requested_by=by, evacuation_id=evacuation_id
            )
        record = self._fleet.records.get(plan.server_id)
        kind: Literal["live", "cold"] = "live" if plan.way is Way.LIVE else "cold"
        options = msgspec.structs.replace(
            plan.options,
            prefer_host=plan.target_host_id,
            max_bandwidth_bytes_per_s=share_bytes_per_s,
            # it may have been started or stopped since it was planned
            auto_start=kind == "cold" and record is not None and record.runs_again,
        )
        return await self._desk.migrate(
            kind, plan.server_id, options, requested_by=by, evacuation_id=evacuation_id
        )

    def _shares(self, begun: Sequence[_Turn]) -> dict[str, int | None]:
        """What each move gets of its evacuation's cap, with those that begin in this look."""
        found: dict[str, int | None] = {}
        for one in {turn.evacuation.evacuation_id: turn.evacuation for turn in begun}.values():
            new = [
                turn
                for turn in begun
                if turn.evacuation is one and turn.server.plan.way is not Way.RESCUE
            ]
            count = len(sharers(under_way(self._fleet, one))) + len(new)
            found[one.evacuation_id] = share(one.max_bandwidth_bytes_per_s, count)
        return found

    def _under_way(self, rates: Rates, looked_at: Collection[str]) -> list[Moving]:
        """The open moves; of evacuations that are left alone for now by their plan's forecasts.

        What keeps one from being looked at may be its forecasts, which would stop all others here.
        """
        lines = {
            (one.evacuation_id, server.plan.server_id): (one, server)
            for one in self._fleet.evacuations.values()
            if one.open
            for server in one.servers
        }
        self.outlook.keep({server_id for _, server_id in lines})
        at_ms = now_ms()
        found = []
        open_ones = [one for one in self._fleet.migrations.values() if not one.state.ended]
        self._shown_heavy &= {one.migration_id for one in open_ones}
        for one in sorted(open_ones, key=lambda one: one.created_at_ms):
            evacuation, server = lines.get((one.evacuation_id, one.server_id), (None, None))
            cap = evacuation.max_bandwidth_bytes_per_s if evacuation else None
            stream = stream_of(rates, one.source_host_id)
            forecast = server.plan.forecast if server else None
            if server and one.evacuation_id in looked_at:
                forecast = self.outlook.of(server.plan, cap, rates)
            found.append(
                moving(
                    self._fleet,
                    self._drive.jobs,
                    one,
                    server,
                    forecast=forecast,
                    shown_heavy=self._has_shown_heavy(one.migration_id),
                    # nobody is nearly through under a cap who would be on the whole link
                    stream_bytes_per_s=stream if cap is None else min(stream, cap),
                    lead_s=self._lead.s,
                    at_ms=at_ms,
                )
            )
        return found

    def _has_shown_heavy(self, migration_id: str) -> bool:
        """Whether a move is heavy from now on, by what it did before its link was cleared for it.

        Else those held back for it would come and go. One that is held back itself shows nothing.
        """
        samples = self._drive.jobs.samples(migration_id)
        latest = samples[-1] if samples and migration_id not in self.held_back else None
        # the newest sample may be from when it was still held back
        free = latest and latest.bandwidth_bytes_per_s > 2 * LEAST_BANDWIDTH_BYTES_PER_S
        if latest and free and shows_heavy(latest):
            self._shown_heavy.add(migration_id)
        return migration_id in self._shown_heavy


def _held_back(under_way: Sequence[Moving], links: Links) -> frozenset[str]:
    """Ids of those that began before another one on their links, which needs them, was through."""
    return frozenset(
        one.migration_id
        for number, one in enumerate(under_way)
        if one.sends
        and held_back(under_way[:number], one.source_host_id, one.target_host_id, links)
    )


def _in_turn(running: Iterable[Evacuation]) -> list[_Turn]:
    """List what waits in its order, the hosts taking turns."""
    listed = [
        [
            _Turn(evacuation=one, server=server)
            for server in one.servers
            if server.state is MoveState.WAITING
        ]
        for one in running
    ]
    return [one for one in chain.from_iterable(zip_longest(*listed)) if one is not None]


def _waiting(fleet: Fleet, turn: _Turn) -> Waiting:
    plan = turn.server.plan
    forecast = plan.forecast
    kind = {Way.LIVE: "live", Way.COLD: "cold"}.get(plan.way, "rescue")
    return Waiting(
        server_id=plan.server_id,
        server_name=plan.server_name,
        source_host_id=plan.source_host_id,
        target_host_id=plan.target_host_id,
        ease=forecast.ease if forecast else Ease.EASY,
        sends=sends(fleet.records.get(plan.server_id), kind),
        lever=forecast.lever if forecast else "",
    )


def _of(evacuation: Evacuation, waits: dict[str, str]) -> dict[str, str]:
    mine = {one.plan.server_id for one in evacuation.servers}
    return {server_id: reason for server_id, reason in waits.items() if server_id in mine}
