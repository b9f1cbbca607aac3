"""How a host that is emptied is steered: each act with its question, or why there is none now."""

from collections.abc import Awaitable, Callable, Sequence

from tui.acts import Act, Choice, ChoiceAct, Facts, TypedAct, Wanted
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
    EvacuationState,
    MoveState,
    PlanEdit,
    Way,
)
from wire.fleet import ServerStatus

_AGAIN = frozenset({MoveState.FAILED, MoveState.CANCELLED})
NO_CAP = "Without a number there is no cap."
NO_DEADLINE = "Without a time there is no deadline."
_MOST_NAMES = 6
"""Names in one sentence; more are a number."""


def names_text(names: Sequence[str]) -> str:
    """``web-1, web-2`` or ``web-1, web-2 and 9 more``."""
    shown = list(names[:_MOST_NAMES])
    more = len(names) - len(shown)
    return f"{', '.join(shown)} and {more} more" if more else ", ".join(shown)


def servers_text(count: int) -> str:
    """``1 server``, ``12 servers``."""
    return "1 server" if count == 1 else f"{count} servers"


def hold(evacuation: Evacuation) -> Wanted:
    """Pause an evacuation, or let it go on."""
    host = evacuation.host_name
    if evacuation.state is EvacuationState.PAUSED:
        waiting = _count(evacuation, MoveState.WAITING)
        return Act(
            question=f"Let moves of {host} begin again?",
            facts=(("then", Span(f"{servers_text(waiting)} that wait begin as the link allows")),),
            call=lambda client: client.resume_evacuation(evacuation.evacuation_id),
            done=lambda _: f"the evacuation of {host} goes on",
        )
    if evacuation.state is not EvacuationState.RUNNING:
        return f"the evacuation of {host} is {evacuation.state}: nothing to pause"
    moving = _count(evacuation, MoveState.MOVING)
    return Act(
        question=f"Pause the evacuation of {host}?",
        facts=(
            ("then", Span("no further move begins")),
            ("goes on", Span(f"what moves now, to its end: {servers_text(moving)}")),
            ("to go on", Span("P again; the pause has no end of its own", Tone.WARN)),
        ),
        call=lambda client: client.pause_evacuation(evacuation.evacuation_id),
        done=lambda _: f"no further move of {host} begins until P lets it go on",
    )


def cancel_all(evacuation: Evacuation) -> Wanted:
    """End an evacuation, with every move of it."""
    host = evacuation.host_name
    if evacuation.state is EvacuationState.CANCELLING:
        return f"the evacuation of {host} is being cancelled already"
    if not evacuation.open:
        return f"the evacuation of {host} has ended: nothing to cancel"
    moving = _named(evacuation, MoveState.MOVING)
    waiting = _count(evacuation, MoveState.WAITING)
    facts: Facts = (
        ("stop", Span(f"{names_text(moving) or 'nothing'}: each stays where it is now")),
        ("never begin", Span(servers_text(waiting))),
    )
    if evacuation.kind is EvacuationKind.EVACUATE:
        facts += (("stays", Span(f"{host} in maintenance, until M in Hosts ends it")),)
    facts += (("later", Span("R moves again what was cancelled")),)
    return Act(
        question=f"Cancel the whole evacuation of {host}?",
        facts=facts,
        call=lambda client: client.cancel_evacuation(evacuation.evacuation_id, ()),
        done=lambda _: f"the evacuation of {host} is being cancelled",
    )


def cancel_one(evacuation: Evacuation, server: EvacuatedServer | None) -> Wanted:
    """Cancel the move of one server, under way or still to come."""
    if server is None:
        return "there is no server here"
    plan = server.plan
    if not server.state.open:
        return f"{plan.server_name} has {server.state} already: nothing to cancel"
    moves = server.state is MoveState.MOVING
    then = (
        f"the copy stops, and {plan.server_name} stays on {plan.source_host_name} as it is"
        if moves
        else f"{plan.server_name} is not moved, and stays on {plan.source_host_name}"
    )
    return Act(
        question=f"Cancel the move of {plan.server_name}?",
        facts=(("then", Span(then)), ("later", Span("R moves it again"))),
        call=lambda client: client.cancel_evacuation(evacuation.evacuation_id, (plan.server_id,)),
        done=lambda _: f"the move of {plan.server_name} is being cancelled",
    )


def retry(evacuation: Evacuation, server: EvacuatedServer | None) -> Wanted:
    """Move servers again whose moves failed or were cancelled, or one that stayed."""
    ended = [each for each in evacuation.servers if each.state in _AGAIN]
    names = [each.plan.server_name for each in ended]
    if server is not None and server.state is MoveState.STAYED:
        return _retry(evacuation, (server.plan.server_id,), [server.plan.server_name])
    if not ended:
        return "no move of it has failed or was cancelled"
    whole = _retry(evacuation, (), names)
    if server is None or server not in ended or len(ended) == 1:
        return whole
    name = server.plan.server_name
    one = _retry(evacuation, (server.plan.server_id,), [name])
    return ChoiceAct(
        title="Which moves are tried again?",
        choices=(
            Choice(name=f"that of {name}", meaning=_again([name]), present=False, act=one),
            Choice(name=f"all {len(ended)}", meaning=_again(names), present=False, act=whole),
        ),
    )


def _retry(evacuation: Evacuation, ids: tuple[str, ...], names: Sequence[str]) -> Act:
    return Act(
        question=f"Move {names_text(names)} again?",
        facts=(("then", Span(_again(names))),),
        call=lambda client: client.retry_evacuation(evacuation.evacuation_id, ids),
        done=lambda _: f"to be moved again: {names_text(names)}",
    )


def _again(names: Sequence[str]) -> str:
    return f"{names_text(names)}: planned anew with what is known now, then moved"


def replan(evacuation: Evacuation) -> Wanted:
    """Plan anew what has not begun."""
    waiting = _count(evacuation, MoveState.WAITING)
    if not evacuation.open or not waiting:
        return "nothing waits that could be planned anew"
    return Act(
        question=f"Plan anew what has not left {evacuation.host_name}?",
        facts=(
            ("then", Span(f"targets and order of {servers_text(waiting)} are chosen again")),
            ("stay", Span("moves under way, and what operators have chosen")),
        ),
        call=lambda client: client.replan_evacuation(evacuation.evacuation_id),
        done=lambda _: "planned anew with what is known now",
    )


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


def _named(evacuation: Evacuation, state: MoveState) -> list[str]:
    return [each.plan.server_name for each in evacuation.servers if each.state is state]


def _count(evacuation: Evacuation, state: MoveState) -> int:
    return len(_named(evacuation, state))


MAKERS: dict[str, Callable[[Store, Evacuation, EvacuatedServer | None, int], Wanted]] = {
    "hold": lambda _, evacuation, __, ___: hold(evacuation),
    "cancel_all": lambda _, evacuation, __, ___: cancel_all(evacuation),
    "cancel_one": lambda _, evacuation, server, __: cancel_one(evacuation, server),
    "retry": lambda _, evacuation, server, __: retry(evacuation, server),
    "replan": lambda _, evacuation, __, ___: replan(evacuation),
    "cap_all": lambda _, evacuation, __, ___: cap(evacuation),
    "deadline": lambda _, evacuation, __, now_ms: deadline(evacuation, now_ms),
    "stay": lambda store, evacuation, server, _: stay(store, evacuation, server),
    "first": lambda _, evacuation, server, __: first(evacuation, server),
}
"""The acts by the name of their action in ``tui.actions``; the last number is Unix time in ms."""
