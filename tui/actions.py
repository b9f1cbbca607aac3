"""Every key of the console, once: bindings, footer, help and read-only mode derive from here."""

from enum import StrEnum

import msgspec
from textual.binding import Binding


class Place(StrEnum):
    """Where a key works."""

    EVERYWHERE = "everywhere"
    TABLES = "tables"
    HOSTS = "hosts"
    SERVERS = "servers"
    MIGRATIONS = "migrations"
    MIGRATION = "migration"
    PAGE = "page"
    """A page of text: help."""
    TARGETS = "targets"
    """The live-migrate dialog."""
    QUESTION = "question"
    """A question with yes and no."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a key does."""

    run: str
    """Textual's action: a method ``action_…`` of the screen, or of the app after ``app.``."""
    keys: str
    """Textual's key names, with commas between."""
    shown: str
    """The keys as footer and help write them."""
    label: str
    """A word or two for the footer."""
    help: str
    """One sentence for the help."""
    places: tuple[Place, ...]
    dangerous: bool = False
    """It changes something: in read-only mode the key does not exist."""
    footer: int = 0
    """Rank in the footer, 1 first; 0 if not there."""


_LISTS = (Place.HOSTS, Place.SERVERS, Place.MIGRATIONS)
_VIEWS = (*_LISTS, Place.MIGRATION)

