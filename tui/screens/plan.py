"""The plan of hosts to be emptied: read and changed in place before anything begins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from tui.acts import Wanted
from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.draft import Draft
from tui.evacuation_changes import way_of
from tui.evacuation_start import start
from tui.listing import Listing
from tui.paint import Line, Span, Tone, spread, wrap
from tui.places import Place
from tui.rescue_acts import declare_off
from tui.screens.entry import Entry
from tui.screens.frame import keys
from tui.screens.paned import PanedList
from tui.screens.plan_edit import edit_dialog
from tui.screens.plan_options import PlanOptionsDialog
from tui.store import Changes
from tui.views import plan as moving
from tui.views import plan_pane, planned
from wire.evacuation import EvacuationKind, MoveOptions, Plan, PlanEdit, Way


@dataclass
class PlansAnswered(Message):
    """The plans of a draft, or why there are none."""

    draft: Draft
    answer: list[Plan] | Refusal


class PlanScreen(PanedList[planned.Row]):
    """What holds for whole hosts above, a line for each server below.

    Each change is a new question to the backend; until it has answered, the plan before stands.
    """

    place = Place.PLAN
    noun = "server"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PLAN)

    def __init__(self, desk: Desk, draft: Draft) -> None:
        columns = planned.columns(desk.glyphs, several=len(draft.request.hosts) > 1)
        super().__init__(desk, Listing(columns, sorted_by="order"))
        self.table.shows_all = True
        self._draft = draft
        self._in_order = True
        """Whether the next answer is put in order; after a change rows stay in place."""
        self._answered: Draft | None = None
        """The draft that is shown."""
        self._plans: Sequence[Plan] = ()
        self._rows: Mapping[str, planned.Row] = {}
        self._trouble = ""

    def on_mount(self) -> None:
        """Ask for the plan."""
        self._ask(self._draft)

    @property
    def asking(self) -> bool:
        """Whether the backend has not yet answered the last change."""
        return self._answered is not self._draft and not self._trouble

    def heading(self, width: int) -> Line:
        """Which hosts, and how old the plan is."""
        names = [self._name_of(each) for each in self._draft.request.hosts]
        left = plan_pane.heading(names, self._plans, returning=self._draft.returning)
        if self.asking:
            state = Span("planning", Tone.BUSY)
        else:
            state = Span(plan_pane.age_text(self._plans, self.desk.now_ms), Tone.DIM)
        return spread((*left, Span("  "), state), self.place_in_list(), width)

    def _name_of(self, host_id: str) -> str:
        host = self.desk.store.hosts.get(host_id)
        return host.facts.name if host else host_id

    def rows(self) -> Mapping[str, planned.Row]:
        """All servers of the plans."""
        return self._rows

    def changed(self, _changes: Changes) -> Collection[str]:
        """A plan changes by its answers only."""
        return ()

    def take(self, changes: Changes) -> None:
        """Show the plan; one that waits for a host's death is asked for anew once that is told."""
        if any(each.host_id in changes.hosts for each in self._refused()):
            self.ask_anew()
        super().take(changes)

    def pane_lines(self, width: int) -> Sequence[Line]:
        """Totals, wishes, and what blocks."""
        if self._trouble and not self._plans:
            return wrap(self._trouble, width, Tone.BAD)
        return plan_pane.lines(
            self._plans, self._draft, width, self.desk.now_ms, self.desk.glyphs, brief=self.low
        )

    def describe(self, row: planned.Row, width: int) -> list[Line]:
        """One server's plan, then all that blocks or should be known."""
        lines = planned.details(row, width, self.desk.glyphs)
        return [*lines, *plan_pane.remark_lines(self._plans, width, self.desk.glyphs)]

    def empty_line(self) -> str:
        """Why there is no server."""
        return "asking the backend for the plan" if self.asking else "no server is there to move"

    def _ask(self, draft: Draft) -> None:
        self._draft = draft
        self._trouble = ""
        self.run_worker(self._fetch(draft), exclusive=True)
        self.refresh_frame()

    async def _fetch(self, draft: Draft) -> None:
        self.post_message(PlansAnswered(draft, await ask(draft.plans(self.desk.client))))

    @on(PlansAnswered)
    def show_plans(self, event: PlansAnswered) -> None:
        """Show the answer; every row stays in its place. A change that is refused is undone."""
        if event.draft is not self._draft:
            return
        if isinstance(event.answer, Refusal):
            self.tell(event.answer.sentence)
            self._in_order = False
            if self._answered is None:
                self._trouble = event.answer.sentence
            else:
                self._draft = self._answered
        else:
            self._answered = event.draft
            self._plans = event.answer
            self._rows = planned.rows(event.answer, event.draft.request.options)
            self.table.take(self._rows)
            if self._in_order:
                self.table.resort()
            self._in_order = False
        self.take(Changes())
        self.refresh_frame()

    def idle_actions(self) -> Collection[str]:
        """Without a server under the cursor nothing of one can be changed."""
        idle = {"spare", "empty_by"} if self._draft.returning else set()
        if not self._plans or isinstance(start(self._draft, self._plans, 0), str):
            idle.add("run_plan")
        row = self.table.cursor_row
        if row is None:
            idle |= {"change_line", "stay_line", "first_line"}
        elif row.move.way is Way.STAYS:
            # what cannot leave is not asked to; what was left out has no place among the others
            idle |= {"first_line"} if row.move.chosen_way else {"first_line", "stay_line"}
        if any(each.kind is EvacuationKind.RESCUE for each in self._plans):
            # nothing is sent that could be capped or encrypted
            idle |= {"cap_plan", "plan_options"}
        if isinstance(self._declaring(), str):
            idle.add("declare_off")
        return idle

    def _refused(self) -> list[Plan]:
        """Plans of rescues that cannot be started, for want of a proof that their host is dead."""
        return [
            each for each in self._plans if each.kind is EvacuationKind.RESCUE and each.refusals
        ]

    def _declaring(self) -> Wanted:
        """Declare the first host off of which a plan wants that, or why there is none."""
        store = self.desk.store
        wanted = [declare_off(store, store.hosts.get(each.host_id)) for each in self._refused()]
        acts = [each for each in wanted if not isinstance(each, str)]
        return [*acts, *wanted, "this plan waits for nobody's word that a host is off"][0]

    def labels(self) -> Mapping[str, str]:
        """Say which way the keys turn."""
        row = self.table.cursor_row
        stays = row is not None and row.move.way is Way.STAYS
        first = row is not None and row.move.first
        return {
            "stay_line": "Leave" if stays else "Stay",
            "first_line": "In turn" if first else "First",
        }

    def action_ask_again(self) -> None:
        """Plan with what is known now, and put the rows in order."""
        self._in_order = True
        self.ask_anew()

    def ask_anew(self) -> None:
        """Plan with what is known now."""
        self._ask(self._draft.changed())

    def action_change_line(self) -> None:
        """Choose another target or other options."""
        row = self.table.cursor_row
        server = self.desk.store.servers.get(row.move.server_id) if row else None
        if row is None or server is None:
            return
        kind = moving.kind_for(server, self.desk.store.hosts.get(server.host_id))
        if kind is None:
            self.tell(moving.why_no_move(server))
            return
        self.app.push_screen(edit_dialog(self.desk, server, row.move, kind), self._edit)

    def _edit(self, edit: PlanEdit | None) -> None:
        if edit is not None:
            self._ask(self._draft.edited(edit))

    def action_stay_line(self) -> None:
        """Have the server stay, or leave after all."""
        row = self.table.cursor_row
        if row is None:
            return
        move = row.move
        if move.way is Way.STAYS and not move.chosen_way:
            self.tell(f"{move.server_name} stays: {move.why}; enter shows every host")
            return
        stays = move.way is Way.STAYS
        kind = self._plans[0].kind
        way = way_of(self.desk.store, kind, move.server_id) if stays else Way.STAYS
        self._edit(PlanEdit(server=move.server_id, way=way))

    def action_first_line(self) -> None:
        """Put the server before the others, or back among them."""
        row = self.table.cursor_row
        if row is None:
            return
        move = row.move
        if move.way is Way.STAYS:
            self.tell(f"{move.server_name} stays, and has no place among the others: {move.why}")
            return
        self._edit(PlanEdit(server=move.server_id, first=not move.first))

    async def action_declare_off(self) -> None:
        """Ask for the name of the host that is switched off, where that is what the plan lacks."""
        await self.navigator.act(self._declaring())

    def action_spare(self) -> None:
        """Keep room on the targets for the servers of one more host, or do not."""
        if not self._draft.returning:
            self._ask(self._draft.changed(keep_spare=not self._draft.request.keep_spare))

    def action_plan_options(self) -> None:
        """Choose the options for all servers."""

        def chosen(options: MoveOptions | None) -> None:
            if options is not None:
                self._ask(self._draft.changed(options=options))

        self.app.push_screen(PlanOptionsDialog(self.desk, self._draft.request.options), chosen)

    def action_cap_plan(self) -> None:
        """Type the most that is sent."""
        self._type(plan_pane.cap_entry(self._draft))

    def action_empty_by(self) -> None:
        """Type the deadline."""
        if not self._draft.returning:
            self._type(plan_pane.deadline_entry(self._draft, self.desk.now_ms))

    def _type(self, asked: plan_pane.Asked) -> None:
        def typed(draft: Draft | None) -> None:
            if draft is not None:
                self._ask(draft)

        entry = Entry(self.desk, asked.title, asked.label, read=asked.read, text=asked.text)
        self.app.push_screen(entry, typed)

    async def action_run_plan(self) -> None:
        """Ask for the names of the hosts, and begin."""
        if self.asking or self._answered is None:
            self.tell(self._trouble or "the plan is not there yet")
            return
        await self.navigator.act(start(self._draft, self._plans, self.desk.now_ms))
