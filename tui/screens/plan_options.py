"""The dialog of the options for all servers of a plan."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.draft import deviating, with_options
from tui.paint import Tone, wrap
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.options import OptionDialog
from tui.widgets.lines import Lines
from wire.evacuation import MoveOptions
from wire.migration import MigrationOptions

_USUAL = MigrationOptions()
_SENTENCE = "Options of every server that has none of its own. The plan is made anew with them."


class PlanOptionsDialog(OptionDialog[MoveOptions]):
    """Ends with the options that deviate from the usual ones, or with None."""

    place = Place.PLAN_OPTIONS
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PLAN_OPTIONS)

    def __init__(self, desk: Desk, wanted: MoveOptions) -> None:
        super().__init__(desk, with_options(_USUAL, wanted))
        self._said = Lines(id="said")

    def body(self) -> Iterator[Widget]:
        """What it is for, and the options."""
        yield self._said
        yield self._option_lines

    def on_resize(self) -> None:
        """Lay out for the width."""
        super().on_resize()
        self._said.styles.height = len(wrap(_SENTENCE, self.room)) + 1
        self._say(_SENTENCE, Tone.PLAIN)

    def action_set_options(self) -> None:
        """End with what was chosen."""
        self.dismiss(deviating(_USUAL, self._options))

    def action_back(self) -> None:
        """End with nothing."""
        self.dismiss(None)

    def _say(self, sentence: str, tone: Tone) -> None:
        self._said.show(wrap(sentence, self.room, tone))
