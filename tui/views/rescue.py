"""What is about to happen when a server of a lost host is rescued: said before it is."""

from tui.formats.units import moment_text
from tui.paint import Span, Tone
from tui.views.candidates import Target
from tui.views.plan import Facts, images, place
from tui.views.spoken import in_keys
from wire.fleet import HostView, ServerView
from wire.life import Fence
from wire.migration import MigrationOptions
from wire.rescue import Incident, IncidentState


def facts(
    server: ServerView,
    host: HostView,
    incident: Incident | None,
    target: Target,
    options: MigrationOptions,
) -> Facts:
    """What happens, why the old host counts as dead or who says so, and how to stop it."""
    disks = ", ".join(each.target for each in images(server))
    stay = f"; {disks} on shared storage stays" if disks else ""
    found = [("copies", Span(f"the definition only{stay}"))]
    if options.auto_start:
        before = "ran" if server.wanted_on else "was stopped"
        then = f"it {before}, and is started on {place(target)} from its disks"
        found.append(("then", Span(then)))
        if server.wanted_on:
            found.append(("lost", Span("what it had only in memory")))
    else:
        found.append(
            ("then", Span(f"it is stopped on {place(target)}; nothing starts it", Tone.WARN))
        )
    name = host.facts.name
    if host.dead:
        proof = incident.proof if incident and incident.proof else "it is proven to be"
        found.append((f"{name} dead", Span(proof)))
    else:
        found.append(("your word", Span(f"{name} is switched off", Tone.WARN)))
        found.append(("danger", Span(danger(server, host), Tone.BAD)))
    found.append(("no way back", Span("once begun it goes on to its end", Tone.WARN)))
    return found


def missing(host: HostView, incident: Incident | None) -> Facts:
    """Why a host does not count as dead yet, and whether to wait is enough."""
    name = host.facts.name
    if incident is None:
        return [("missing", Span(f"the backend has not looked at {name} yet"))]
    because = in_keys(incident.held_reason) or f"{name} may still run its servers"
    since = moment_text(incident.lost_at_ms)
    found = [("missing", Span(f"{because} (lost since {since})"))]
    if incident.state is IncidentState.PROVING and incident.life.fence is Fence.WATCHDOG:
        by_itself = (
            f"{name} has a watchdog, and counts as dead by itself once its lease has run out"
        )
        found.append(("or wait", Span(by_itself)))
    return found


def danger(server: ServerView, host: HostView) -> str:
    """What happens if the word is not true."""
    return f"if {host.facts.name} still runs, a second copy of {server.name} destroys its disk"


def read_name(host: HostView, text: str) -> tuple[str | None, str]:
    """The name of the host that is switched off as it was typed, or None and what is wanted."""
    name = host.facts.name
    if text.strip() != name:
        return None, f"Type {name} to go on; esc changes nothing."
    return name, "Enter: a last question follows."
