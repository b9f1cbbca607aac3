"""What acts of people make of an evacuation's record, and which they refuse."""

from collections.abc import Sequence

import msgspec

from backend.evacuations.beginning import check_deadline
from backend.migrations.checks import check_cap_change
from backend.migrations.notes import noted
from backend.moments import moment, now_ms
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationState,
    MoveState,
    PlanEdit,
    Way,
)

_MIB = 1 << 20
_AGAIN = {MoveState.FAILED, MoveState.CANCELLED}
_ENDED = {
    MoveState.LEFT: "left",
    MoveState.STAYED: "stayed",
    MoveState.FAILED: "failed",
    MoveState.CANCELLED: "been cancelled",
}


def check_change(wanted: EvacuationChange) -> None:
    """Refuse a change of nothing, or out of its bounds.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if wanted == EvacuationChange():
        raise bad_request(
            "nothing to change: give max_bandwidth_bytes_per_s, no_bandwidth_limit, empty_by_ms or "
            "edits"
        )
    check_cap_change(wanted.max_bandwidth_bytes_per_s, taken_away=wanted.no_bandwidth_limit)
    check_deadline(wanted.empty_by_ms or 0)


def with_terms(now: Evacuation, wanted: EvacuationChange) -> Evacuation:
    """The record with what a change wants of all its servers, without a note."""
    cap, by_ms = wanted.max_bandwidth_bytes_per_s, wanted.empty_by_ms
    if cap is not None or wanted.no_bandwidth_limit:
        now = msgspec.structs.replace(now, max_bandwidth_bytes_per_s=cap)
    return now if by_ms is None else msgspec.structs.replace(now, empty_by_ms=by_ms)


def changed(now: Evacuation, wanted: EvacuationChange, by: str, edits: Sequence[str]) -> Evacuation:
    """The record with what a person changed of all its servers, and a note of that.

    Args:
        now: as it is.
        wanted: the change.
        by: who wants it.
        edits: those of single servers, in words.
    """
    told = []
    cap = wanted.max_bandwidth_bytes_per_s
    if cap is not None or wanted.no_bandwidth_limit:
        told.append(f"bandwidth cap {f'{cap / _MIB:g} MiB/s' if cap else 'taken away'}")
    if (by_ms := wanted.empty_by_ms) is not None:
        told.append(f"to be empty by {moment(by_ms)}" if by_ms else "deadline taken away")
    return noted(with_terms(now, wanted), "; ".join([*told, *edits]), by=by)


def line_of(known: Evacuation, name_or_id: str) -> EvacuatedServer:
    """One server of an evacuation, by its id or exact name.

    Raises:
        GodwitError: NOT_FOUND or AMBIGUOUS.
    """
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


def cancelled(server: EvacuatedServer, by: str) -> EvacuatedServer:
    """A server that a person does not want to be moved any more, before it began."""
    return msgspec.structs.replace(
        server,
        state=MoveState.CANCELLED,
        reason=f"cancelled by {by} before it began",
        ended_at_ms=now_ms(),
    )


def again(server: EvacuatedServer) -> EvacuatedServer:
    """A server that is to be moved once more, with as many tries as before the first one.

    A wish that it stays is over; other wishes hold.
    """
    plan = server.plan
    if plan.way is Way.STAYS:
        plan = msgspec.structs.replace(plan, chosen_way=False)
    return msgspec.structs.replace(
        server,
        plan=plan,
        state=MoveState.WAITING,
        reason="",
        tries=0,
        ended_at_ms=0,
        returned=False,
    )


def check_open(known: Evacuation, act: str) -> None:
    """Refuse an act on an evacuation that has ended.

    Raises:
        GodwitError: CONFLICT.
    """
    if not known.open:
        raise conflict(
            f"the evacuation of {known.host_name} has ended at {moment(known.ended_at_ms)}, and "
            f"cannot be {act} any more"
        )


def check_state(known: Evacuation, wanted: set[EvacuationState], act: str) -> None:
    """Refuse an act in another state than these.

    Raises:
        GodwitError: CONFLICT.
    """
    check_open(known, act)
    if known.state not in wanted:
        raise conflict(
            f"the evacuation of {known.host_name} is {known.state}, and must be "
            f"{' or '.join(sorted(wanted))} to be {act}"
        )


def to_cancel(known: Evacuation, servers: Sequence[str]) -> list[EvacuatedServer]:
    """The servers that are meant to be cancelled, each of which is still open.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS or CONFLICT.
    """
    meant = [line_of(known, one) for one in servers]
    for one in meant:
        if not one.state.open:
            raise conflict(f"{one.plan.server_name} has {_ENDED[one.state]} already")
    return meant


def to_retry(known: Evacuation, servers: Sequence[str]) -> list[EvacuatedServer]:
    """The servers that are meant to be tried again; with no names all that failed.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS or CONFLICT.
    """
    meant = [line_of(known, one) for one in servers] or [
        one for one in known.servers if one.state in _AGAIN
    ]
    if not meant:
        raise conflict(f"no move of the evacuation of {known.host_name} has failed")
    for one in meant:
        if one.state not in _AGAIN | {MoveState.STAYED} and not one.returned:
            raise conflict(
                f"{one.plan.server_name} is {one.state}, and only what has failed, was cancelled, "
                "stayed or came back is tried again"
            )
    return meant


def to_edit(known: Evacuation, edits: Sequence[PlanEdit]) -> list[EvacuatedServer]:
    """The servers whose plans are meant to change, none of which has set out.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS or CONFLICT.
    """
    meant = [line_of(known, one.server) for one in edits]
    for one in meant:
        if one.state in {MoveState.MOVING, MoveState.LEFT}:
            raise conflict(
                f"{one.plan.server_name} is {one.state}: its plan cannot be changed any more"
            )
    return meant


def names_of(servers: Sequence[EvacuatedServer]) -> str:
    """Name servers in a note."""
    return ", ".join(one.plan.server_name for one in servers)
