"""The console: one Textual app over the fleet's store."""

from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.geometry import Size

from tui.acts import Act, ChoiceAct, TypedAct, Wanted
from tui.asking import dialog_before, move_dialog, settle_dialog
from tui.calls import Refusal, ask
from tui.destinations import UnknownDestinationError, destination
from tui.messages import ActAnswered, CurveAnswered, FromStream
from tui.plot import GraphStyle
from tui.screens.dialog import Dialog, Question
from tui.screens.frame import Frame
from tui.screens.lists import list_screens
from tui.screens.plan import PlanScreen
from tui.screens.targets import TargetDialog
from tui.screens.too_small import TooSmallScreen, too_small
from tui.themes import next_theme
from tui.typed_acts import begin_act
from tui.views.leaving import leave_question
from tui.views.settling import settle
from tui.ways import Ways
from wire.evacuation import Evacuation
from wire.fleet import HostView
from wire.migration import Migration

TICK_S = 0.5
"""What the stream brings is shown twice a second: quick enough to follow, cheap over ssh."""


class Console(Ways, inherit_bindings=False):
    """Godwit's console. Workers only post messages; the handlers here own every change."""

    TITLE = "godwit"
    BINDINGS: ClassVar[list[BindingType]] = []

    def on_mount(self) -> None:
        """Open the hosts view and begin to listen."""
        self.set_class(self.desk.graph is GraphStyle.ASCII, "-ascii")
        for name, screen in list_screens(self.desk).items():
            self.install_screen(screen, name)
        self.push_screen("hosts")
        self._make_room(self.size)
        self.run_worker(self._follow(), exit_on_error=True)
        self.set_interval(TICK_S, self.show_changes)

    async def on_event(self, event: events.Event) -> None:
        """Carry keys out one after the other; while something is typed, letters are no keys."""
        if isinstance(event, events.Key) and event.is_forwarded:
            # no key of ours: it was offered to the screen, and comes back behind keys typed later
            return
        screen = self.screen_stack[-1] if self.screen_stack else None
        if isinstance(event, events.Key) and isinstance(screen, Frame | Dialog):
            screen.hush()
            if screen.typing and event.key not in {"ctrl+c", "ctrl+q"}:
                await screen.type_key(event)
                return
        await super().on_event(event)

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
                if isinstance(screen, TargetDialog):
                    screen.action_ask_again()
                elif isinstance(screen, PlanScreen):
                    screen.ask_anew()
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

    # What screens ask for: tui.navigator

    async def show_targets(self, server_id: str) -> None:
        """Open the dialog before a migration; one that begins is shown at once."""
        dialog = move_dialog(self.desk, server_id)
        if isinstance(dialog, str):
            self.tell(dialog)
        else:
            await self.push_screen(dialog, self._started)

    async def show_settling(self, server_id: str) -> None:
        """Ask which copy of a server stays, then for its name."""
        dialog = settle_dialog(self.desk, server_id)
        if isinstance(dialog, str):
            self.tell(dialog)
            return
        server = dialog.server

        async def chosen(host: HostView | None) -> None:
            if host is not None:
                await self.act(settle(server, host))

        await self.push_screen(dialog, chosen)

    async def _started(self, migration: Migration | None) -> None:
        if migration is not None:
            self.desk.started.add(migration.migration_id)
            self.desk.store.put(migration)
            await self.show_migration(migration.migration_id)

    async def act(self, wanted: Wanted) -> None:
        """Ask what stands before an act, and do it; or say why it makes no sense now."""
        if isinstance(wanted, str):
            self.tell(wanted)
            return
        dialog = dialog_before(self.desk, wanted)
        if isinstance(wanted, TypedAct | ChoiceAct):
            await self.push_screen(dialog, self.do)
        else:
            await self.push_screen(dialog, lambda yes: self.do(wanted if yes else None))

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
            await begin_act(self, self.desk.store, place)
        elif place.view == "quit":
            await self.action_leave()
        else:
            await self.go(place)

    # Keys that work in every view

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
