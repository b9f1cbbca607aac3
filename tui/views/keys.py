"""Footer and help, made of the registry of actions."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from tui.actions import actions_at, footer_actions
from tui.keyboard.action import Action
from tui.paint import Line, Span, Tone, clip, line, pad, width_of, wrap
from tui.places import Place

_KEYS_WIDTH = 15


def footer(
    place: Place,
    width: int,
    *,
    writable: bool,
    without: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Line:
    """Keys and words, as many as fit, the most wanted first; the help's key always.

    Args:
        place: where the keys work.
        width: cells.
        writable: whether keys that change something exist.
        without: actions that make no sense just now.
        labels: words of actions that mean something more exact just now.
    """
    shown = footer_actions(place, writable=writable)
    actions = [
        msgspec.structs.replace(each, label=(labels or {}).get(each.run, each.label))
        for each in shown
        if each.run not in without
    ]
    last = [each for each in actions if each.run == "app.help"]
    room = width - sum(_size(each) for each in last)
    chosen: list[Action] = []
    for action in actions:
        if action in last:
            continue
        room -= _size(action) + 2
        if room < 0:
            break
        chosen.append(action)
    spans: list[Span] = []
    for number, action in enumerate([*chosen, *last]):
        gap = "  " if number else ""
        spans += [Span(f"{gap}{_key(action)}", Tone.KEY), Span(f" {action.label}", Tone.DIM)]
    return clip(tuple(spans), width)


def _key(action: Action) -> str:
    """The first of the keys: the footer has no room for more."""
    return action.key_text.partition(" ")[0]


def _size(action: Action) -> int:
    return width_of(_key(action)) + 1 + width_of(action.label)


def help_lines(place: Place, width: int, *, writable: bool) -> list[Line]:
    """Every key of a place with its sentence; what changes something stands apart."""
    found = [each for each in actions_at(place, writable=writable) if each.help]
    acting = [each for each in found if each.dangerous]
    lines: list[Line] = []
    if not writable:
        lines.append(line(Span("Read-only: no key changes anything.", Tone.WARN)))
    if acting:
        lines.append(line(Span("These change something:", Tone.WARN)))
        lines += [*_sentences(acting, width), ()]
    return lines + _sentences([each for each in found if not each.dangerous], width)


def _sentences(actions: Sequence[Action], width: int) -> list[Line]:
    lines: list[Line] = []
    for action in actions:
        for number, part in enumerate(wrap(action.help, width - _KEYS_WIDTH)):
            keys = action.key_text if not number else ""
            lines.append((Span(pad(keys, _KEYS_WIDTH), Tone.KEY), *part))
    return lines
