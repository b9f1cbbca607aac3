"""What can be done to a migration: each act with its question, or why it makes no sense now.

What can be done about hosts that die is in ``tui.rescue_acts``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tui.client import Client
from tui.formats.numbers import NumberError, bandwidth_bytes_per_s, downtime_ms
from tui.formats.units import bytes_text, mebibytes, rate_text
from tui.paint import Span, Tone
from tui.store import Store
from wire.evacuation import Evacuation
from wire.fleet import HostView, ServerView
from wire.migration import Migration, MigrationParameters, MigrationState, PostcopyState
from wire.rescue import Incident, RescueGuard

Answer = Migration | ServerView | HostView | Incident | RescueGuard | Evacuation | list[Evacuation]
"""What the backend answers to an act; a list of evacuations are those that it began."""
Facts = tuple[tuple[str, Span], ...]


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing to be done once yes was said."""

    question: str
    facts: Facts = ()
    """What else is to be known before."""
    call: Callable[[Client], Awaitable[Answer]]
    done: Callable[[Migration | None], str]
    """One sentence about what became of it; of an act on a migration, it is given that."""


@dataclass(frozen=True, kw_only=True)
class TypedAct:
    """One thing for which a number or a name must be typed."""

    title: str
    label: str
    facts: Facts = ()
    """What else is to be known before."""
    text: str = ""
    read: Callable[[str], tuple[Act | None, str]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the few things that a setting may be."""

    name: str
    meaning: str
    """What follows from it, in full: it is read before the key that sets it."""
    present: bool
    """Whether this is how it is now."""
    act: Act


@dataclass(frozen=True, kw_only=True)
class ChoiceAct:
    """One thing for which a row must be chosen."""

    title: str
    choices: tuple[Choice, ...]


Wanted = Act | TypedAct | ChoiceAct | str
"""An act, or one sentence why there is none now."""


def abort(_: Store, migration: Migration) -> Wanted:
    """Abort a migration in any phase but post-copy."""
    if migration.state.ended:
        return "this migration has ended: nothing to abort"
    name, source = migration.server_name, migration.source_host_name
    if migration.kind == "rescue":
        return f"a rescue of {name} goes on to its end: it takes but a moment"
    if _runs_there(migration):
        return f"{name} already runs on {migration.target_host_name}: post-copy has no way back"
    if _is_late(migration):
        return (
            f"{name} is already switching over to {migration.target_host_name}: too late to abort"
        )
    target = migration.target_host_name or "its target"
    stays = f"{name} stays on {source} as it is, and {target} drops what it received."
    return Act(
        question=f"Abort the {migration.kind} migration of {name} from {source} to {target}?",
        facts=(("then", Span(f"The copy stops, {stays}")),),
        call=lambda client: client.cancel(migration.migration_id),
        done=lambda answer: _aborted(answer or migration),
    )


def _aborted(migration: Migration) -> str:
    if migration.state.ended:
        return migration.outcome or f"the migration of {migration.server_name} has ended"
    if migration.stalled_reason:
        return f"abort asked for, not yet done: {migration.stalled_reason}"
    copier = migration.source_host_name if migration.kind == "live" else migration.target_host_name
    return f"abort asked for: {copier or 'the target'} is told to stop the copy"


def cap(_: Store, migration: Migration) -> Wanted:
    """Cap what a migration sends from now on."""
    if migration.kind == "rescue" or migration.state.ended or _is_late(migration):
        return "this migration sends no more that could be capped"
    now = migration.max_bandwidth_bytes_per_s
    before = rate_text(now) if now else "no cap"

    def read(text: str) -> tuple[Act | None, str]:
        if not text.strip() and now is None:
            return None, "A whole number of MiB/s; now there is no cap."
        if not text.strip():
            lifted = MigrationParameters(no_bandwidth_limit=True)
            return _change(migration, lifted, "no cap"), (
                f"Enter: nothing holds the migration back from now on (until now {before})."
            )
        try:
            wanted = bandwidth_bytes_per_s(text, "the cap")
        except NumberError as error:
            return None, str(error)
        changed = MigrationParameters(max_bandwidth_bytes_per_s=wanted)
        sentence = (
            f"Enter: memory and disks together take at most {rate_text(wanted)} from now on "
            f"(until now {before})."
        )
        return _change(migration, changed, f"cap of {rate_text(wanted)}"), sentence

    return TypedAct(
        title=f"How much may the migration of {migration.server_name} send?"
        f"{' Without a number there is no cap.' if now else ''}",
        label="MiB/s",
        text=mebibytes(now) if now else "",
        read=read,
    )


def limit(_: Store, migration: Migration) -> Wanted:
    """Change the pause that a live migration may plan."""
    if migration.kind != "live":
        return "a server that does not run has no downtime limit"
    if migration.state.ended or _is_late(migration) or _runs_there(migration):
        return "this migration plans no pause any more"
    now = migration.downtime_limit_ms

    def read(text: str) -> tuple[Act | None, str]:
        try:
            wanted = downtime_ms(text, "the downtime limit")
        except NumberError as error:
            return None, str(error)
        sentence = (
            f"Enter: {migration.server_name} may stand still for {wanted} ms at switch-over "
            f"(until now {now} ms)."
        )
        changed = MigrationParameters(downtime_limit_ms=wanted)
        return _change(migration, changed, f"downtime limit of {wanted} ms"), sentence

    return TypedAct(
        title=f"How long may {migration.server_name} stand still at the end?",
        label="ms",
        text=str(now),
        read=read,
    )


def _change(migration: Migration, changed: MigrationParameters, what: str) -> Act:
    return Act(
        question="",
        call=lambda client: client.set_parameters(migration.migration_id, changed),
        done=lambda _: f"{migration.server_name}: {what} from now on",
    )


def postcopy(store: Store, migration: Migration) -> Wanted:
    """Switch a live migration to post-copy."""
    name, target = migration.server_name, migration.target_host_name
    if migration.kind != "live" or migration.state is not MigrationState.COPYING_MEMORY:
        return "post-copy begins while memory is copied"
    if migration.postcopy is not PostcopyState.NOT:
        return f"{name} has switched to post-copy already"
    hosts = [store.hosts.get(migration.source_host_id), store.hosts.get(migration.target_host_id)]
    unable = [each.facts.name for each in hosts if each and not each.facts.postcopy]
    if unable:
        return f"{' and '.join(unable)} cannot do post-copy (no userfaultfd)"
    last = store.last_sample(migration.migration_id)
    rest = bytes_text(last.memory_remaining_bytes) if last else "the rest"
    return Act(
        question=f"Let {name} run on {target} now, and fetch the rest of its memory there?",
        facts=(
            ("happens", Span(f"{name} pauses for a moment, runs on {target} and is slow at first")),
            ("fetches", Span(f"{rest} of memory, from {migration.source_host_name}")),
            ("no way back", Span("it cannot be aborted after this", Tone.WARN)),
            (
                "danger",
                Span(
                    f"until it has ended, the loss of {migration.source_host_name} or of {target} "
                    f"loses {name}",
                    Tone.BAD,
                ),
            ),
        ),
        call=lambda client: client.switch_to_postcopy(migration.migration_id),
        done=lambda _: f"{name} is told to switch to post-copy",
    )


def recover(_: Store, migration: Migration) -> Wanted:
    """Go on with a post-copy that stands still."""
    if migration.postcopy is not PostcopyState.PAUSED:
        return "only a post-copy whose link broke is recovered"
    name, source = migration.server_name, migration.source_host_name
    target = migration.target_host_name
    return Act(
        question=f"Recover the post-copy of {name}?",
        facts=(
            ("now", Span(f"{name} stands still on {target}, without all of its memory", Tone.WARN)),
            ("happens", Span(f"{target} connects to {source} again and fetches the rest")),
        ),
        call=lambda client: client.recover_postcopy(migration.migration_id),
        done=lambda _: f"{target} fetches the rest of {name} from {source} as soon as both can",
    )


def remove_kept(_: Store, migration: Migration) -> Wanted:
    """Delete what a failed migration kept on its target."""
    kept, target = migration.kept, migration.target_host_name
    if not kept:
        return "this migration has kept nothing on its target"
    files = tuple((each.kind, Span(f"{each.path}  {bytes_text(each.size_bytes)}")) for each in kept)
    whole = bytes_text(sum(each.size_bytes for each in kept))
    return Act(
        question=f"Delete what this migration kept on {target}, {whole} in all?",
        facts=(
            *files,
            ("then", Span(f"they are gone for good; {migration.server_name} is not touched")),
        ),
        call=lambda client: client.remove_kept(migration.migration_id),
        done=lambda _: f"{target} is told to delete what was kept",
    )


def _is_late(migration: Migration) -> bool:
    """Whether the copy is over."""
    return migration.state.rank >= MigrationState.SWITCHING_OVER.rank and not _runs_there(migration)


def _runs_there(migration: Migration) -> bool:
    """Whether post-copy has moved the guest already."""
    return migration.postcopy in {
        PostcopyState.ASKED,
        PostcopyState.ACTIVE,
        PostcopyState.PAUSED,
    }


MAKERS: dict[str, Callable[[Store, Migration], Wanted]] = {
    "abort": abort,
    "cap": cap,
    "limit": limit,
    "postcopy": postcopy,
    "recover": recover,
    "remove_kept": remove_kept,
}
"""The acts by the name of their action in ``tui.keyboard``."""


def idle_acts(store: Store, migration: Migration | None) -> set[str]:
    """Name the acts that make no sense for a migration just now."""
    if migration is None:
        return set(MAKERS)
    return {name for name, make in MAKERS.items() if isinstance(make(store, migration), str)}
