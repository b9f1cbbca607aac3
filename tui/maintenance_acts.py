"""Maintenance of a host, and what left it: each act with its question, or why there is none."""

from tui.acts import Act, Facts, Wanted
from tui.evacuation_acts import servers_text
from tui.formats.evacuation import left_behind
from tui.paint import Span
from tui.store import Store
from wire.evacuation import EvacuationKind
from wire.fleet import HostView


def maintenance(store: Store, host: HostView | None) -> Wanted:
    """Take no servers on a host any more, or take them again."""
    if host is None:
        return "this host is not known any more"
    name = host.facts.name
    on = not host.policy.maintenance
    emptied = store.evacuation_of(host)
    if not on and emptied is not None and emptied.kind is not EvacuationKind.RETURN:
        return f"{name} is being emptied: it stays in maintenance until that has ended"
    facts: Facts
    if on:
        facts = (
            ("then", Span(f"no server is placed on {name}, by nobody, until M ends it")),
            (
                "stay",
                Span(f"the {servers_text(host.server_count)} on it, as they are; E empties it"),
            ),
        )
        question = f"Take {name} into maintenance?"
        done = f"{name} is in maintenance: no server is placed on it"
    else:
        question = f"End the maintenance of {name}?"
        facts = (("then", Span(f"servers may be placed on {name} again; none comes by itself")),)
        if count := len(left_behind(store.evacuations.values(), host.facts.host_id)):
            facts += (("B", Span(f"plans the return of {servers_text(count)} that left it")),)
        done = f"{name} takes servers again"
    return Act(
        question=question,
        facts=facts,
        call=lambda client: client.set_maintenance(host.facts.host_id, on=on),
        done=lambda _: done,
    )


def why_no_return(store: Store, host: HostView) -> str:
    """Why what left a host cannot be planned to come back now; empty if it can."""
    name = host.facts.name
    if store.evacuation_of(host) is not None:
        return f"an evacuation of {name} is under way: enter on it in :evacuations shows it"
    if not left_behind(store.evacuations.values(), host.facts.host_id):
        return f"nothing is known to have left {name}: there is nothing to bring back"
    if host.policy.maintenance:
        return f"{name} is in maintenance: M ends it, then its servers may come back"
    return ""