ACTIONS: tuple[Action, ...] = (
    Action(
        run="open",
        keys="enter",
        shown="enter",
        label="Servers",
        help="Open the servers of this host.",
        places=(Place.HOSTS,),
        footer=1,
    ),
    Action(
        run="open",
        keys="enter",
        shown="enter",
        label="Migration",
        help="Open this server's migration: the one under way, else its last.",
        places=(Place.SERVERS,),
        footer=2,
    ),
    Action(
        run="open",
        keys="enter",
        shown="enter",
        label="Open",
        help="Open this migration: its curve, passes and outcome.",
        places=(Place.MIGRATIONS,),
        footer=1,
    ),
    Action(
        run="choose",
        keys="enter",
        shown="enter",
        label="Choose",
        help="Choose this host as the target; a question follows.",
        places=(Place.TARGETS,),
        footer=1,
    ),
    Action(
        run="yes",
        keys="y",
        shown="y",
        label="Yes",
        help="Do it.",
        places=(Place.QUESTION,),
        footer=1,
    ),
    Action(
        run="no",
        keys="n,escape,enter,q",
        shown="n",
        label="No",
        help="Do nothing and go back; enter and esc mean no, too.",
        places=(Place.QUESTION,),
        footer=2,
    ),
    Action(
        run="live_migrate",
        keys="M",
        shown="M",
        label="Live-migrate",
        help="Move this running server to another host; targets and a question come first.",
        places=(Place.SERVERS,),
        dangerous=True,
        footer=1,
    ),
    Action(
        run="abort",
        keys="X",
        shown="X",
        label="Abort",
        help="Abort this migration; the server stays where it is. A question comes first.",
        places=(Place.SERVERS, Place.MIGRATIONS, Place.MIGRATION),
        dangerous=True,
        footer=3,
    ),
    Action(
        run="filter",
        keys="/",
        shown="/",
        label="Filter",
        help="Show only rows with this text or regular expression; !x hides them.",
        places=_LISTS,
        footer=4,
    ),
    Action(
        run="sort",
        keys="o",
        shown="o",
        label="Sort",
        help="Sort by the next column; the header's arrow shows by which.",
        places=_LISTS,
        footer=5,
    ),
    Action(
        run="reverse",
        keys="O",
        shown="O",
        label="Reverse",
        help="Turn the order round.",
        places=_LISTS,
    ),
    Action(
        run="resort",
        keys="r",
        shown="r",
        label="Re-sort",
        help="Sort and filter anew; until then rows keep their place.",
        places=_LISTS,
    ),
    Action(
        run="wide",
        keys="w",
        shown="w",
        label="Wide",
        help="Show every column, or those that fit; left and right move them.",
        places=_LISTS,
        footer=8,
    ),
    Action(
        run="details",
        keys="d",
        shown="d",
        label="Details",
        help="Give the details the whole screen, or take it back.",
        places=_LISTS,
        footer=6,
    ),
    Action(
        run="copy_id",
        keys="c",
        shown="c",
        label="Copy id",
        help="Copy the id to your terminal's clipboard (OSC 52).",
        places=_VIEWS,
    ),
    Action(
        run="move('down')",
        keys="j,down",
        shown="j ↓",
        label="Down",
        help="One row down.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="move('up')",
        keys="k,up",
        shown="k ↑",
        label="Up",
        help="One row up.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="move('first')",
        keys="g,home",
        shown="g home",
        label="First",
        help="To the first row.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="move('last')",
        keys="G,end",
        shown="G end",
        label="Last",
        help="To the last row.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="move('half_down')",
        keys="ctrl+d",
        shown="^d",
        label="Half down",
        help="Half a page down.",
        places=(*_LISTS, Place.PAGE),
    ),
    Action(
        run="move('half_up')",
        keys="ctrl+u",
        shown="^u",
        label="Half up",
        help="Half a page up.",
        places=(*_LISTS, Place.PAGE),
    ),
    Action(
        run="move('page_down')",
        keys="pagedown,ctrl+f",
        shown="pgdn ^f",
        label="Page down",
        help="A page down.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="move('page_up')",
        keys="pageup,ctrl+b",
        shown="pgup ^b",
        label="Page up",
        help="A page up.",
        places=(*_LISTS, Place.MIGRATION, Place.TARGETS, Place.PAGE),
    ),
    Action(
        run="slide(1)",
        keys="l,right",
        shown="l →",
        label="Right",
        help="In a wide table: columns further right.",
        places=_LISTS,
    ),
    Action(
        run="slide(-1)",
        keys="h,left",
        shown="h ←",
        label="Left",
        help="In a wide table: columns further left.",
        places=_LISTS,
    ),
    Action(
        run="app.view('hosts')",
        keys="1",
        shown="1",
        label="Hosts",
        help="Hosts: health, CPU, memory, and which are alike.",
        places=_VIEWS,
    ),
    Action(
        run="app.view('servers')",
        keys="2",
        shown="2",
        label="Servers",
        help="Servers: where they are and where they may go.",
        places=_VIEWS,
    ),
    Action(
        run="app.view('migrations')",
        keys="3",
        shown="3",
        label="Migrations",
        help="Migrations under way and the latest ended ones.",
        places=_VIEWS,
    ),
    Action(
        run="command",
        keys=":",
        shown=":",
        label="Go to",
        help="Go to a view by name: hosts, servers, migrations, server NAME…; tab completes.",
        places=_VIEWS,
        footer=7,
    ),
    Action(
        run="app.pause",
        keys="p",
        shown="p",
        label="Pause",
        help="Hold the display still, or let it go on; nothing is lost meanwhile.",
        places=_VIEWS,
    ),
    Action(
        run="app.theme",
        keys="T",
        shown="T",
        label="Theme",
        help="Next theme: dark, light, high contrast, colour-blind safe.",
        places=_VIEWS,
    ),
    Action(
        run="back",
        keys="escape",
        shown="esc",
        label="Back",
        help="Clear the filter, else go back.",
        places=(*_VIEWS, Place.TARGETS),
        footer=9,
    ),
    Action(
        run="back",
        keys="escape,q,?",
        shown="esc",
        label="Back",
        help="Go back.",
        places=(Place.PAGE,),
        footer=1,
    ),
    Action(
        run="app.help",
        keys="?",
        shown="?",
        label="Keys",
        help="Show these keys.",
        places=(*_VIEWS, Place.TARGETS),
        footer=10,
    ),
    Action(
        run="app.leave",
        keys="q",
        shown="q",
        label="Quit",
        help="Quit; asks first when a migration that you started still runs.",
        places=_VIEWS,
        footer=11,
    ),
    Action(
        run="app.leave",
        keys="ctrl+c,ctrl+q",
        shown="^c",
        label="Quit",
        help="The same.",
        places=(Place.EVERYWHERE,),
    ),
)


def actions_at(place: Place, *, writable: bool) -> list[Action]:
    """List what the keys do at a place; without a right to write, nothing that changes anything."""
    return [
        action
        for action in ACTIONS
        if place in action.places and (writable or not action.dangerous)
    ]


def footer_actions(place: Place, *, writable: bool) -> list[Action]:
    """List the footer's actions in their order."""
    shown = [each for each in actions_at(place, writable=writable) if each.footer]
    return sorted(shown, key=lambda each: each.footer)


def bindings(place: Place) -> list[Binding]:
    """Make Textual's bindings for a screen; whether a dangerous one exists is asked at each key."""
    return [
        Binding(action.keys, action.run, action.label, show=False)
        for action in actions_at(place, writable=True)
    ]


def is_dangerous(run: str) -> bool:
    """Whether an action of this name changes something."""
    return any(action.dangerous and action.run == run for action in ACTIONS)
