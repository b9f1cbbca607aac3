"""The last question before hosts are emptied: their names are typed once more."""

from collections.abc import Sequence

from tui.acts import Act, Facts, TypedAct, Wanted
from tui.client import Client
from tui.draft import Draft
from tui.evacuation_acts import servers_text
from tui.formats.begun_otherwise import begun_otherwise
from tui.formats.evacuation import names_text
from tui.formats.evacuation_plan import leaving
from tui.paint import Span, Tone
from tui.views.planned_hosts import (
    done_text,
    leaving_text,
    longest_pause,
    staying,
    unmeasured,
)
from tui.views.spoken import in_keys
from wire.evacuation import Evacuation, EvacuationKind, Plan, Way

_MOST_REASONS = 3
"""Servers that stay with a reason each; more are a number, since a dialog is read in one look."""


def start(draft: Draft, plans: Sequence[Plan], now_ms: int) -> Wanted:
    """Begin what a plan says; or why it cannot."""
    refusals = [each for plan in plans for each in plan.refusals]
    if refusals:
        return f"nothing can be started: {in_keys(refusals[0])}"
    if not any(each.way is not Way.STAYS for plan in plans for each in plan.moves):
        return "nothing of this plan would move"
    names = [each.host_name for each in plans]
    hosts = names_text(names)
    facts = _facts(plans, now_ms)
    otherwise: list[str] = []

    async def begin(client: Client, confirmed: Sequence[str]) -> list[Evacuation]:
        begun = await draft.start(client, tuple(confirmed))
        otherwise[:] = begun_otherwise(plans, begun)
        return begun

    def done(what: str) -> str:
        return "; ".join([what, *otherwise])

    if draft.returning:
        return Act(
            question=f"Bring back to {hosts} what stands here?",
            facts=facts,
            call=lambda client: begin(client, ()),
            done=lambda _: done(f"servers come back to {hosts}"),
        )
    rescue = plans[0].kind is EvacuationKind.RESCUE
    act = Act(
        question="",
        call=lambda client: begin(client, names),
        done=lambda _: done(f"being emptied: {hosts}"),
    )
    going = servers_text(_going(plans))

    def read(text: str) -> tuple[Act | None, str]:
        if sorted(text.replace(",", " ").split()) != sorted(names):
            return None, f"Type {' '.join(names)} to go on; esc changes nothing."
        verb = "are started elsewhere" if rescue else "begin to leave"
        return act, f"Enter: {going} of {hosts} {verb}, as the plan says."

    return TypedAct(
        title=f"Start the servers of {hosts} elsewhere?" if rescue else f"Empty {hosts} now?",
        label="name of the host" if len(names) == 1 else "names of the hosts",
        facts=facts,
        read=read,
    )


def _going(plans: Sequence[Plan]) -> int:
    return sum(len(leaving(plan)) for plan in plans)


def _facts(plans: Sequence[Plan], now_ms: int) -> Facts:
    """What will happen, what it costs, what remains, and how to stop it."""
    kind = plans[0].kind
    several = len(plans) > 1
    facts: Facts = ()
    if kind is EvacuationKind.EVACUATE:
        at_first = "no server is placed on it any more (maintenance), until a person ends that"
        facts += (("at first", Span(at_first)),)
    for plan in plans:
        told = f"{leaving_text(plan)}; {done_text(plan, now_ms)}"
        facts += ((plan.host_name if several else "then", Span(told)),)
    if pause := longest_pause(plans):
        facts += (("pauses", Span(f"one by one, the longest of {pause} as forecast")),)
    if count := unmeasured(plans):
        guessed = f"the forecast of {servers_text(count)}: nothing is known of its memory"
        facts += (("guessed", Span(guessed, Tone.WARN)),)
    facts += _staying(plans)
    if kind is EvacuationKind.RESCUE:
        facts += (("no way back", Span("each rescue goes on to its end", Tone.WARN)),)
    else:
        facts += (("to stop", Span("P pauses, C cancels; what moves then stays where it is")),)
    return facts


def _staying(plans: Sequence[Plan]) -> Facts:
    """What remains undone: of a return and of a rescue each server with its reason."""
    kind, stay = plans[0].kind, staying(plans)
    if kind is EvacuationKind.EVACUATE:
        names = names_text([each.server_name for each in stay])
        return (("stays", Span(f"{names}: it will not be empty", Tone.WARN)),) if stay else ()
    away = kind is EvacuationKind.RETURN
    verb = "does not come back" if away else "is not started"
    told = [f"{each.server_name} {verb}: {each.why or 'as you chose'}" for each in stay]
    if len(told) > _MOST_REASONS:
        told[_MOST_REASONS:] = [
            f"{len(told) - _MOST_REASONS} more, each with its reason in the plan"
        ]
    labels = ["stays away" if away else "stays down", *[""] * len(told)]
    return tuple(
        (label, Span(in_keys(each), Tone.WARN)) for label, each in zip(labels, told, strict=False)
    )
