"""What can be asked of an evacuation: pause, resume, cancel, retry, plan anew, change."""

import logging
from collections.abc import Callable, Sequence

import msgspec

from backend.evacuations import planning
from backend.evacuations.beginning import check_cap, check_deadline, check_free
from backend.evacuations.course import moves_of
from backend.evacuations.deadline import moment
from backend.evacuations.means import Means
from backend.evacuations.records import noted
from backend.fleet.names import find_host
from backend.migrations.acts import Acts
from backend.migrations.notes import now_ms
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    EvacuationState,
    MoveState,
)
from wire.fleet import HostPolicy
from wire.migration import Migration

_log = logging.getLogger(__name__)

_MIB = 1 << 20
_AGAIN = {MoveState.FAILED, MoveState.CANCELLED}


class Steering:
    """Takes acts from the API. Only the leading backend acts; each is noted with who asked.

    Every call raises GodwitError besides what it tells itself: NOT_FOUND, NOT_LEADING,
    ETCD_UNREACHABLE.
    """

    def __init__(self, means: Means, acts: Acts) -> None:
        self._means = means
        self._fleet = means.fleet
        self._records = means.records
        self._evacuator = means.evacuator
        self._acts = acts

    async def pause(self, evacuation_id: str, *, requested_by: str) -> Evacuation:
        """Let no further move begin; what moves goes on to its end.

        Raises:
            GodwitError: CONFLICT unless it runs.
        """

        def change(known: Evacuation) -> Evacuation:
            if known.state is EvacuationState.PAUSED:
                return known
            _check_state(known, {EvacuationState.RUNNING}, "paused")
            paused = msgspec.structs.replace(known, state=EvacuationState.PAUSED)
            return noted(paused, "paused", by=requested_by)

        return await self._changed(evacuation_id, change)

    async def resume(self, evacuation_id: str, *, requested_by: str) -> Evacuation:
        """Let moves begin again.

        Raises:
            GodwitError: CONFLICT unless it is paused.
        """

        def change(known: Evacuation) -> Evacuation:
            if known.state is EvacuationState.RUNNING:
                return known
            _check_state(known, {EvacuationState.PAUSED}, "resumed")
            resumed = msgspec.structs.replace(known, state=EvacuationState.RUNNING)
            return noted(resumed, "resumed", by=requested_by)

        return await self._changed(evacuation_id, change)

    async def cancel(
        self, evacuation_id: str, servers: Sequence[str], *, requested_by: str
    ) -> Evacuation:
        """Cancel these servers' moves, or with none the whole evacuation.

        Raises:
            GodwitError: CONFLICT when it has ended, or one of these servers is not open any more or
                too far to be cancelled.
        """
        async with self._evacuator.lock:
            known = self._means.found(evacuation_id)
            _check_open(known, "cancelled")
            if not servers:
                return await self._cancel_all(known, requested_by)
            meant = [_line(known, one) for one in servers]
            for one in meant:
                if not one.state.open:
                    raise _conflict(f"{one.plan.server_name} has {_ended(one)} already")
            for one in meant:
                if one.state is MoveState.MOVING:
                    await self._acts.cancel(one.migration_id, requested_by=requested_by)
            ids = {one.plan.server_id for one in meant}
            names = ", ".join(one.plan.server_name for one in meant)

            def change(now: Evacuation) -> Evacuation:
                lines = tuple(
                    _cancelled(one, requested_by)
                    if one.plan.server_id in ids and one.state is MoveState.WAITING
                    else one
                    for one in now.servers
                )
                return noted(
                    msgspec.structs.replace(now, servers=lines),
                    f"cancelled for {names}",
                    by=requested_by,
                )

            await self._records.change(evacuation_id, change)
            return await self._evacuator.note_moves(evacuation_id)

    async def retry(
        self, evacuation_id: str, servers: Sequence[str], *, requested_by: str
    ) -> Evacuation:
        """Move servers again whose moves failed or were cancelled; with none all of them.

        One that waits for a lever is tried as it is. An evacuation that has ended runs again.

        Raises:
            GodwitError: CONFLICT when nothing is to be tried again, another evacuation holds the
                host, or the host takes servers again.
        """
        async with self._evacuator.lock:
            known = self._means.found(evacuation_id)
            if not known.open:
                check_free(self._fleet, find_host(self._fleet, known.host_id))
                self._check_maintenance(known)
            elif known.state is EvacuationState.CANCELLING:
                raise _conflict(f"the evacuation of {known.host_name} is being cancelled")
            meant = [_line(known, one) for one in servers] or [
                one for one in known.servers if one.state in _AGAIN
            ]
            if not meant:
                raise _conflict(f"no move of the evacuation of {known.host_name} has failed")
            for one in meant:
                if one.state not in _AGAIN | {MoveState.STAYED}:
                    raise _conflict(
                        f"{one.plan.server_name} is {one.state}, and only what has failed, was "
                        "cancelled or stayed is tried again"
                    )
            ids = {one.plan.server_id for one in meant}
            names = ", ".join(one.plan.server_name for one in meant)
            wanted = msgspec.structs.replace(
                known,
                servers=tuple(
                    _again(one) if one.plan.server_id in ids else one for one in known.servers
                ),
            )
            fresh = await planning.replan(self._means.sources, wanted)

            def change(now: Evacuation) -> Evacuation:
                again = msgspec.structs.replace(
                    now,
                    state=EvacuationState.RUNNING if not now.open else now.state,
                    ended_at_ms=0,
                    servers=tuple(
                        _again(one) if one.plan.server_id in ids else one for one in now.servers
                    ),
                )
                return noted(again, f"tried again: {names}", by=requested_by)

            changed = await self._records.change(evacuation_id, change)
            return await self._evacuator.plan_anew(changed, fresh, by="")

    async def replan(self, evacuation_id: str, *, requested_by: str) -> Evacuation:
        """Plan anew what has not begun, with what is known now.

        Raises:
            GodwitError: CONFLICT when it has ended.
        """
        async with self._evacuator.lock:
            known = self._means.found(evacuation_id)
            _check_open(known, "planned anew")
            fresh = await planning.replan(self._means.sources, known)
            await self._evacuator.plan_anew(known, fresh, by=requested_by)
            return await self._records.change(
                evacuation_id, lambda now: noted(now, "planned anew", by=requested_by)
            )

    async def change(
        self, evacuation_id: str, wanted: EvacuationChange, *, requested_by: str
    ) -> Evacuation:
        """Change the cap, the deadline, or the plan of servers that have not begun.

        Raises:
            GodwitError: BAD_REQUEST for a change of nothing or out of its bounds; CONFLICT when it
                has ended, or a server is on its way already.
        """
        _check_change(wanted)
        async with self._evacuator.lock:
            known = self._means.found(evacuation_id)
            _check_open(known, "changed")
            edited = [_line(known, one.server) for one in wanted.edits]
            for one in edited:
                if one.state in {MoveState.MOVING, MoveState.LEFT}:
                    raise _conflict(
                        f"{one.plan.server_name} is {one.state}: its plan cannot be changed any "
                        "more"
                    )
            fresh = (
                await planning.replan(self._means.sources, known, wanted.edits)
                if wanted.edits
                else None
            )
            changed = await self._records.change(
                evacuation_id, lambda now: _changed(now, wanted, requested_by)
            )
            if fresh is not None:
                ids = [one.plan.server_id for one in edited]
                changed = await self._evacuator.plan_anew(changed, fresh, by="", edited=ids)
            if wanted.no_bandwidth_limit:
                self._evacuator.sharing.lift(self._moves(changed))
            self._means.look_soon()
            return changed

    async def _cancel_all(self, known: Evacuation, by: str) -> Evacuation:
        """Have the runner cancel what moves; what waits is cancelled at once."""

        def change(now: Evacuation) -> Evacuation:
            if now.state is EvacuationState.CANCELLING:
                return now
            _check_open(now, "cancelled")
            lines = tuple(
                _cancelled(one, by) if one.state is MoveState.WAITING else one
                for one in now.servers
            )
            cancelling = msgspec.structs.replace(
                now, state=EvacuationState.CANCELLING, servers=lines
            )
            return noted(cancelling, "cancelled", by=by)

        await self._records.change(known.evacuation_id, change)
        _log.info("%s cancels the evacuation of %s", by, known.host_name)
        self._means.look_soon()
        return await self._evacuator.note_moves(known.evacuation_id)

    async def _changed(
        self, evacuation_id: str, change: Callable[[Evacuation], Evacuation]
    ) -> Evacuation:
        async with self._evacuator.lock:
            self._means.found(evacuation_id)
            changed = await self._records.change(evacuation_id, change)
        self._means.look_soon()
        return changed

    def _moves(self, evacuation: Evacuation) -> list[Migration]:
        moves = moves_of(self._fleet, evacuation).values()
        return [listed[-1] for listed in moves if not listed[-1].state.ended]

    def _check_maintenance(self, known: Evacuation) -> None:
        """An ended evacuation runs again only where nothing is placed meanwhile."""
        policy = self._fleet.policies.get(known.host_id, HostPolicy())
        if not policy.maintenance and known.kind is not EvacuationKind.RETURN:
            raise _conflict(
                f"{known.host_name} takes servers again; godwit host-evacuate {known.host_name} "
                "empties it anew"
            )


