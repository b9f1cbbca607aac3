"""What can be changed of an evacuation under way: its cap, its deadline, and what waits in it."""

from collections.abc import Awaitable, Callable

from tui.acts import Act, TypedAct, Wanted
from tui.client import Client
from tui.formats.finishing import time_of_day, until_text
from tui.formats.moments import MomentError, deadline_ms
from tui.formats.numbers import NumberError, bandwidth_bytes_per_s
from tui.formats.units import mebibytes, rate_text
from tui.paint import Span, Tone
from tui.store import Store
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    MoveState,
    PlanEdit,
    Way,
)
from wire.fleet import ServerStatus

NO_CAP = "Without a number there is no cap."
NO_DEADLINE = "Without a time there is no deadline."


def cap(evacuation: Evacuation) -> Wanted:
    """Cap what all moves of a host send together."""
    if not evacuation.open:
        return "it has ended: it sends nothing that could be capped"
    host, now = evacuation.host_name, evacuation.max_bandwidth_bytes_per_s
    before = rate_text(now) if now else "no cap"

    def read(text: str) -> tuple[Act | None, str]:
        try:
            wanted = cap_bytes_per_s(text)
        except NumberError as error:
            return None, str(error)
        if wanted is None and now is None:
            return None, "A whole number of MiB/s; now there is no cap."
        changed = (
            EvacuationChange(max_bandwidth_bytes_per_s=wanted)
            if wanted
            else EvacuationChange(no_bandwidth_limit=True)
        )
        what = f"at most {rate_text(wanted)} together" if wanted else "no cap"
        act = _change(evacuation, changed, f"moves of {host}: {what} from now on")
        return act, f"Enter: {what} from now on, shared among the moves (until now {before})."

    return TypedAct(
        title=f"How much may all moves of {host} send together? {NO_CAP}",
        label="MiB/s",
        text=mebibytes(now) if now else "",
        read=read,
    )


def cap_bytes_per_s(text: str) -> int | None:
    """Read a cap; None for no text, which is no cap.

    Raises:
        NumberError: it is no whole number, or out of range.
    """
    return bandwidth_bytes_per_s(text, "the cap") if text.strip() else None


def deadline(evacuation: Evacuation, now_ms: int) -> Wanted:
    """Say by when a host has to be empty."""
    if not evacuation.open:
        return "it has ended: a deadline changes nothing any more"
    host, now = evacuation.host_name, evacuation.empty_by_ms

    def read(text: str) -> tuple[Act | None, str]:
        if not text.strip():
            if not now:
                return None, "A time such as 04:30; now there is no deadline."
            lifted = EvacuationChange(empty_by_ms=0)
            act = _change(evacuation, lifted, f"{host} has no deadline any more")
            return act, "Enter: no deadline."
        try:
            wanted = deadline_ms(text, "the deadline", now_ms)
        except MomentError as error:
            return None, str(error)
        at = time_of_day(wanted, now_ms)
        changed = EvacuationChange(empty_by_ms=wanted)
        act = _change(evacuation, changed, f"{host} has to be empty by {at}")
        return act, f"Enter: {host} has to be empty by {at}, {until_text(wanted, now_ms)}."

    return TypedAct(
        title=f"By when must {host} be empty? {NO_DEADLINE}",
        label="time",
        text=time_of_day(now, now_ms) if now else "",
        read=read,
    )


def stay(store: Store, evacuation: Evacuation, server: EvacuatedServer | None) -> Wanted:
    """Have a server that waits stay, or one that stays leave after all."""
    if server is None or not _is_editable(evacuation, server):
        return "what moves or has left cannot be planned otherwise"
    name, host = server.plan.server_name, server.plan.source_host_name
    if server.plan.way is Way.STAYS:
        way = way_of(store, evacuation.kind, server.plan.server_id)
        return Act(
            question=f"Have {name} leave {host} after all?",
            facts=(("then", Span("it is planned again; it may still fit nowhere")),),
            call=_edit_call(evacuation, PlanEdit(server=server.plan.server_id, way=way)),
            done=lambda _: f"{name} is to leave {host}",
        )
    return Act(
        question=f"Have {name} stay on {host}?",
        facts=(("then", Span(f"it is not moved: {host} will not be empty", Tone.WARN)),),
        call=_edit_call(evacuation, PlanEdit(server=server.plan.server_id, way=Way.STAYS)),
        done=lambda _: f"{name} stays on {host}",
    )


def first(evacuation: Evacuation, server: EvacuatedServer | None) -> Wanted:
    """Put a server that waits before the others, or back among them."""
    if server is None or server.state is not MoveState.WAITING:
        return "only what waits can be put first"
    name, wanted = server.plan.server_name, not server.plan.first
    where = "before all that nobody put first" if wanted else "where the plan has it"
    return Act(
        question=f"Put {name} first?" if wanted else f"Put {name} back among the others?",
        facts=(("then", Span(f"it begins {where}; what moves now goes on")),),
        call=_edit_call(evacuation, PlanEdit(server=server.plan.server_id, first=wanted)),
        done=lambda _: f"{name} begins {where}",
    )


def edit(evacuation: Evacuation, server: EvacuatedServer, wish: PlanEdit) -> Act:
    """Give a server that waits another target or other options."""
    name = server.plan.server_name
    return Act(
        question="",
        call=_edit_call(evacuation, wish),
        done=lambda _: f"{name} is planned as you chose",
    )


def why_no_edit(evacuation: Evacuation, server: EvacuatedServer | None) -> str:
    """Why target and options of a server cannot be chosen now; empty if they can."""
    if server is None or not _is_editable(evacuation, server):
        return "what moves or has left cannot be planned otherwise"
    return ""


def way_of(store: Store, kind: EvacuationKind, server_id: str) -> Way:
    """The way of a server that moves, as its state allows."""
    if kind is EvacuationKind.RESCUE:
        return Way.RESCUE
    server = store.servers.get(server_id)
    stopped = server is not None and server.status is ServerStatus.READY
    return Way.COLD if stopped else Way.LIVE


def _is_editable(evacuation: Evacuation, server: EvacuatedServer) -> bool:
    return evacuation.open and server.state not in {MoveState.MOVING, MoveState.LEFT}


def _edit_call(evacuation: Evacuation, wish: PlanEdit) -> Callable[[Client], Awaitable[Evacuation]]:
    changed = EvacuationChange(edits=(wish,))
    return lambda client: client.change_evacuation(evacuation.evacuation_id, changed)


def _change(evacuation: Evacuation, changed: EvacuationChange, done: str) -> Act:
    return Act(
        question="",
        call=lambda client: client.change_evacuation(evacuation.evacuation_id, changed),
        done=lambda _: done,
    )
