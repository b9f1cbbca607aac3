"""A list view with a pane of lines above its table."""

from collections.abc import Iterator, Sequence
from typing import Generic

from textual.widget import Widget

from tui.desk import Desk
from tui.listing import Listing, RowT
from tui.paint import Line
from tui.screens.listing import ListView
from tui.store import Changes
from tui.widgets.lines import Lines

_LOW = 30
"""Lines of a terminal below which every line counts."""


class PanedList(ListView[RowT], Generic[RowT]):
    """The pane takes the lines that it needs, at most a third of the screen."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-low"),
        (_LOW, "-high"),
    ]
    DEFAULT_CSS = """
    PanedList.-low.-narrow > #details { height: 6; min-height: 4; }
    PanedList.-low.-narrow.-zoomed > #details { height: 1fr; }
    PanedList > #pane { border-bottom: solid $rule; }
    PanedList.-wide > #pane { column-span: 2; }
    """

    def __init__(self, desk: Desk, listing: Listing[RowT]) -> None:
        super().__init__(desk, listing)
        self.pane = Lines(id="pane")

    def body(self) -> Iterator[Widget]:
        """Pane, table and details."""
        yield self.pane
        yield from super().body()

    @property
    def low(self) -> bool:
        """Whether the pane must be brief to leave room for the table."""
        return self.size.height < _LOW

    @property
    def pane_room(self) -> int:
        """Lines that the pane may have."""
        return max(1, self.size.height // 3)

    def pane_lines(self, width: int) -> Sequence[Line]:
        """Give the lines of the pane."""
        raise NotImplementedError

    def take(self, changes: Changes) -> None:
        """Show what changed, in the pane too."""
        super().take(changes)
        self._show_pane()

    def _show_pane(self) -> None:
        lines = self.pane_lines(self.size.width)[: self.pane_room]
        # one more for the rule below it
        height = len(lines) + 1
        if self.pane.styles.height is None or self.pane.styles.height.value != height:
            self.pane.styles.height = height
            # of a grid, the row counts and not the widget; Textual's auto gives one line
            self.styles.grid_rows = ("1", "1", str(height), "1fr")
        self.pane.show(lines)
