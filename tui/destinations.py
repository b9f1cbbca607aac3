"""What ``:`` understands: named views and acts with aliases, and completion."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tui.listing import natural
from tui.store import Store


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command leads."""

    view: str = ""
    """``hosts``, ``servers``, ``migrations``, ``health``, ``incidents``, ``evacuations``,
    ``audit``, ``migration``, ``incident``, ``evacuation``, ``plan``, ``help`` or ``quit``."""
    act: str = ""
    """What is to be done to a server or host, after the same question as before its key."""
    row_id: str = ""
    """The row to put the cursor on, what to open, or what to act on."""
    host_ids: tuple[str, ...] = ()
    """Of a plan: the hosts to be emptied."""


class UnknownDestinationError(Exception):
    """A command that leads nowhere; the message is one sentence."""


_ALIASES = {
    "hosts": ("host", "ho"),
    "servers": ("server", "se", "vm", "vms"),
    "migrations": ("migration", "mi"),
    "health": ("he",),
    "incidents": ("incident", "in"),
    "evacuations": ("evacuation", "ev"),
    "audit": ("au",),
    "help": ("h", "?"),
    "quit": ("q", "q!", "exit"),
}
_ACTS = {
    "migrate": ("live-migrate", "move", "rescue"),
    "abort": ("cancel",),
    "cap": ("bandwidth",),
    "limit": ("downtime",),
    "postcopy": ("post-copy",),
    "recover": (),
    "settle": (),
    "priority": ("urgency",),
}
"""What can be done to a server or its migration; not there in read-only mode, as those below."""
_HOST_ACTS = {"auto-migrate": (), "off": ("declare-off",), "maintenance": ()}
_PLANS = {"evacuate": ("empty",)}
"""Plans of one host or several: a plan changes nothing, so that read-only mode has it too."""
_FLEET_ACTS = {"guard": ("arm", "disarm")}
_OPENED = {
    "migrations": "neither the id of a migration nor a server that was migrated",
    "incidents": "neither the id of an incident nor a host that was lost",
    "evacuations": "neither the id of an evacuation nor a host that was emptied",
}
"""Views whose rows are opened, and what a name is that none of them has."""
_SPOKEN = (
    "hosts, servers, migrations, health, incidents, host NAME, server NAME, migration NAME, "
    "incident NAME, evacuations, evacuation NAME, evacuate NAME..., audit, help, quit"
)


def destination(command: str, store: Store, *, writable: bool) -> Destination:
    """Understand a command such as ``servers``, ``server web-1`` or ``migrate web-1``.

    Raises:
        UnknownDestinationError: the word, or the name after it, is not known.
    """
    word, _, name = command.strip().partition(" ")
    name = name.strip()
    act = _act_named(word, name, store) if writable else None
    if act is not None:
        return act
    if _found(word, _PLANS):
        return _plan(word, name.split(), store)
    view = _found(word, _ALIASES)
    if view is None:
        acting = f"{_SPOKEN}, {', '.join([*_ACTS, *_HOST_ACTS])} NAME, arm, disarm"
        spoken = acting if writable else _SPOKEN
        raise UnknownDestinationError(f"no view is called {word!r}; there are {spoken}")
    return _row(view, word, name, store) if name else Destination(view=view)


def _act_named(word: str, name: str, store: Store) -> Destination | None:
    for acts, rows in ((_ACTS, "servers"), (_HOST_ACTS, "hosts")):
        act = _found(word, acts)
        if act is not None:
            return _act_on(act, word, name, rows, store)
    return Destination(act="guard") if _found(word, _FLEET_ACTS) else None


def _row(view: str, word: str, name: str, store: Store) -> Destination:
    """One row of a view, or what opens by itself."""
    named = "hosts" if view == "health" else view
    row_id = _names(named, store).get(name)
    if view in _OPENED:
        if row_id is None:
            raise UnknownDestinationError(f"{name!r} is {_OPENED[view]}")
        return Destination(view=view.removesuffix("s"), row_id=row_id)
    if row_id is None:
        raise UnknownDestinationError(f"{word}: none of the {named} is called {name!r}")
    return Destination(view=view, row_id=row_id)


def completion(command: str, store: Store, *, writable: bool) -> str | None:
    """Complete a command that was begun; None if nothing known begins so."""
    word, blank, name = command.partition(" ")
    if not blank:
        return _first(sorted(_words(writable=writable), key=len), word)
    view = _found(word, _ALIASES)
    if writable and _found(word, _ACTS):
        view = "servers"
    elif view == "health" or (writable and _found(word, _HOST_ACTS)):
        view = "hosts"
    if _found(word, _PLANS):
        # of several names the last is being typed
        begun, _, name = name.rpartition(" ")
        word, view = f"{word} {begun}".strip(), "hosts"
    if view is None:
        return None
    found = _first(sorted(_names(view, store), key=natural), name)
    return f"{word} {found}" if found else None


def _plan(word: str, names: Sequence[str], store: Store) -> Destination:
    known = _names("hosts", store)
    if not names:
        raise UnknownDestinationError(f"{word} needs the names of hosts: :{word} NAME NAME")
    unknown = [each for each in names if each not in known]
    if unknown:
        raise UnknownDestinationError(f"{word}: none of the hosts is called {unknown[0]!r}")
    return Destination(view="plan", host_ids=tuple(dict.fromkeys(known[each] for each in names)))


def _act_on(act: str, word: str, name: str, view: str, store: Store) -> Destination:
    kind = view.removesuffix("s")
    if not name:
        raise UnknownDestinationError(f"{word} needs the name of a {kind}: :{word} NAME")
    row_id = _names(view, store).get(name)
    if row_id is None:
        raise UnknownDestinationError(f"{word}: none of the {view} is called {name!r}")
    return Destination(act=act, row_id=row_id)


def _found(word: str, names: Mapping[str, Sequence[str]]) -> str | None:
    return next((name for name, aliases in names.items() if word in (name, *aliases)), None)


def _words(*, writable: bool) -> list[str]:
    acts = (
        [*_ACTS, "live-migrate", "rescue", *_HOST_ACTS, "declare-off", "arm", "disarm"]
        if writable
        else []
    )
    return [*_ALIASES, "host", "server", "migration", "incident", "evacuation", *_PLANS, *acts]


def _first(candidates: Iterable[str], begun: str) -> str | None:
    return next((each for each in candidates if begun and each.startswith(begun)), None)


def _names(view: str, store: Store) -> dict[str, str]:
    """Map what a row may be called, its name or its id, to its id."""
    if view == "hosts":
        named = {host.facts.name: key for key, host in store.hosts.items()}
        return {**named, **{key: key for key in store.hosts}}
    if view == "servers":
        named = {server.name: key for key, server in store.servers.items()}
        return {**named, **{key: key for key in store.servers}}
    if view == "migrations":
        oldest_first = sorted(store.migrations.values(), key=lambda each: each.created_at_ms)
        named = {each.server_name: each.migration_id for each in oldest_first}
        return {**named, **{key: key for key in store.migrations}}
    if view == "incidents":
        oldest = sorted(store.incidents.values(), key=lambda each: each.lost_at_ms)
        cases = {each.host_name: each.incident_id for each in oldest}
        return {**cases, **{key: key for key in store.incidents}}
    if view == "evacuations":
        begun = sorted(store.evacuations.values(), key=lambda each: each.created_at_ms)
        emptied = {each.host_name: each.evacuation_id for each in begun}
        return {**emptied, **{key: key for key in store.evacuations}}
    return {}
