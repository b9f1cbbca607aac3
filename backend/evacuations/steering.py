"""What can be asked of an evacuation: pause, resume, cancel, retry, plan anew, change."""

import logging
from collections.abc import Callable, Sequence

import msgspec

from backend.evacuations.beginning import check_free
from backend.evacuations.editing import check_met, check_retried, edit_text
from backend.evacuations.means import Means
from backend.evacuations.moves import under_way
from backend.evacuations.planning import planner
from backend.evacuations.steps import (
    again,
    cancelled,
    changed,
    check_change,
    check_open,
    check_state,
    names_of,
    to_cancel,
    to_edit,
    to_retry,
    with_terms,
)
from backend.fleet.names import find_host
from backend.migrations.acts import Acts
from backend.migrations.notes import noted
from wire.errors import GodwitError, conflict
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    EvacuationState,
    MoveState,
)
from wire.fleet import HostPolicy

_log = logging.getLogger(__name__)

_STEERED = {EvacuationState.RUNNING, EvacuationState.PAUSED}


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
            check_state(known, {EvacuationState.RUNNING}, "paused")
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
            check_state(known, {EvacuationState.PAUSED}, "resumed")
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
        self._means.found(evacuation_id)
        async with self._evacuator.turn():
            known = self._means.found(evacuation_id)
            check_open(known, "cancelled")
            if not servers:
                return await self._cancel_all(known, requested_by)
            known = await self._evacuator.note_moves(evacuation_id)
            meant = to_cancel(known, servers)
            self._check_not_cancelled(meant)
            refusal: GodwitError | None = None
            for one in tuple(meant):
                if one.state is MoveState.MOVING:
                    try:
                        await self._acts.cancel(one.migration_id, requested_by=requested_by)
                    except GodwitError as error:
                        refusal = refusal or error
                        meant.remove(one)
            if not meant and refusal is not None:
                raise refusal
            ids = {one.plan.server_id for one in meant}

            def change(now: Evacuation) -> Evacuation:
                lines = tuple(
                    cancelled(one, requested_by)
                    if one.plan.server_id in ids and one.state is MoveState.WAITING
                    else one
                    for one in now.servers
                )
                told = msgspec.structs.replace(now, servers=lines)
                return noted(told, f"cancelled for {names_of(meant)}", by=requested_by)

            await self._records.change(evacuation_id, change)
            if refusal is not None:
                raise refusal  # the others are cancelled and noted
            return await self._evacuator.note_moves(evacuation_id)

    async def retry(
        self, evacuation_id: str, servers: Sequence[str], *, requested_by: str
    ) -> Evacuation:
        """Move servers again whose moves failed or were cancelled; with none all of them.

        An evacuation that has ended runs again.

        Raises:
            GodwitError: CONFLICT when nothing is to be tried again, another evacuation holds the
                host, or the host takes servers again; BAD_REQUEST when one of these servers stays
                all the same.
        """
        self._means.found(evacuation_id)
        async with self._evacuator.turn():
            known = self._means.found(evacuation_id)
            self._check_retry(known)
            meant = to_retry(known, servers)
            ids = {one.plan.server_id for one in meant}

            def change(now: Evacuation) -> Evacuation:
                lines = tuple(
                    again(one) if one.plan.server_id in ids else one for one in now.servers
                )
                state = now.state if now.open else EvacuationState.RUNNING
                told = msgspec.structs.replace(now, state=state, ended_at_ms=0, servers=lines)
                return noted(told, f"tried again: {names_of(meant)}", by=requested_by)

            fresh = await planner.replan(self._means.sources, change(known))
            check_retried(self._fleet, fresh, servers)
            now = await self._records.change(evacuation_id, change)
            now = await self._evacuator.replanner.take(now, fresh)
            self._means.look_soon()
            return now

    async def replan(self, evacuation_id: str, *, requested_by: str) -> Evacuation:
        """Plan anew what has not begun, with what is known now.

        Raises:
            GodwitError: CONFLICT when it has ended, or is being cancelled.
        """
        self._means.found(evacuation_id)
        async with self._evacuator.turn():
            known = self._means.found(evacuation_id)
            check_state(known, _STEERED, "planned anew")
            fresh = await planner.replan(self._means.sources, known)
            await self._evacuator.replanner.take(known, fresh, asked_for=True)
            return await self._records.change(
                evacuation_id, lambda now: noted(now, "planned anew", by=requested_by)
            )

    async def change(
        self, evacuation_id: str, wanted: EvacuationChange, *, requested_by: str
    ) -> Evacuation:
        """Change the cap, the deadline, or the plan of servers that have not begun.

        Raises:
            GodwitError: BAD_REQUEST for a change of nothing or out of its bounds, or a wish that
                cannot be met; CONFLICT when it has ended, is being cancelled, or a server is on its
                way already.
        """
        check_change(wanted)
        self._means.found(evacuation_id)
        async with self._evacuator.turn():
            known = self._means.found(evacuation_id)
            check_state(known, _STEERED, "changed")
            edited = to_edit(known, wanted.edits)
            fresh = None
            if wanted.edits:
                terms = with_terms(known, wanted)
                fresh = await planner.replan(self._means.sources, terms, wanted.edits)
                check_met(self._fleet, fresh, wanted.edits)
            texts = [edit_text(self._fleet, known, one) for one in wanted.edits]
            told = await self._records.change(
                evacuation_id, lambda now: changed(now, wanted, requested_by, texts)
            )
            if fresh is not None:
                ids = [one.plan.server_id for one in edited]
                told = await self._evacuator.replanner.take(told, fresh, edited=ids)
            if wanted.no_bandwidth_limit:
                self._evacuator.sharing.lift(under_way(self._fleet, told))
            self._means.look_soon()
            return told

    async def _cancel_all(self, known: Evacuation, by: str) -> Evacuation:
        """Have the runner cancel what moves; what waits is cancelled at once."""

        def change(now: Evacuation) -> Evacuation:
            if now.state is EvacuationState.CANCELLING:
                return now
            check_open(now, "cancelled")
            lines = tuple(
                cancelled(one, by) if one.state is MoveState.WAITING else one for one in now.servers
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
        self._means.found(evacuation_id)
        async with self._evacuator.turn():
            self._means.found(evacuation_id)
            changed = await self._records.change(evacuation_id, change)
        self._means.look_soon()
        return changed

    def _check_not_cancelled(self, meant: Sequence[EvacuatedServer]) -> None:
        """Refuse what somebody has cancelled a moment ago: it is on its way to that."""
        for one in meant:
            moves = self._fleet.migrations.get(one.migration_id)
            if one.state is MoveState.MOVING and moves is not None and moves.cancel_requested_by:
                raise conflict(
                    f"{one.plan.server_name} is being cancelled already, as "
                    f"{moves.cancel_requested_by} asked for"
                )

    def _check_retry(self, known: Evacuation) -> None:
        """An ended evacuation runs again only where nothing holds the host or is placed on it."""
        if known.state is EvacuationState.CANCELLING:
            raise conflict(f"the evacuation of {known.host_name} is being cancelled")
        if known.open:
            return
        host = find_host(self._fleet, known.host_id)
        check_free(self._fleet, host)
        policy = self._fleet.policies.get(known.host_id, HostPolicy())
        if not policy.maintenance and known.kind is not EvacuationKind.RETURN:
            raise conflict(
                f"{host.name} takes servers again; godwit host-evacuate {host.name} empties it anew"
            )
