"""What an operator wants otherwise about single servers, from the words of the command line."""

from collections.abc import Callable, Sequence

import click
import msgspec

from tui.formats.numbers import NumberError, downtime_ms
from wire.evacuation import MoveOptions, PlanEdit, Way

_SWITCHES = ("enable-tls", "quickly-finish", "skip-cpu-check", "skip-kernel-check")
_PAUSES = ("downtime-limit-ms", "downtime-bound-ms")
_WORDS = {"": True, "yes": True, "no": False}
_WAYS = {"live": Way.LIVE, "cold": Way.COLD}


def read_edits(
    *,
    moves: Sequence[str],
    stays: Sequence[str],
    goes: Sequence[str],
    firsts: Sequence[str],
    settings: Sequence[str],
) -> tuple[PlanEdit, ...]:
    """Put all that is wished for one server into one edit, in the order in which servers appear.

    Raises:
        click.UsageError: a wish that cannot be read, or two that contradict each other.
    """
    edits: dict[str, PlanEdit] = {}
    for text in moves:
        server, target = _pair("--move", text, "SERVER=HOST")
        _wish(edits, server, "--move", target=target)
    for server in stays:
        _wish(edits, server, "--stay", way=Way.STAYS)
    for text in goes:
        server, word = _pair("--go", text, "SERVER=live or SERVER=cold")
        if word not in _WAYS:
            raise click.UsageError(
                f"--go is {text!r}, and should be {server}=live or {server}=cold"
            )
        _wish(edits, server, "--go", way=_WAYS[word])
    for server in firsts:
        _wish(edits, server, "--first", first=True)
    for text in settings:
        _set(edits, text)
    for edit in edits.values():
        if edit.way is Way.STAYS and edit.target is not None:
            raise click.UsageError(f"{edit.server} cannot both stay and go to {edit.target}")
    return tuple(edits.values())


def _pair(option: str, text: str, right: str) -> tuple[str, str]:
    server, separator, value = text.rpartition("=")
    if not (separator and server and value):
        raise click.UsageError(f"{option} is {text!r}, and should be {right}")
    return server, value


def _wish(edits: dict[str, PlanEdit], server: str, option: str, **wished: object) -> None:
    if not server:
        raise click.UsageError(f"{option} is empty; name a server, or leave the option out")
    edit = edits.setdefault(server, PlanEdit(server=server))
    for field, value in wished.items():
        if (before := getattr(edit, field)) not in {None, value}:
            raise click.UsageError(f"{option} gives {server} two {field}s: {before} and {value}")
    edits[server] = msgspec.structs.replace(edit, **wished)


def _set(edits: dict[str, PlanEdit], text: str) -> None:
    server, separator, setting = text.rpartition(":")
    name, given, value = setting.partition("=")
    if not (separator and server) or name not in (*_SWITCHES, *_PAUSES):
        names = ", ".join((*_SWITCHES, *_PAUSES))
        raise click.UsageError(
            f"--set is {text!r}, and should be SERVER:OPTION or SERVER:OPTION=VALUE, with one of "
            f"the options {names}"
        )
    read: Callable[[str, str], object] = _switch if name in _SWITCHES else _pause
    read_value = read(value if given else "", f"{name} of {server}")
    options = edits[server].options if server in edits else None
    changed = msgspec.structs.replace(
        options or MoveOptions(), **{name.replace("-", "_"): read_value}
    )
    edit = edits.setdefault(server, PlanEdit(server=server))
    edits[server] = msgspec.structs.replace(edit, options=changed)


def _switch(word: str, what: str) -> bool:
    if word not in _WORDS:
        raise click.UsageError(f"{what} is {word!r}, and should be yes or no")
    return _WORDS[word]


def _pause(text: str, what: str) -> int:
    try:
        return downtime_ms(text, what)
    except NumberError as error:
        raise click.UsageError(str(error)) from None