def _check_change(wanted: EvacuationChange) -> None:
    if wanted == EvacuationChange():
        raise _bad(
            "nothing to change: give max_bandwidth_bytes_per_s, no_bandwidth_limit, empty_by_ms or "
            "edits"
        )
    cap = wanted.max_bandwidth_bytes_per_s
    if cap is not None and wanted.no_bandwidth_limit:
        raise _bad(
            f"no_bandwidth_limit takes the cap away, and max_bandwidth_bytes_per_s is {cap}: give "
            "one of them"
        )
    check_cap(cap)
    check_deadline(wanted.empty_by_ms or 0)


def _changed(now: Evacuation, wanted: EvacuationChange, by: str) -> Evacuation:
    """The record with what a person changed of all its servers."""
    told = []
    cap = wanted.max_bandwidth_bytes_per_s
    if cap is not None or wanted.no_bandwidth_limit:
        now = msgspec.structs.replace(now, max_bandwidth_bytes_per_s=cap)
        told.append(f"bandwidth cap {f'{cap / _MIB:g} MiB/s' if cap else 'taken away'}")
    if (by_ms := wanted.empty_by_ms) is not None:
        now = msgspec.structs.replace(now, empty_by_ms=by_ms)
        told.append(f"to be empty by {moment(by_ms)}" if by_ms else "deadline taken away")
    told += [f"plan of {one.server} changed" for one in wanted.edits]
    return noted(now, ", ".join(told), by=by)


