"""The migration view: one migration's curves, figures and passes, and how it ended."""

from collections.abc import Collection, Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget

from tui.actions import Place
from tui.desk import Desk
from tui.motion import Motion
from tui.paint import Line, Span, Tone, labelled, line, spread, wrap
from tui.screens.frame import Frame, keys
from tui.store import Changes
from tui.views.curves import History, curve_lines
from tui.views.ending import ending_lines
from tui.views.figures import (
    figure_lines,
    figures,
    heading,
    pass_header,
    pass_lines,
    with_pass_under_way,
)
from tui.widgets.lines import Lines
from tui.widgets.page import Page
from wire.migration import Migration

_SIDE_LABEL = 18


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
        self.report.more = True
        self._fetched_at = -1

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
        """Nothing is left to abort once it has ended."""
        return {"abort"} if self.migration is None or self.migration.state.ended else ()

    def take(self, changes: Changes) -> None:
        """Draw anew if this migration changed.

        The curve so far is fetched at first, and again after each snapshot: a stream that could
        not be resumed has left a gap.
        """
        if self._fetched_at != self.desk.store.snapshots:
            self._fetched_at = self.desk.store.snapshots
            self.navigator.fetch_curve(self.migration_id)
        if changes.everything or self.migration_id in changes.migrations:
            self._draw()

    def action_move(self, motion: Motion) -> None:
        """Scroll the report."""
        self.report.move(motion)

    async def action_back(self) -> None:
        """Go back."""
        await self.navigator.go_back()

    async def action_abort(self) -> None:
        """Ask whether to abort."""
        await self.navigator.ask_abort(self.migration_id)

    def action_copy_id(self) -> None:
        """Copy the migration's id."""
        self.app.copy_to_clipboard(self.migration_id)
        self.tell(f"copied {self.migration_id}")

    def _draw(self) -> None:
        migration = self.migration
        if migration is None:
            return
        history = self._history(migration)
        layout = self.classes
        self.set_class(migration.state.ended, "-ended")
        self.set_class(migration.state.ended and not history.elapsed_ms, "-bare")
        if self.classes != layout:
            self.call_after_refresh(self._draw)
            return
        width, height = self.curves.size
        if history.elapsed_ms:
            drawn = curve_lines(history, width, height, self.desk.graph, self.desk.glyphs)
        else:
            drawn = [(), line(Span("the first figures are on their way", Tone.DIM))]
        self.curves.show(drawn)
        self._report(migration, history)

    def _report(self, migration: Migration, history: History) -> None:
        width = max(20, self.report.size.width)
        samples = () if migration.state.ended else history.samples
        passes = pass_lines(with_pass_under_way(migration.passes, samples), width)
        table = [pass_header(width), *passes] if passes else []
        if migration.state.ended:
            ending = ending_lines(migration, width, self.desk.glyphs)
            self.report.put([*ending, (), *table])
            return
        if migration.stalled_reason:
            sentence = f"{migration.stalled_reason}; the figures are old."
            top = wrap(sentence, width, Tone.WARN)
            room = max(1, self.report.size.height - len(top) - 1)
            self.report.put([*top, *table[:1], *passes[-room:]])
            return
        found = figures(history, self.desk.glyphs)
        if self.has_class("-wide"):
            top = labelled(found, width, label_width=_SIDE_LABEL)
            top.append(())
        else:
            top = figure_lines(found, width)[:2]
        room = max(1, self.report.size.height - len(top) - 1)
        self.report.put([*top, *table[:1], *passes[-room:]])

    def _history(self, migration: Migration) -> History:
        samples = self.desk.store.samples.get(self.migration_id, [])
        total = samples[-1].memory_total_bytes if samples else 0
        limit = samples[-1].downtime_limit_ms if samples else 0
        return History(
            samples=samples,
            passes=migration.passes,
            memory_bytes=total or migration.statistics.memory_total_bytes,
            downtime_limit_ms=limit or migration.options.downtime_limit_ms,
            ended=migration.state.ended,
        )
