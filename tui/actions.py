"""Every key of the console, once: bindings, footer, help and read-only mode derive from here."""

from textual.binding import Binding

from tui.keyboard import dialogs, evacuations, everywhere, fleet
from tui.keyboard.action import Action
from tui.places import Place

_OPTION = "option('"

ACTIONS: tuple[Action, ...] = (
    *fleet.ACTIONS,
    *evacuations.ACTIONS,
    *dialogs.ACTIONS,
    *everywhere.ACTIONS,
)
"""In the order in which the help of a place lists them."""


def actions_at(place: Place, *, writable: bool) -> list[Action]:
    """List what the keys do at a place; without a right to write, nothing that changes anything."""
    here = [action for action in ACTIONS if place in action.places]
    return [action for action in here if writable or not action.dangerous]


def footer_actions(place: Place, *, writable: bool) -> list[Action]:
    """List the footer's actions in their order."""
    shown = [each for each in actions_at(place, writable=writable) if each.footer]
    return sorted(shown, key=lambda each: each.footer)


def options_at(place: Place) -> list[tuple[str, Action]]:
    """List the keys that change an option of a migration, each with the option's field."""
    return [
        (action.run.removeprefix(_OPTION).removesuffix("')"), action)
        for action in actions_at(place, writable=True)
        if action.run.startswith(_OPTION)
    ]


def bindings(place: Place) -> list[Binding]:
    """Make Textual's bindings for a screen; whether a dangerous one exists is asked at each key.

    They have priority, so that the app carries one key out before it looks at the next.
    """
    return [
        Binding(action.keys, action.run, action.label, show=False, priority=True)
        for action in actions_at(place, writable=True)
    ]


def is_dangerous(run: str) -> bool:
    """Whether an action of this name changes something."""
    return any(action.dangerous and action.run == run for action in ACTIONS)