def _line(known: Evacuation, name_or_id: str) -> EvacuatedServer:
    """One server of an evacuation, by its id or exact name."""
    found = [one for one in known.servers if one.plan.server_id == name_or_id] or [
        one for one in known.servers if one.plan.server_name == name_or_id
    ]
    if not found:
        raise GodwitError(
            ErrorCode.NOT_FOUND,
            f"the evacuation of {known.host_name} has no server {name_or_id!r}",
        )
    if len(found) > 1:
        ids = " and ".join(sorted(one.plan.server_id for one in found))
        raise GodwitError(
            ErrorCode.AMBIGUOUS,
            f"{len(found)} servers are called {name_or_id!r}; use an id: {ids}",
        )
    return found[0]


def _cancelled(server: EvacuatedServer, by: str) -> EvacuatedServer:
    return msgspec.structs.replace(
        server,
        state=MoveState.CANCELLED,
        reason=f"cancelled by {by} before it began",
        ended_at_ms=now_ms(),
    )


def _again(server: EvacuatedServer) -> EvacuatedServer:
    return msgspec.structs.replace(
        server, state=MoveState.WAITING, reason="", tries=0, ended_at_ms=0
    )


def _check_open(known: Evacuation, act: str) -> None:
    if not known.open:
        raise _conflict(
            f"the evacuation of {known.host_name} has ended at {moment(known.ended_at_ms)}, and cannot "
            f"be {act} any more"
        )


def _check_state(known: Evacuation, wanted: set[EvacuationState], act: str) -> None:
    _check_open(known, act)
    if known.state not in wanted:
        raise _conflict(
            f"the evacuation of {known.host_name} is {known.state}, and must be "
            f"{' or '.join(sorted(wanted))} to be {act}"
        )


def _ended(server: EvacuatedServer) -> str:
    return {MoveState.LEFT: "left", MoveState.STAYED: "stayed", MoveState.FAILED: "failed"}.get(
        server.state, "been cancelled"
    )


def _conflict(sentence: str) -> GodwitError:
    return GodwitError(ErrorCode.CONFLICT, sentence)


def _bad(sentence: str) -> GodwitError:
    return GodwitError(ErrorCode.BAD_REQUEST, sentence)
