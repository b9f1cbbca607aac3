"""One lost host: its time line, and what became of each of its servers, while it happens."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line, Span, Tone, line, spread
from tui.places import Place
from tui.rescue_acts import priority
from tui.screens.about_hosts import AboutHosts
from tui.screens.frame import keys
from tui.screens.paned import PanedList
from tui.store import Changes
from tui.views import incident, plan
from tui.views.incidents import timeline_lines
from wire.fleet import HostView, ServerView
from wire.rescue import Incident, IncidentServer


class IncidentScreen(PanedList[IncidentServer], AboutHosts):
    """The time line above, the servers below."""

    place = Place.INCIDENT
    noun = "server"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.INCIDENT)

    def __init__(self, desk: Desk, incident_id: str) -> None:
        self._incident_id = incident_id
        columns = incident.columns(self._lost_at_ms, desk.glyphs)
        super().__init__(desk, Listing(columns, sorted_by="state"))

    @property
    def incident(self) -> Incident | None:
        """The incident, if the backend still knows it."""
        return self.desk.store.incidents.get(self._incident_id)

    def _lost_at_ms(self) -> int:
        return self.incident.lost_at_ms if self.incident else 0

    def heading(self, width: int) -> Line:
        """Host, state, and for how long it has been away."""
        if self.incident is None:
            return line(Span(self._incident_id, Tone.DIM))
        left = incident.heading(self.incident, self.desk.now_ms, self.desk.glyphs)
        return spread(left, self.place_in_list(), width)

    def rows(self) -> Mapping[str, IncidentServer]:
        """The servers that the host owned."""
        servers = self.incident.servers if self.incident else ()
        return {each.server_id: each for each in servers}

    def changed(self, changes: Changes) -> Collection[str]:
        """Every server, if the incident changed."""
        return set(self.rows()) if self._incident_id in changes.incidents else ()

    def pane_lines(self, width: int) -> Sequence[Line]:
        """The time line."""
        if self.incident is None:
            return ()
        return timeline_lines(self.incident, width, brief=self.low)

    def describe(self, row: IncidentServer, width: int) -> list[Line]:
        """Say what became of a server, and what happened."""
        if self.incident is None:
            return []
        asked_by = {
            each.migration_id: each.requested_by
            for each in self.desk.store.migrations.values()
            if each.incident_id == self._incident_id
        }
        return incident.details(self.incident, row, width, self.desk.glyphs, asked_by)

    @property
    def host(self) -> HostView | None:
        """The host that was lost."""
        return self.desk.store.hosts.get(self.incident.host_id) if self.incident else None

    @property
    def _server(self) -> ServerView | None:
        return self.desk.store.servers.get(self.table.cursor_id or "")

    def idle_actions(self) -> Collection[str]:
        """Few servers have a rescue to open."""
        row, server = self.table.cursor_row, self._server
        sensible = {
            "open": row is not None and bool(row.migration_id),
            "migrate": server is not None
            and plan.kind_for(server, self._host_of(server)) is not None,
            "priority": server is not None,
        }
        idle = {name for name, makes_sense in sensible.items() if not makes_sense}
        return idle.union(super().idle_actions())

    def labels(self) -> Mapping[str, str]:
        """Say which kind of move the server's state allows."""
        kind = plan.kind_for(self._server, self._host_of(self._server)) if self._server else None
        return {**super().labels(), **plan.move_label(kind)}

    def _host_of(self, server: ServerView) -> HostView | None:
        return self.desk.store.hosts.get(server.host_id)

    async def action_open(self) -> None:
        """Show the latest try to rescue the server under the cursor."""
        row = self.table.cursor_row
        if row is not None and row.migration_id:
            await self.navigator.show_migration(row.migration_id)
        elif row is not None:
            self.tell(f"nobody has tried to rescue {row.server_name}")

    async def action_migrate(self) -> None:
        """Open the dialog before a rescue, or before a move if the server is rescued."""
        if self.table.cursor_id:
            await self.navigator.show_targets(self.table.cursor_id)

    async def action_priority(self) -> None:
        """Choose how soon the server is rescued."""
        if self._server is not None:
            await self.navigator.act(priority(self._server))

    async def action_report(self) -> None:
        """Show the report as text."""
        await self.navigator.show_report(self._incident_id)
