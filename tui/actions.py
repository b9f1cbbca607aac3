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
    HEALTH = "health"
    INCIDENTS = "incidents"
    INCIDENT = "incident"
    EVACUATIONS = "evacuations"
    EVACUATION = "evacuation"
    """One host that is or was emptied, or filled again."""
    PLAN = "plan"
    """What would be moved, before anything is."""
    PLAN_LIVE = "live move of a plan"
    """The dialog that changes target and options of one server of a plan that runs."""
    PLAN_COLD = "cold move of a plan"
    """The same of one that does not run."""
    PLAN_OPTIONS = "options of a plan"
    """The dialog of the options for all servers of a plan."""
    REPORT = "report"
    """The report of an incident or an evacuation as text."""
    LIVE = "live migration"
    """The dialog before a live migration: targets and options."""
    COLD = "cold migration"
    """The same before a cold one."""
    RESCUE = "rescue"
    """The same before the rescue of a server whose host is down."""
    CHOICE = "choice"
    """A dialog in which one of few things is chosen."""
    SETTLE = "settling"
    """The dialog that asks which copy of a server stays."""
    QUESTION = "question"
    """A question with yes and no."""
    ENTRY = "entry"
    """A dialog in which a number or a name is typed."""
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


_ABOUT_HOSTS = (Place.HOSTS, Place.HEALTH, Place.INCIDENTS, Place.INCIDENT)
_FLEET = (
    Place.HOSTS,
    Place.SERVERS,
    Place.MIGRATIONS,
    Place.HEALTH,
    Place.INCIDENTS,
    Place.INCIDENT,
    Place.EVACUATIONS,
    Place.EVACUATION,
)
"""Lists of what is."""
_LISTS = (*_FLEET, Place.PLAN)
_VIEWS = (*_LISTS, Place.MIGRATION)
_WITH_ID = tuple(place for place in _VIEWS if place is not Place.INCIDENT)
"""What an incident is copied for is its report."""
_MOVES = (Place.LIVE, Place.COLD)
_EDITS = (Place.PLAN_LIVE, Place.PLAN_COLD)
_DIALOGS = (*_MOVES, Place.RESCUE, *_EDITS)
_SCROLLING = (
    *_VIEWS,
    *_DIALOGS,
    Place.CHOICE,
    Place.SETTLE,
    Place.QUESTION,
    Place.PAGE,
    Place.REPORT,
)
_CLOSED = (*_DIALOGS, Place.PLAN_OPTIONS, Place.CHOICE, Place.SETTLE)
"""What esc closes without any change."""
_LIVE = (Place.LIVE, Place.PLAN_LIVE, Place.PLAN_OPTIONS)
_OPTION = "option('"

