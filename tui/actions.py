"""Every key of the console, once: bindings, footer, help and read-only mode derive from here."""

from enum import StrEnum

import msgspec
from textual.binding import Binding


class Place(StrEnum):
    """Where a key works."""

    EVERYWHERE = "everywhere"
    HOSTS = "hosts"
    SERVERS = "servers"
    MIGRATIONS = "migrations"
    MIGRATION = "migration"
    TARGETS = "targets"
    """The live-migrate dialog."""
    QUESTION = "question"
    """A question with yes and no."""
    PAGE = "page"
    """A page of text: help."""


class Action(msgspec.Struct, frozen=True):
    """One thing that a key does."""

    run: str
    """Textual's action: a method ``action_…`` of the screen, or of the app after ``app.``."""
    keys: str
    """Textual's key names, with commas between."""
    places: tuple[Place, ...]
    label: str = ""
    """A word or two for the footer."""
    help: str = ""
    """One sentence for the help; empty where another action's sentence speaks for this one."""
    shown: str = ""
    """The keys as footer and help write them; empty for the first of ``keys``."""
    footer: int = 0
    """Rank in the footer, 1 first; 0 if not there."""
    dangerous: bool = False
    """It changes something: in read-only mode the key does not exist."""

    @property
    def key_text(self) -> str:
        """The keys as footer and help write them."""
        return self.shown or self.keys.partition(",")[0]


_LISTS = (Place.HOSTS, Place.SERVERS, Place.MIGRATIONS)
_VIEWS = (*_LISTS, Place.MIGRATION)
_SCROLLING = (*_VIEWS, Place.TARGETS, Place.PAGE)

ACTIONS: tuple[Action, ...] = (
    # What acts
    Action(
        "live_migrate",
        "M",
        (Place.SERVERS,),
        "Live-migrate",
        "Move this running server; targets and a question come first.",
        footer=1,
        dangerous=True,
    ),
    Action(
        "abort",
        "X",
        (Place.SERVERS, Place.MIGRATIONS, Place.MIGRATION),
        "Abort",
        "Abort this migration; the server stays. A question comes first.",
        footer=3,
        dangerous=True,
    ),
    # What a view offers
    Action("open", "enter", (Place.HOSTS,), "Servers", "Open the servers of this host.", footer=1),
    Action(
        "open",
        "enter",
        (Place.SERVERS,),
        "Migration",
        "Open this server's migration: the one under way, else its last.",
        footer=2,
    ),
    Action(
        "open",
        "enter",
        (Place.MIGRATIONS,),
        "Open",
        "Open this migration: its curve, passes and outcome.",
        footer=1,
    ),
    Action(
        "choose",
        "enter",
        (Place.TARGETS,),
        "Choose",
        "Choose this host as the target; a question follows.",
        footer=1,
    ),
    Action(
        "ask_again",
        "r",
        (Place.TARGETS,),
        "Ask again",
        "Ask the backend again which hosts fit.",
        footer=2,
    ),
    Action("yes", "y", (Place.QUESTION,), "Yes", "Do it.", footer=1),
    Action(
        "no",
        "n,escape,enter,q",
        (Place.QUESTION,),
        "No",
        "Do nothing: so do enter and esc.",
        footer=2,
    ),
    Action(
        "filter",
        "/",
        _LISTS,
        "Filter",
        "Show only rows with a text or regular expression; !x hides them.",
        footer=4,
    ),
    Action(
        "sort",
        "o",
        _LISTS,
        "Sort",
        "Sort by the next column; O turns the order round.",
        shown="o O",
        footer=5,
    ),
    Action("reverse", "O", _LISTS),
    Action(
        "resort", "r", _LISTS, "Re-sort", "Sort and filter anew; until then rows stay in place."
    ),
    Action(
        "details",
        "d",
        _LISTS,
        "Details",
        "Give the details the whole screen, or take it back.",
        footer=6,
    ),
    Action("wide", "w", _LISTS, "Wide", "Show every column; h l and ← → move them.", footer=8),
    Action("slide(1)", "l,right", _LISTS),
    Action("slide(-1)", "h,left", _LISTS),
    # Moving about
    Action(
        "move('down')",
        "j,down",
        _SCROLLING,
        "Move",
        "Rows, half pages, first, last; arrows and page keys as well.",
        shown="j k ^d ^u g G",
    ),
    Action("move('up')", "k,up", _SCROLLING),
    Action("move('first')", "g,home", _SCROLLING),
    Action("move('last')", "G,end", _SCROLLING),
    Action("move('half_down')", "ctrl+d", _SCROLLING),
    Action("move('half_up')", "ctrl+u", _SCROLLING),
    Action("move('page_down')", "pagedown,ctrl+f", _SCROLLING),
    Action("move('page_up')", "pageup,ctrl+b", _SCROLLING),
    Action(
        "app.view('hosts')",
        "1",
        _VIEWS,
        "Views",
        "Hosts, servers, migrations.",
        shown="1 2 3",
    ),
    Action("app.view('servers')", "2", _VIEWS),
    Action("app.view('migrations')", "3", _VIEWS),
    Action(
        "command",
        ":",
        _VIEWS,
        "Go to",
        "Go to a view by name: :servers, :server web-1; tab completes.",
        footer=7,
    ),
    Action(
        "back",
        "escape",
        (Place.TARGETS,),
        "Close",
        "Close the dialog; nothing is begun.",
        shown="esc",
        footer=9,
    ),
    Action(
        "back",
        "escape",
        _VIEWS,
        "Back",
        "Clear the filter, else go back.",
        shown="esc",
        footer=9,
    ),
    Action("back", "escape,q,?", (Place.PAGE,), "Back", "Go back.", shown="esc", footer=1),
    # The console itself
    Action("copy_id", "c", _VIEWS, "Copy", "Copy the id to your terminal's clipboard (OSC 52)."),
    Action("app.pause", "p", _VIEWS, "Pause", "Hold the display still, or let it go on."),
    Action(
        "app.theme", "T", _VIEWS, "Theme", "Next theme: dark, light, high contrast, colour-blind."
    ),
    Action("app.help", "?", (*_VIEWS, Place.TARGETS), "Keys", "Show these keys.", footer=10),
    Action(
        "app.leave",
        "q",
        _VIEWS,
        "Quit",
        "Quit; asks when a migration that you started still runs.",
        shown="q ^c",
        footer=11,
    ),
    Action("app.interrupt", "ctrl+c,ctrl+q", (Place.EVERYWHERE,)),
)


def actions_at(place: Place, *, writable: bool) -> list[Action]:
    """List what the keys do at a place; without a right to write, nothing that changes anything."""
    here = [action for action in ACTIONS if place in action.places]
    return [action for action in here if writable or not action.dangerous]


def footer_actions(place: Place, *, writable: bool) -> list[Action]:
    """List the footer's actions in their order."""
    shown = [each for each in actions_at(place, writable=writable) if each.footer]
    return sorted(shown, key=lambda each: each.footer)


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
