"""Where keys work: the console's views and dialogs, and the groups that share keys."""

from enum import StrEnum


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
    AUDIT = "audit"
    """What people did."""
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


ABOUT_HOSTS = (Place.HOSTS, Place.HEALTH, Place.INCIDENTS, Place.INCIDENT)
FLEET = (
    Place.HOSTS,
    Place.SERVERS,
    Place.MIGRATIONS,
    Place.HEALTH,
    Place.INCIDENTS,
    Place.INCIDENT,
    Place.EVACUATIONS,
    Place.EVACUATION,
    Place.AUDIT,
)
"""Lists of what is."""
LISTS = (*FLEET, Place.PLAN)
VIEWS = (*LISTS, Place.MIGRATION)
WITH_ID = tuple(place for place in VIEWS if place is not Place.INCIDENT)
"""What an incident is copied for is its report."""
MOVES = (Place.LIVE, Place.COLD)
EDITS = (Place.PLAN_LIVE, Place.PLAN_COLD)
DIALOGS = (*MOVES, Place.RESCUE, *EDITS)
SCROLLING = (
    *VIEWS,
    *DIALOGS,
    Place.CHOICE,
    Place.SETTLE,
    Place.QUESTION,
    Place.PAGE,
    Place.REPORT,
)
CLOSED = (*DIALOGS, Place.PLAN_OPTIONS, Place.CHOICE, Place.SETTLE)
"""What esc closes without any change."""
LIVE_OPTIONS = (Place.LIVE, Place.PLAN_LIVE, Place.PLAN_OPTIONS)
