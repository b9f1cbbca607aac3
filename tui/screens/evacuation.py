"""One host that is emptied or filled again: its course while it goes on, then its report."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import evacuation_acts as acts
from tui import evacuation_changes as changing
from tui.acts import Wanted
from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line, Span, Tone, line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.paned import PanedList
from tui.screens.plan_edit import edit_dialog
from tui.store import Changes
from tui.views import evacuation as course
from tui.views import plan as moving
from tui.views.evacuation_totals import heading, sending_bytes_per_s, total_lines
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
    PlanEdit,
    Way,
)
from wire.migration import Migration, Sample

_NOTES = 2
"""Of what happened last, where there is room above the table."""


class EvacuationScreen(PanedList[EvacuatedServer]):
    """The host's total above, a line for each server below."""

    place = Place.EVACUATION
    noun = "server"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.EVACUATION)

    def __init__(self, desk: Desk, evacuation_id: str) -> None:
        self._evacuation_id = evacuation_id
        columns = course.columns(
            desk.graph, desk.glyphs, self._move_of, self._place_of, self._kind_of
        )
        super().__init__(desk, Listing(columns, sorted_by="order"))
        self.table.shows_all = True
        self._fetched: set[tuple[int, str]] = set()
        self._opened = False

    @property
    def evacuation(self) -> Evacuation | None:
        """The evacuation, if the backend still knows it."""
        return self.desk.store.evacuations.get(self._evacuation_id)

    def _move_of(self, migration_id: str) -> tuple[Migration | None, Sequence[Sample]]:
        store = self.desk.store
        return store.migrations.get(migration_id), store.samples.get(migration_id, ())

    def _kind_of(self) -> EvacuationKind:
        return self.evacuation.kind if self.evacuation else EvacuationKind.EVACUATE

    def _place_of(self, server_id: str) -> int:
        return self._places.get(server_id, 0)

    @property
    def _places(self) -> dict[str, int]:
        servers = self.evacuation.servers if self.evacuation else ()
        return {each.plan.server_id: place for place, each in enumerate(servers, start=1)}

    def heading(self, width: int) -> Line:
        """Host, state, and how many are done."""
        if self.evacuation is None:
            return line(Span(self._evacuation_id, Tone.DIM))
        return heading(self.evacuation, width, self.desk.now_ms, self.desk.glyphs)

    def rows(self) -> Mapping[str, EvacuatedServer]:
        """All servers of it."""
        servers = self.evacuation.servers if self.evacuation else ()
        return {each.plan.server_id: each for each in servers}

    def changed(self, changes: Changes) -> Collection[str]:
        """Every server, if the evacuation changed."""
        return set(self.rows()) if self._evacuation_id in changes.evacuations else ()

    def take(self, changes: Changes) -> None:
        """Show what changed; at first the cursor goes to what moves."""
        super().take(changes)
        rows = self.rows()
        if rows and not self._opened:
            self._opened = True
            moving_now = [key for key, row in rows.items() if row.state is MoveState.MOVING]
            if moving_now:
                self.table.put_cursor(moving_now[0])
        self._fetch_curves()

    def _fetch_curves(self) -> None:
        """Fetch the curves so far, once, and again after a gap in the stream."""
        for row in self.rows().values():
            wanted = (self.desk.store.snapshots, row.migration_id)
            if row.state is MoveState.MOVING and row.migration_id and wanted not in self._fetched:
                self._fetched.add(wanted)
                self.navigator.fetch_curve(row.migration_id)

    def pane_lines(self, width: int) -> Sequence[Line]:
        """The host's total, and what happened last."""
        if self.evacuation is None:
            return ()
        desk = self.desk
        sending = sending_bytes_per_s(self.evacuation, desk.store.last_sample)
        lines = total_lines(
            self.evacuation, width, desk.now_ms, desk.glyphs, sending_bytes_per_s=sending
        )
        notes = course.last_notes(self.evacuation, width, 1 if self.low else _NOTES)
        return [*lines, *notes]

    def describe(self, row: EvacuatedServer, width: int) -> list[Line]:
        """Say what became of a server, and what happened."""
        if self.evacuation is None:
            return []
        return course.details(self.evacuation, row, width, self.desk.glyphs)

    def idle_actions(self) -> Collection[str]:
        """Only what makes sense now is offered."""
        evacuation, row = self.evacuation, self.table.cursor_row
        idle = {name for name in acts.MAKERS if isinstance(self._wanted(name), str)}
        if evacuation is None or changing.why_no_edit(evacuation, row):
            idle.add("edit")
        if row is None or not row.migration_id:
            idle.add("open")
        return idle

    def labels(self) -> Mapping[str, str]:
        """Say which way the keys turn."""
        evacuation, row = self.evacuation, self.table.cursor_row
        paused = evacuation is not None and evacuation.state is EvacuationState.PAUSED
        stays = row is not None and row.plan.way is Way.STAYS
        first = row is not None and row.plan.first
        return {
            "hold": "Resume moves" if paused else "Pause moves",
            "stay": "Leave" if stays else "Stay",
            "first": "In turn" if first else "First",
        }

    async def action_open(self) -> None:
        """Show the latest move of the server under the cursor."""
        row = self.table.cursor_row
        if row is not None and row.migration_id:
            await self.navigator.show_migration(row.migration_id)
        elif row is not None:
            self.tell(f"no move of {row.plan.server_name} has begun")

    def _wanted(self, name: str) -> Wanted:
        if self.evacuation is None:
            return "this evacuation is not known any more"
        row, now_ms = self.table.cursor_row, self.desk.now_ms
        return acts.MAKERS[name](self.desk.store, self.evacuation, row, now_ms)

    async def _act(self, name: str) -> None:
        await self.navigator.act(self._wanted(name))

    async def action_hold(self) -> None:
        """Pause, or let moves begin again."""
        await self._act("hold")

    async def action_cancel_all(self) -> None:
        """Cancel the whole evacuation."""
        await self._act("cancel_all")

    async def action_cancel_one(self) -> None:
        """Cancel the move of the server under the cursor."""
        await self._act("cancel_one")

    async def action_retry(self) -> None:
        """Move again what failed or was cancelled."""
        await self._act("retry")

    async def action_replan(self) -> None:
        """Plan anew what waits."""
        await self._act("replan")

    async def action_cap_all(self) -> None:
        """Cap what all moves send together."""
        await self._act("cap_all")

    async def action_deadline(self) -> None:
        """Say by when the host has to be empty."""
        await self._act("deadline")

    async def action_stay(self) -> None:
        """Have a server that waits stay, or leave after all."""
        await self._act("stay")

    async def action_first(self) -> None:
        """Put a server that waits before the others."""
        await self._act("first")

    async def action_edit(self) -> None:
        """Choose another target or other options for a server that waits."""
        evacuation, row = self.evacuation, self.table.cursor_row
        if evacuation is None or row is None:
            return
        server = self.desk.store.servers.get(row.plan.server_id)
        why = changing.why_no_edit(evacuation, row)
        if server is None or why:
            self.tell(why or f"{row.plan.server_name} is not known any more")
            return
        kind = moving.kind_for(server, self.desk.store.hosts.get(server.host_id))
        if kind is None:
            self.tell(moving.why_no_move(server))
            return

        async def chosen(edit: PlanEdit | None) -> None:
            if edit is not None:
                self.navigator.do(changing.edit(evacuation, row, edit))

        await self.app.push_screen(edit_dialog(self.desk, server, row.plan, kind), chosen)

    async def action_report(self) -> None:
        """Show the report as text."""
        await self.navigator.show_report(self._evacuation_id)
