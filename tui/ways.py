"""The ways from one screen to another: what ``tui.navigator`` asks of the app, acts left aside."""

from typing import ClassVar

from textual.binding import BindingType

from tui.appearance import Appearance
from tui.desk import Desk
from tui.destinations import Destination
from tui.draft import Draft
from tui.screens.dialog import Dialog
from tui.screens.evacuation import EvacuationScreen
from tui.screens.frame import Frame
from tui.screens.help import HelpScreen
from tui.screens.incident import IncidentScreen
from tui.screens.listing import ListView
from tui.screens.migration import MigrationScreen
from tui.screens.plan import PlanScreen
from tui.screens.report import ReportScreen
from tui.screens.servers import ServersScreen
from tui.views.spoken import in_keys
from wire.evacuation import PlanRequest


class Ways(Appearance, inherit_bindings=False):
    """An app that knows which screen is shown, and leads to others."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    @property
    def frame(self) -> Frame | None:
        """The view that is shown, dialogs left aside."""
        frames = [screen for screen in self.screen_stack if isinstance(screen, Frame)]
        return frames[-1] if frames else None

    def tell(self, sentence: str) -> None:
        """Show a sentence in the notice line."""
        if self.frame is not None:
            self.frame.tell(in_keys(sentence))

    async def go_back(self) -> None:
        """Go to the view before, unless this is the first."""
        if len(self.screen_stack) > 2:
            await self.pop_screen()

    async def show_servers(self, host_id: str) -> None:
        """Show the servers of one host."""
        await self.push_screen(ServersScreen(self.desk, host_id=host_id))

    async def show_migration(self, migration_id: str) -> None:
        """Show one migration."""
        await self.push_screen(MigrationScreen(self.desk, migration_id))

    async def show_incident(self, incident_id: str) -> None:
        """Show one lost host."""
        await self.push_screen(IncidentScreen(self.desk, incident_id))

    async def show_report(self, report_id: str) -> None:
        """Show the report of an incident or an evacuation as text."""
        await self.push_screen(ReportScreen(self.desk, report_id))

    async def show_plan(self, draft: Draft) -> None:
        """Show the plan of hosts to be emptied, or of one to be filled again."""
        await self.push_screen(PlanScreen(self.desk, draft))

    async def show_evacuation(self, evacuation_id: str) -> None:
        """Show the course or the report of an evacuation."""
        await self.push_screen(EvacuationScreen(self.desk, evacuation_id))

    async def go(self, place: Destination) -> None:
        """Show what a command names that is no act."""
        opened = {
            "migration": self.show_migration,
            "incident": self.show_incident,
            "evacuation": self.show_evacuation,
        }
        if place.view in opened:
            await opened[place.view](place.row_id)
        elif place.view == "help":
            await self.action_help()
        elif place.view == "plan":
            await self.show_plan(Draft(request=PlanRequest(hosts=place.host_ids)))
        else:
            await self.action_view(place.view)
            if place.row_id and isinstance(self.screen, ListView):
                self.screen.find(place.row_id)

    async def action_view(self, name: str) -> None:
        """Show one of the lists."""
        while len(self.screen_stack) > 2:
            await self.pop_screen()
        if self.screen is not self.get_screen(name):
            await self.switch_screen(name)
            # whoever comes to a list wants it in order; while they look, rows keep their place
            if isinstance(self.screen, ListView):
                self.screen.arrive()

    async def action_help(self) -> None:
        """Show the keys of this view."""
        screen = self.screen
        if isinstance(screen, Frame | Dialog):
            await self.push_screen(HelpScreen(self.desk, screen.place))
