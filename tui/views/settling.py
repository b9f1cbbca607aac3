"""A server that a failed migration left in doubt: what is known, and which copy may stay."""

from tui.acts import Act, TypedAct
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, wrap
from tui.views.glyphs import Glyphs, host_span
from wire.fleet import HostView, ServerStatus, ServerView
from wire.migration import Migration

_VERB = "server-settle"
"""The backend names this verb where a person must decide."""
_DONE = "settled"
"""How the note begins that the backend adds to the last migration then."""


def in_doubt(server: ServerView, last: Migration | None) -> bool:
    """Whether a person must decide: the backend says so of the server or of its last migration.

    A server that is unknown because its host is silent is not in doubt: nothing can be settled
    before the host answers.
    """
    if server.migration_id:
        return False
    if server.status is ServerStatus.MIGRATE_FAILED or _VERB in server.status_reason:
        return True
    if last is None or not last.state.ended or _VERB not in last.advice:
        return False
    return not any(note.text.startswith(_DONE) for note in last.notes)


def doubt(server: ServerView, last: Migration | None, width: int) -> list[Line]:
    """What is known, in the words of the backend."""
    lines = wrap(f"Which copy of {server.name} stays?", width, Tone.TITLE)
    lines += wrap(
        "The copy on that host is kept, and runs on if the migration paused it; every other copy "
        "is ended. If no host has the server, it is defined there and stays stopped.",
        width,
    )
    known = [server.status_reason]
    if last is not None and last.state.ended:
        known += [last.outcome, last.advice]
    for each in dict.fromkeys(known):
        if each:
            lines += wrap(each, width, Tone.WARN)
    return lines


def columns(server: ServerView, last: Migration | None, glyphs: Glyphs) -> list[Column[HostView]]:
    """The hosts; those that the last migration touched stand first."""

    def part(host: HostView) -> Span:
        key = host.facts.host_id
        parts = []
        if key == server.host_id:
            parts.append("owner")
        if last is not None and key == last.source_host_id:
            parts.append("source of the last move")
        if last is not None and key == last.target_host_id:
            parts.append("target of the last move")
        return Span(", ".join(parts) or "-", Tone.STRONG if parts else Tone.DIM)

    def order(host: HostView) -> tuple[bool, object]:
        return part(host).text == "-", natural(host.facts.name)

    return [
        Column(
            key="host",
            title="KEEP ON",
            width=14,
            flex=1,
            most=24,
            cell=lambda host, _: Span(host.facts.name, Tone.STRONG),
            order=order,
        ),
        Column(
            key="status",
            title="HOST IS",
            width=14,
            cell=lambda host, _: host_span(host, glyphs),
            order=order,
        ),
        Column(
            key="part",
            title="PART",
            width=12,
            flex=4,
            cell=lambda host, _: part(host),
            order=order,
        ),
    ]


def settle(server: ServerView, host: HostView) -> TypedAct:
    """Settling on one host, once the server's name was typed."""
    keep = host.facts.name
    act = Act(
        question="",
        call=lambda client: client.settle(server.server_id, host.facts.host_id),
        done=lambda _: f"{server.name} is settled on {keep}",
    )

    def read(text: str) -> tuple[Act | None, str]:
        if text.strip() != server.name:
            return None, f"Type {server.name} to go on; esc changes nothing."
        return act, f"Enter: every copy of {server.name} but the one on {keep} is ended."

    return TypedAct(
        title=(
            f"Keep {server.name} on {keep}, and end every other copy of it? What only the others "
            "know, in memory or on local disks, is lost."
        ),
        label="name",
        read=read,
    )
