"""How a host that is emptied is steered: each act with its question, or why there is none now."""

from collections.abc import Callable, Sequence

from tui.acts import Act, Choice, ChoiceAct, Facts, Wanted
from tui.evacuation_changes import cap, deadline, first, stay
from tui.formats.evacuation import names_text
from tui.paint import Span, Tone
from tui.store import Store
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
)

_AGAIN = frozenset({MoveState.FAILED, MoveState.CANCELLED})


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
            facts=(
                ("then", Span(f"as the link allows, what waits begins: {servers_text(waiting)}")),
            ),
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
    facts: Facts = ()
    if moving:
        facts += (("stop", Span(f"{names_text(moving)}: each stays where it is now")),)
    if waiting:
        facts += (("never begin", Span(servers_text(waiting))),)
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
        done=lambda _: (
            f"the move of {plan.server_name} is being cancelled"
            if moves
            else f"{plan.server_name} stays on {plan.source_host_name}: its move never begins"
        ),
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
"""The acts by the name of their action in ``tui.keyboard``; the last number is Unix time in ms."""
