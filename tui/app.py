"""The console: one Textual app over the fleet's store."""

from typing import Any, ClassVar

from rich.console import RenderableType
from textual import events, on
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.binding import BindingType
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import Screen
from textual.theme import Theme

from tui.acts import MAKERS, Act, ChoiceAct, TypedAct, Wanted
from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.destinations import Destination, UnknownDestinationError, destination
from tui.draft import Draft
from tui.maintenance_acts import maintenance
from tui.messages import ActAnswered, CurveAnswered, FromStream
from tui.plot import GraphStyle
from tui.repaint import CellUpdate
from tui.rescue_acts import auto_migrate, declare_off, guard, priority
from tui.screens.choice import ChoiceDialog
from tui.screens.dialog import Dialog, Question
from tui.screens.entry import Entry
from tui.screens.evacuation import EvacuationScreen
from tui.screens.evacuations import EvacuationsScreen
from tui.screens.frame import Frame
from tui.screens.health import HealthScreen
from tui.screens.help import HelpScreen
from tui.screens.hosts import HostsScreen
from tui.screens.incident import IncidentScreen
from tui.screens.incidents import IncidentsScreen
from tui.screens.listing import ListView
from tui.screens.migration import MigrationScreen
from tui.screens.migrations import MigrationsScreen
from tui.screens.move import ColdDialog, LiveDialog, MoveDialog
from tui.screens.plan import PlanScreen
from tui.screens.report import ReportScreen
from tui.screens.rescue import RescueDialog
from tui.screens.servers import ServersScreen
from tui.screens.settle import SettleDialog
from tui.screens.targets import TargetDialog
from tui.screens.too_small import TooSmallScreen, too_small
from tui.themes import THEMES, next_theme
from tui.views import plan, settling
from tui.views.leaving import leave_question
from tui.views.spoken import in_keys
from wire.evacuation import Evacuation, PlanRequest
from wire.fleet import HostView
from wire.migration import Migration

TICK_S = 0.5
"""What the stream brings is shown twice a second: quick enough to follow, cheap over ssh."""


