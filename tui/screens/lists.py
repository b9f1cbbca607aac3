"""The lists that a digit or a command leads to, by name; they are made once and kept."""

from typing import Any

from tui.desk import Desk
from tui.screens.audit import AuditScreen
from tui.screens.evacuations import EvacuationsScreen
from tui.screens.health import HealthScreen
from tui.screens.hosts import HostsScreen
from tui.screens.incidents import IncidentsScreen
from tui.screens.listing import ListView
from tui.screens.migrations import MigrationsScreen
from tui.screens.servers import ServersScreen


def list_screens(desk: Desk) -> dict[str, ListView[Any]]:
    """Make one of each."""
    return {
        "hosts": HostsScreen(desk),
        "servers": ServersScreen(desk),
        "migrations": MigrationsScreen(desk),
        "health": HealthScreen(desk),
        "incidents": IncidentsScreen(desk),
        "evacuations": EvacuationsScreen(desk),
        "audit": AuditScreen(desk),
    }
