"""From a plan to an evacuation, and what is refused before anything is begun."""

import secrets
from collections.abc import Iterable, Sequence

from backend.evacuations.planning.planner import as_server
from backend.fleet.known import Fleet
from backend.moments import moment, now_ms
from wire.errors import bad_request, conflict
from wire.evacuation import (
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveOptions,
    Plan,
)
from wire.fleet import HostFacts
from wire.migration import Note

HOSTS_AT_ONCE = 60
"""More than two racks hold, and what etcd takes as one beginning: 128 operations by default."""
_LATEST_MS = 253_370_764_800_000
"""The year 9999: Python tells no later time."""


def evacuation_of(
    plan: Plan,
    *,
    options: MoveOptions,
    max_bandwidth_bytes_per_s: int | None,
    requested_by: str,
    keep_spare: bool = False,
    empty_by_ms: int = 0,
) -> Evacuation:
    """The record of an evacuation that begins with this plan."""
    at_ms = now_ms()
    text = f"begun with {len(plan.moves)} servers, {plan.finish_in_s} s reckoned"
    return Evacuation(
        evacuation_id=secrets.token_hex(6),
        kind=plan.kind,
        host_id=plan.host_id,
        host_name=plan.host_name,
        servers=tuple(as_server(one) for one in plan.moves),
        options=options,
        max_bandwidth_bytes_per_s=max_bandwidth_bytes_per_s,
        keep_spare=keep_spare,
        empty_by_ms=empty_by_ms,
        requested_by=requested_by,
        created_at_ms=at_ms,
        notes=(Note(at_ms=at_ms, text=text, by=requested_by),),
        planned_finish_s=plan.finish_in_s,
    )


def check_confirmed(hosts: Sequence[HostFacts], confirmed: Iterable[str]) -> None:
    """Refuse a start for which the hosts' names were not typed once more.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    typed, names = sorted(set(confirmed)), sorted({one.name for one in hosts})
    if not names:
        raise bad_request("hosts is empty: name the hosts to be emptied")
    if typed != names:
        given = ", ".join(repr(one) for one in typed) or "nothing"
        wanted = ", ".join(repr(one) for one in names)
        raise bad_request(
            f"{given} was typed to confirm, and what would be emptied is called {wanted}"
        )


def check_hosts(hosts: Sequence[str]) -> None:
    """Refuse a plan for more hosts than are emptied together.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if len(hosts) > HOSTS_AT_ONCE:
        raise bad_request(
            f"{len(hosts)} hosts were named, and at most {HOSTS_AT_ONCE} are planned together, "
            "since none of them takes servers meanwhile: empty a part of them first"
        )


def check_deadline(empty_by_ms: int) -> None:
    """Refuse a deadline that is over; 0 is none.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if not 0 <= empty_by_ms <= _LATEST_MS:
        raise bad_request(
            f"empty_by_ms is {empty_by_ms}, and must be Unix time in ms, or 0 for none"
        )
    if empty_by_ms and empty_by_ms <= now_ms():
        raise bad_request(f"empty_by_ms is {empty_by_ms} ({moment(empty_by_ms)}), and that is over")


def check_free(fleet: Fleet, host: HostFacts) -> None:
    """Refuse a second evacuation of a host while one is open.

    Raises:
        GodwitError: CONFLICT, with who began it and when.
    """
    known = fleet.open_evacuation(host.host_id)
    if known is not None:
        raise conflict(f"{holding(known)}; look at it, or cancel it first")


def check_startable(plans: Iterable[Plan]) -> None:
    """Refuse all of a start if any plan of it refuses.

    Raises:
        GodwitError: CONFLICT.
    """
    refusals = dict.fromkeys(reason for one in plans for reason in one.refusals)
    if refusals:
        raise conflict("; ".join(refusals))


def holding(known: Evacuation) -> str:
    """Say who holds a host with what, and since when."""
    filled = known.kind is EvacuationKind.RETURN
    what = "is being filled again" if filled else "is being emptied"
    if known.state is EvacuationState.PAUSED:
        what += ", and paused"
    return (
        f"{known.host_name} {what} since {moment(known.created_at_ms)} by {known.requested_by} "
        f"(evacuation {known.evacuation_id})"
    )
