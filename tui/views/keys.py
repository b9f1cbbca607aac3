"""Footer and help, made of the registry of actions."""

from tui.actions import Place, actions_at, footer_actions
from tui.paint import Line, Span, Tone, clip, line, pad, width_of, wrap

_SHOWN_WIDTH = 12


def footer(place: Place, width: int, *, writable: bool, without: str = "") -> Line:
    """Keys and words, as many as fit; the most wanted first, those of the help always.

    Args:
        place: where the keys work.
        width: cells.
        writable: whether keys that change something exist.
        without: an action that makes no sense just now.
    """
    actions = [each for each in footer_actions(place, writable=writable) if each.run != without]
    spans: list[Span] = []
    always = [each for each in actions if each.shown == "?"]
    room = width - sum(len(each.shown) + len(each.label) + 3 for each in always)
    for action in [each for each in actions if each not in always]:
        size = width_of(action.shown) + 1 + width_of(action.label) + 2
        if size - 2 > room:
            break
        spans += [Span(action.shown, Tone.KEY), Span(f" {action.label}  ", Tone.DIM)]
        room -= size
    for action in always:
        spans += [Span(action.shown, Tone.KEY), Span(f" {action.label}", Tone.DIM)]
    return clip(tuple(spans), width)


def help_lines(place: Place, width: int, *, writable: bool) -> list[Line]:
    """Every key of a place with its sentence: what acts first, marked as such."""
    found = [each for each in actions_at(place, writable=writable) if each.help]
    acting = [each for each in found if each.dangerous]
    quiet = [each for each in found if not each.dangerous]
    lines: list[Line] = []
    if not writable:
        lines.append(line(Span("Read-only: no key changes anything.", Tone.WARN)))
    for title, group in (("These act:", acting), ("", quiet)):
        if group and title:
            lines.append(line(Span(title, Tone.WARN)))
        for action in group:
            for number, part in enumerate(wrap(action.help, width - _SHOWN_WIDTH)):
                shown = action.shown if not number else ""
                lines.append((Span(pad(shown, _SHOWN_WIDTH), Tone.KEY), *part))
    return lines
