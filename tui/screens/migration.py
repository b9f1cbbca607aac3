"""The migration view: one migration's curves, figures and passes, and how it ended."""

from collections.abc import Collection, Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widget import Widget

from tui.acts import MAKERS, idle_acts
from tui.desk import Desk
from tui.motion import Motion
from tui.paint import Line, Span, Tone, line, spread
from tui.places import Place
from tui.screens.frame import Frame, keys
from tui.store import Changes
from tui.views import settling
from tui.views.curves import curve_lines
from tui.views.figures import heading
from tui.views.history import history_of
from tui.views.report import report_lines
from tui.widgets.lines import Lines
from tui.widgets.page import Page
from wire.fleet import ServerView
from wire.migration import Migration


class MigrationScreen(Frame):
    """Curves above or at the left; below or at the right the figures, or the ending."""

    place = Place.MIGRATION
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.MIGRATION)
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-narrow"),
        (140, "-wide"),
    ]
    DEFAULT_CSS = """
    MigrationScreen > #body { height: 1fr; }
    MigrationScreen #curves { height: 1fr; }
    MigrationScreen #report { height: 30%; min-height: 7; }
    MigrationScreen.-ended #report { height: 50%; }
    MigrationScreen.-wide > #body { layout: horizontal; }
    MigrationScreen.-wide #report, MigrationScreen.-wide.-ended #report {
        width: 38%; max-width: 76; height: 1fr; border-left: solid $rule; padding: 0 1;
    }
    MigrationScreen.-bare #curves { display: none; }
    MigrationScreen.-bare #report, MigrationScreen.-wide.-bare #report {
        width: 1fr; max-width: 100%; height: 1fr; border: none;
    }
    """

    def __init__(self, desk: Desk, migration_id: str) -> None:
        super().__init__(desk)
        self.migration_id = migration_id
        self.curves = Lines(id="curves")
        self.report = Page(id="report")
        self.report.more = "j"
        self._fetched_at = -1
        self._drawn_in = self._room

    def body(self) -> Iterator[Widget]:
        """Curves and report."""
        with Container(id="body"):
            yield self.curves
            yield self.report

    @property
    def migration(self) -> Migration | None:
        """The migration, if the backend still knows it."""
        return self.desk.store.migrations.get(self.migration_id)

    def heading(self, width: int) -> Line:
        """Server, route, state, pass and time."""
        if self.migration is None:
            return line(Span(self.migration_id, Tone.DIM))
        last = self.desk.store.last_sample(self.migration_id)
        left = heading(self.migration, last, self.desk.glyphs)
        return spread(left, line(Span(f"by {self.migration.requested_by or '-'}", Tone.DIM)), width)

    def idle_actions(self) -> Collection[str]:
        """Only what makes sense for this migration now is offered."""
        idle = idle_acts(self.desk.store, self.migration)
        server = self._server
        if server is None or not settling.in_doubt(server, self.migration):
            idle.add("settle")
        return idle

    @property
    def _server(self) -> ServerView | None:
        """The server, if this is its last migration."""
        migration = self.migration
        if migration is None:
            return None
        moves = self.desk.store.migrations_of(migration.server_id)
        if moves[0].migration_id != migration.migration_id:
            return None
        return self.desk.store.servers.get(migration.server_id)

    def take(self, changes: Changes) -> None:
        """Draw anew if this migration changed, or the room: behind a dialog that comes late.

        The curve so far is fetched at first, and again after each snapshot: a stream that could
        not be resumed has left a gap.
        """
        if self._fetched_at != self.desk.store.snapshots:
            self._fetched_at = self.desk.store.snapshots
            self.navigator.fetch_curve(self.migration_id)
        changed = changes.everything or self.migration_id in changes.migrations
        if changed or self._drawn_in != self._room:
            self._draw()

    def action_move(self, motion: Motion) -> None:
        """Scroll the report."""
        self.report.move(motion)

    async def action_back(self) -> None:
        """Go back."""
        await self.navigator.go_back()

    async def action_abort(self) -> None:
        """Ask whether to abort."""
        await self._act("abort")

    async def action_cap(self) -> None:
        """Ask for a cap."""
        await self._act("cap")

    async def action_limit(self) -> None:
        """Ask for a downtime limit."""
        await self._act("limit")

    async def action_postcopy(self) -> None:
        """Ask whether to switch to post-copy."""
        await self._act("postcopy")

    async def action_recover(self) -> None:
        """Ask whether to recover post-copy."""
        await self._act("recover")

    async def action_remove_kept(self) -> None:
        """Ask whether to delete what was kept."""
        await self._act("remove_kept")

    async def _act(self, name: str) -> None:
        if self.migration is not None:
            await self.navigator.act(MAKERS[name](self.desk.store, self.migration))

    async def action_settle(self) -> None:
        """Open the dialog that asks which copy of the server stays."""
        if self._server is None:
            self.tell("only the last migration of a server tells what is to be settled")
        else:
            await self.navigator.show_settling(self._server.server_id)

    def action_copy_id(self) -> None:
        """Copy the migration's id."""
        self.app.copy_to_clipboard(self.migration_id)
        self.tell(f"copied {self.migration_id}")

    @property
    def _room(self) -> tuple[Size, Size]:
        return self.curves.size, self.report.size

    def _draw(self) -> None:
        migration = self.migration
        if migration is None:
            return
        samples = self.desk.store.samples.get(self.migration_id, [])
        history = history_of(migration, samples)
        layout = self.classes
        self.set_class(migration.state.ended, "-ended")
        # a rescue copies nothing, so it has no curve
        bare = migration.kind == "rescue" or (migration.state.ended and not history.elapsed_ms)
        self.set_class(bare, "-bare")
        if self.classes != layout:
            self.call_after_refresh(self._draw)
            return
        self._drawn_in = self._room
        width, height = self.curves.size
        if history.elapsed_ms:
            drawn = curve_lines(history, width, height, self.desk.graph, self.desk.glyphs)
        else:
            drawn = [(), line(Span("the first figures are on their way", Tone.DIM))]
        self.curves.show(drawn)
        width, height = max(20, self.report.size.width), self.report.size.height
        wide = self.has_class("-wide")
        report = report_lines(migration, history, width, height, self.desk.glyphs, wide=wide)
        self.report.put(report)