ACTIONS: tuple[Action, ...] = (
    # What acts
    Action(
        "migrate",
        "M",
        (Place.SERVERS, Place.INCIDENT),
        "Migrate",
        "Move this server: live, cold, or a rescue if its host is down.",
        footer=1,
        dangerous=True,
    ),
    Action(
        "maintenance",
        "M",
        (Place.HOSTS,),
        "Maintenance",
        "Take no servers on this host any more, or take them again.",
        footer=2,
        dangerous=True,
    ),
    Action(
        "run_plan",
        "R",
        (Place.PLAN,),
        "Run",
        "Begin what stands here, once the host's name is typed.",
        footer=1,
        dangerous=True,
    ),
    Action(
        "hold",
        "P",
        (Place.EVACUATION,),
        "Pause moves",
        "Let no further move begin, or let moves begin again.",
        footer=2,
        dangerous=True,
    ),
    Action(
        "cancel_one",
        "X",
        (Place.EVACUATION,),
        "Cancel",
        "Cancel the move of this server.",
        footer=3,
        dangerous=True,
    ),
    Action(
        "cancel_all",
        "C",
        (Place.EVACUATION,),
        "Cancel all",
        "Cancel the whole evacuation; what moves stays where it is.",
        footer=3,
        dangerous=True,
    ),
    Action(
        "retry",
        "R",
        (Place.EVACUATION,),
        "Retry",
        "Move again what failed or was cancelled.",
        footer=1,
        dangerous=True,
    ),
    Action(
        "replan",
        "N",
        (Place.EVACUATION,),
        "Plan anew",
        "Choose targets and order of what waits again.",
        footer=6,
        dangerous=True,
    ),
    Action(
        "cap_all",
        "B",
        (Place.EVACUATION,),
        "Bandwidth",
        "Cap what all moves of this host send together.",
        footer=5,
        dangerous=True,
    ),
    Action(
        "deadline",
        "D",
        (Place.EVACUATION,),
        "Deadline",
        "Say by when the host has to be empty.",
        footer=5,
        dangerous=True,
    ),
    Action(
        "edit",
        "E",
        (Place.EVACUATION,),
        "Change",
        "Give a server that waits another target or other options.",
        footer=4,
        dangerous=True,
    ),
    Action(
        "stay",
        "S",
        (Place.EVACUATION,),
        "Stay",
        "Have a server that waits stay, or leave after all.",
        footer=7,
        dangerous=True,
    ),
    Action(
        "first",
        "F",
        (Place.EVACUATION,),
        "First",
        "Put a server that waits before the others.",
        footer=7,
        dangerous=True,
    ),
    Action(
        "auto_migrate",
        "H",
        (Place.HOSTS, Place.HEALTH),
        "Auto-migrate",
        "Say when this host's servers leave it by themselves.",
        footer=3,
        dangerous=True,
    ),
    Action(
        "declare_off",
        "F",
        _ABOUT_HOSTS,
        "Declare off",
        "Declare that a lost host is off; its name must be typed then.",
        footer=2,
        dangerous=True,
    ),
    Action(
        "guard",
        "A",
        _ABOUT_HOSTS,
        "Disarm",
        "Arm or disarm rescues that nobody asks for.",
        footer=3,
        dangerous=True,
    ),
    Action(
        "priority",
        "U",
        (Place.SERVERS, Place.INCIDENT),
        "Urgency",
        "Say how soon this server is rescued when its host dies.",
        footer=4,
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
    Action(
        "settle",
        "S",
        (Place.SERVERS, Place.MIGRATION),
        "Settle",
        "Decide which copy of a server in doubt stays.",
        footer=2,
        dangerous=True,
    ),
    Action(
        "recover",
        "R",
        (Place.MIGRATION,),
        "Recover",
        "Go on with a post-copy whose link broke.",
        footer=1,
        dangerous=True,
    ),
    Action(
        "cap",
        "B",
        (Place.MIGRATION,),
        "Bandwidth",
        "Cap what this migration sends.",
        footer=4,
        dangerous=True,
    ),
    Action(
        "limit",
        "L",
        (Place.MIGRATION,),
        "Limit",
        "Change the pause that it may plan for the end.",
        footer=5,
        dangerous=True,
    ),
    Action(
        "postcopy",
        "P",
        (Place.MIGRATION,),
        "Post-copy",
        "Run the guest on the target now; it fetches its memory there.",
        footer=6,
        dangerous=True,
    ),
    Action(
        "remove_kept",
        "D",
        (Place.MIGRATION,),
        "Delete kept",
        "Delete what a failed migration left on its target on request.",
        footer=3,
        dangerous=True,
    ),
    # What a view offers
    Action(
        "evacuate",
        "E",
        (Place.HOSTS,),
        "Evacuate",
        "Plan how this host or the marked ones are emptied, or see it happen.",
        footer=1,
    ),
    Action(
        "bring_back",
        "B",
        (Place.HOSTS,),
        "Bring back",
        "Plan the return of what left this host in an evacuation.",
        footer=2,
    ),
    Action(
        "mark",
        "space",
        (Place.HOSTS,),
        "Mark",
        "Mark hosts that are emptied together; esc takes the marks away.",
        footer=8,
    ),
    Action(
        "open",
        "enter",
        (Place.EVACUATIONS,),
        "Open",
        "Open this evacuation: its course, or its report.",
        footer=1,
    ),
    Action(
        "open",
        "enter",
        (Place.EVACUATION,),
        "Migration",
        "Open the latest move of this server.",
        footer=1,
    ),
    Action(
        "change_line",
        "enter",
        (Place.PLAN,),
        "Change",
        "Choose another target or other options for this server.",
        footer=2,
    ),
    Action(
        "stay_line",
        "s",
        (Place.PLAN,),
        "Stay",
        "Have this server stay, or leave after all.",
        footer=3,
    ),
    Action(
        "first_line",
        "f",
        (Place.PLAN,),
        "First",
        "Put this server before the others, or back among them.",
        footer=3,
    ),
    Action(
        "empty_by",
        "e",
        (Place.PLAN,),
        "Deadline",
        "Say by when the host has to be empty.",
        footer=4,
    ),
    Action(
        "cap_plan",
        "b",
        (Place.PLAN,),
        "Cap",
        "Cap what all moves of a host send together.",
        footer=4,
    ),
    Action(
        "spare",
        "n",
        (Place.PLAN,),
        "Keep spare",
        "Leave targets room for the servers of any one more host that dies.",
        footer=5,
    ),
    Action(
        "plan_options",
        "a",
        (Place.PLAN,),
        "All",
        "Choose options for all servers of the plan.",
        footer=5,
    ),
    Action(
        "ask_again",
        "r",
        (Place.PLAN,),
        "Ask again",
        "Plan again, with what is known now.",
        footer=6,
    ),
    Action(
        "set_options",
        "enter",
        (Place.PLAN_OPTIONS,),
        "Set",
        "Plan again with these options for all servers.",
        footer=1,
    ),
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
        "open",
        "enter",
        (Place.HEALTH,),
        "In full",
        "Policy, fence and every change in full; again to close.",
        footer=1,
    ),
    Action(
        "open",
        "enter",
        (Place.INCIDENTS,),
        "Open",
        "Open this incident: its time line, and what became of each server.",
        footer=1,
    ),
    Action(
        "open",
        "enter",
        (Place.INCIDENT,),
        "Last try",
        "Open the latest try to rescue this server.",
        footer=2,
    ),
    Action(
        "report",
        "v",
        (Place.INCIDENTS, Place.INCIDENT, Place.EVACUATIONS, Place.EVACUATION),
        "Report",
        "Show the report as text, to be copied.",
        footer=3,
    ),
    Action(
        "choose",
        "enter",
        (Place.CHOICE,),
        "Set",
        "Do what stands below for this row.",
        footer=1,
    ),
    Action(
        "choose",
        "enter",
        _DIALOGS,
        "Choose",
        "Choose this host as the target; a question follows.",
        footer=1,
    ),
    Action(
        "choose",
        "enter",
        (Place.SETTLE,),
        "Keep here",
        "Keep the copy on this host; the server's name must be typed then.",
        footer=1,
    ),
    Action(
        "option('skip_cpu_check')",
        "c",
        _LIVE,
        "skip CPU check",
        "Let through hosts of another CPU model, microcode or fewer CPU features.",
    ),
    Action(
        "option('skip_kernel_check')",
        "n",
        _LIVE,
        "skip kernel check",
        "Let through hosts of another kernel.",
    ),
    Action(
        "option('enable_tls')",
        "t",
        _LIVE,
        "encrypt (TLS)",
        "Encrypt memory and disks on their way, each side proving its certificate.",
    ),
    Action(
        "option('quickly_finish')",
        "f",
        _LIVE,
        "quickly finish",
        "After a few passes raise the downtime limit to what the pass at hand needs.",
    ),
    Action(
        "option('downtime_limit_ms')",
        "l",
        _LIVE,
        "downtime",
        "Type the pause to aim at.",
    ),
    Action(
        "option('downtime_bound_ms')",
        "u",
        _LIVE,
        "bound",
        "Type the highest limit that quickly finish may set.",
    ),
    Action(
        "option('keep_dest_guest_on_failed')",
        "d",
        (Place.LIVE,),
        "keep for debug",
        "Keep what a failed migration left on the target.",
    ),
    Action(
        "option('auto_start')",
        "s",
        (Place.COLD, Place.RESCUE),
        "start on arrival",
        "Start the server once it has arrived; without this it is only defined there.",
    ),
    Action(
        "option('max_bandwidth_bytes_per_s')",
        "b",
        _MOVES,
        "cap",
        "Type the most that is sent, memory and disks together; nothing for no cap.",
    ),
    Action(
        "ask_again",
        "r",
        _DIALOGS,
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
    Action("accept", "enter", (Place.ENTRY,), "Do it", "Do what stands below.", footer=1),
    Action("drop", "escape", (Place.ENTRY,), "Nothing", "Change nothing.", shown="esc", footer=2),
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
        "resort", "r", _FLEET, "Re-sort", "Sort and filter anew; until then rows stay in place."
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
        "Hosts, servers, migrations, health, incidents, evacuations.",
        shown="1 2 3 4 5 6",
    ),
    Action("app.view('servers')", "2", _VIEWS),
    Action("app.view('migrations')", "3", _VIEWS),
    Action("app.view('health')", "4", _VIEWS),
    Action("app.view('incidents')", "5", _VIEWS),
    Action("app.view('evacuations')", "6", _VIEWS),
    Action(
        "command",
        ":",
        _VIEWS,
        "Go to",
        "Go or act by name: :health, :server web-1, :migrate web-1; tab.",
        footer=7,
    ),
    Action(
        "back",
        "escape",
        _CLOSED,
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
    Action("back", "escape,q", (Place.REPORT,), "Back", "Go back.", shown="esc", footer=2),
    Action(
        "copy_report",
        "c",
        (Place.REPORT,),
        "Copy as Markdown",
        "Copy the report as Markdown to your terminal's clipboard (OSC 52).",
        footer=1,
    ),
    # The console itself
    Action("copy_id", "c", _WITH_ID, "Copy", "Copy the id to your terminal's clipboard (OSC 52)."),
    Action("app.pause", "p", _VIEWS, "Pause", "Hold the display still, or let it go on."),
    Action(
        "app.theme", "T", _VIEWS, "Theme", "Next theme: dark, light, high contrast, colour-blind."
    ),
    Action(
        "app.help",
        "?",
        (*_VIEWS, *_CLOSED),
        "Keys",
        "Show these keys.",
        footer=10,
    ),
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