class Console(App[None], inherit_bindings=False):
    """Godwit's console. Workers only post messages; the handlers here own every change."""

    TITLE = "godwit"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    .-ascii Dialog > #box { border: ascii $primary; }
    .-ascii #details, .-ascii #verdicts, .-ascii #options { border-top: ascii $rule; }
    .-ascii #pane { border-bottom: ascii $rule; }
    .-ascii .-wide #details, .-ascii .-wide #report { border-top: none; border-left: ascii $rule; }
    .-ascii .-zoomed #details { border: none; }
    .-ascii .-bare #report { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []
    # known before the first parse of the style sheet, and not told of as a change after it
    theme: Reactive[str] = Reactive(THEMES[0].name, init=False)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.animation_level = "none"

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Our own, by name."""
        return {theme.name: theme for theme in THEMES}

    def on_mount(self) -> None:
        """Open the hosts view and begin to listen."""
        self.set_class(self.desk.graph is GraphStyle.ASCII, "-ascii")
        self.install_screen(HostsScreen(self.desk), "hosts")
        self.install_screen(ServersScreen(self.desk), "servers")
        self.install_screen(MigrationsScreen(self.desk), "migrations")
        self.install_screen(HealthScreen(self.desk), "health")
        self.install_screen(IncidentsScreen(self.desk), "incidents")
        self.install_screen(EvacuationsScreen(self.desk), "evacuations")
        self.push_screen("hosts")
        self._make_room(self.size)
        self.run_worker(self._follow(), exit_on_error=True)
        self.set_interval(TICK_S, self.show_changes)

    async def on_event(self, event: events.Event) -> None:
        """Carry keys out one after the other; while something is typed, letters are no keys."""
        screen = self.screen_stack[-1] if self.screen_stack else None
        if isinstance(event, events.Key) and isinstance(screen, Frame | Dialog):
            screen.hush()
            if screen.typing and event.key not in {"ctrl+c", "ctrl+q"}:
                await screen.type_key(event)
                return
        await super().on_event(event)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write only the cells that changed."""
        if isinstance(renderable, ChopsUpdate):
            renderable = CellUpdate.of(renderable)
        super()._display(screen, renderable)

    async def _follow(self) -> None:
        async with self.desk.client:
            async for item in self.desk.client.events():
                self.post_message(FromStream(item))

    @on(FromStream)
    def take(self, message: FromStream) -> None:
        """Keep what the stream said; the next tick shows it. The very first fleet shows at once."""
        store = self.desk.store
        complete, trouble, snapshots = store.complete, store.trouble, store.snapshots
        store.apply(message.item)
        if store.snapshots != snapshots:
            for screen in self.screen_stack:
                if isinstance(screen, TargetDialog | PlanScreen):
                    screen.action_ask_again()
        if store.complete and not complete:
            self.show_changes()
        if store.complete and store.trouble and store.trouble != trouble:
            self.tell(store.trouble)

    def show_changes(self) -> None:
        """Bring the view up to date, behind a dialog too, and only its top line while paused."""
        # There is none while the app ends.
        screen = self.frame
        if screen is None or not screen.is_mounted or not screen.is_current:
            return
        if not self.desk.paused:
            screen.take(self.desk.store.changes())
        screen.refresh_frame()

    @property
    def frame(self) -> Frame | None:
        """The view that is shown, dialogs left aside."""
        frames = [screen for screen in self.screen_stack if isinstance(screen, Frame)]
        return frames[-1] if frames else None

    # What screens ask for: tui.navigator

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

    async def show_targets(self, server_id: str) -> None:
        """Open the dialog before a migration; one that begins is shown at once."""
        server = self.desk.store.servers.get(server_id)
        if server is None:
            return
        host = self.desk.store.hosts.get(server.host_id)
        kind = plan.kind_for(server, host)
        if kind is None:
            self.tell(plan.why_no_move(server))
            return
        dialog: MoveDialog
        if kind == "rescue" and host is not None:
            dialog = RescueDialog(self.desk, server, host)
        else:
            dialog = (LiveDialog if kind == "live" else ColdDialog)(self.desk, server)
        await self.push_screen(dialog, self._started)

    async def show_settling(self, server_id: str) -> None:
        """Ask which copy of a server stays, then for its name."""
        server = self.desk.store.servers.get(server_id)
        if server is None:
            return
        moves = self.desk.store.migrations_of(server_id)
        if not settling.in_doubt(server, moves[0] if moves else None):
            self.tell(f"{server.name} is {server.status}: there is nothing to settle")
            return

        async def chosen(host: HostView | None) -> None:
            if host is not None:
                await self.act(settling.settle(server, host))

        await self.push_screen(SettleDialog(self.desk, server), chosen)

    async def _started(self, migration: Migration | None) -> None:
        if migration is not None:
            self.desk.started.add(migration.migration_id)
            self.desk.store.put(migration)
            await self.show_migration(migration.migration_id)

    async def act(self, wanted: Wanted) -> None:
        """Ask what stands before an act, and do it; or say why it makes no sense now."""
        if isinstance(wanted, str):
            self.tell(wanted)
        elif isinstance(wanted, TypedAct):
            entry = Entry(
                self.desk,
                wanted.title,
                wanted.label,
                read=wanted.read,
                text=wanted.text,
                facts=wanted.facts,
            )
            await self.push_screen(entry, self.do)
        elif isinstance(wanted, ChoiceAct):
            await self.push_screen(ChoiceDialog(self.desk, wanted), self.do)
        else:
            question = Question(self.desk, wanted.question, facts=wanted.facts)
            await self.push_screen(question, lambda yes: self.do(wanted if yes else None))

    def do(self, act: Act | None) -> None:
        """Do an act of which all has been asked; None does nothing."""
        if act is not None:
            self.run_worker(self._call(act))

    async def _call(self, act: Act) -> None:
        self.post_message(ActAnswered(act, await ask(act.call(self.desk.client))))

    @on(ActAnswered)
    async def show_act(self, message: ActAnswered) -> None:
        """Say what became of an act, or why the backend refused."""
        answer = message.answer
        if isinstance(answer, Refusal):
            self.tell(answer.sentence)
            return
        known = None
        if isinstance(answer, Migration):
            self.desk.store.put(answer)
            known = self.desk.store.migrations[answer.migration_id]
            self.show_changes()
        elif isinstance(answer, list):
            await self._show_begun(answer)
        self.tell(message.act.done(known))

    async def _show_begun(self, begun: list[Evacuation]) -> None:
        """Go from the plan to what it became, unless the operator has gone elsewhere meanwhile."""
        for each in begun:
            self.desk.store.begin(each)
        if not isinstance(self.screen, PlanScreen):
            return
        await self.pop_screen()
        if len(begun) == 1:
            await self.show_evacuation(begun[0].evacuation_id)
        else:
            await self.action_view("evacuations")

    def fetch_curve(self, migration_id: str) -> None:
        """Fetch the samples so far."""
        self.run_worker(self._fetch_curve(migration_id))

    async def _fetch_curve(self, migration_id: str) -> None:
        self.post_message(CurveAnswered(await ask(self.desk.client.migration(migration_id))))

    @on(CurveAnswered)
    def take_curve(self, message: CurveAnswered) -> None:
        """Add the samples so far to what the stream brings."""
        if isinstance(message.answer, Refusal):
            self.tell(message.answer.sentence)
        else:
            self.desk.store.load(message.answer)
            self.show_changes()

    async def command(self, text: str) -> None:
        """Go where a command leads, or ask what stands before the act that it names."""
        try:
            place = destination(text, self.desk.store, writable=self.desk.writable)
        except UnknownDestinationError as error:
            self.tell(str(error))
            return
        if place.act:
            await self._begin_act(place)
        elif place.view == "quit":
            await self.action_leave()
        elif place.view == "help":
            await self.action_help()
        elif place.view == "migration":
            await self.show_migration(place.row_id)
        elif place.view == "incident":
            await self.show_incident(place.row_id)
        elif place.view == "evacuation":
            await self.show_evacuation(place.row_id)
        elif place.view == "plan":
            await self.show_plan(Draft(request=PlanRequest(hosts=place.host_ids)))
        else:
            await self.action_view(place.view)
            if place.row_id and isinstance(self.screen, ListView):
                self.screen.find(place.row_id)

    async def _begin_act(self, place: Destination) -> None:
        """Open what the key of an act would open on this server or host."""
        store, row_id = self.desk.store, place.row_id
        if place.act == "migrate":
            await self.show_targets(row_id)
        elif place.act == "settle":
            await self.show_settling(row_id)
        elif place.act == "priority":
            await self.act(priority(store.servers[row_id]))
        elif place.act == "auto-migrate":
            await self.act(auto_migrate(store.hosts[row_id]))
        elif place.act == "declare-off":
            await self.act(declare_off(store, store.hosts[row_id]))
        elif place.act == "maintenance":
            await self.act(maintenance(store, store.hosts[row_id]))
        elif place.act == "guard":
            await self.act(guard(store))
        elif moves := store.migrations_of(row_id):
            await self.act(MAKERS[place.act](store, moves[0]))
        else:
            self.tell(f"{store.servers[row_id].name} has not been migrated yet")

    # Keys that work in every view

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

    def action_pause(self) -> None:
        """Hold the display, or let it go on."""
        self.desk.paused = not self.desk.paused
        self.show_changes()

    def action_theme(self) -> None:
        """Next theme."""
        self.theme = next_theme(self.theme)
        self.tell(f"theme {self.theme}")

    async def action_leave(self) -> None:
        """Quit; ask first when a migration that was started here still runs."""
        running = self.desk.running_here()
        if not running:
            self.exit()
            return

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - Textual's callback
            if yes:
                self.exit()

        await self.push_screen(Question(self.desk, leave_question(running)), answered)

    async def action_interrupt(self) -> None:
        """Quit as q does; a second time at once."""
        if isinstance(self.screen, Question | TooSmallScreen):
            self.exit()
        else:
            await self.action_leave()

    def on_resize(self, event: events.Resize) -> None:
        """Show the needed size while the terminal is too small."""
        # The first size is told before the first view is there to lie over.
        if self.frame is not None:
            self._make_room(event.size)

    def _make_room(self, size: Size) -> None:
        showing = isinstance(self.screen, TooSmallScreen)
        if too_small(size) and not showing:
            self.push_screen(TooSmallScreen())
        elif showing and not too_small(size):
            self.pop_screen()

    def get_default_screen(self) -> Screen[None]:
        """An empty screen below all views, never seen."""
        return Screen(id="_default")
