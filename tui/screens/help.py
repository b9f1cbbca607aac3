"""The page of keys of the view from which it was asked for."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.motion import Motion
from tui.paint import Line, Span, Tone, line
from tui.places import Place
from tui.screens.frame import Frame, keys
from tui.store import Changes
from tui.views.keys import help_lines
from tui.widgets.page import Page


class HelpScreen(Frame):
    """Made of the registry of actions."""

    place = Place.PAGE
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PAGE)

    def __init__(self, desk: Desk, about: Place) -> None:
        super().__init__(desk)
        self._about = about
        self._page = Page(id="page")
        self._page.more = "j"

    def body(self) -> Iterator[Widget]:
        """The page."""
        yield self._page

    def heading(self, _width: int) -> Line:
        """Which view's keys these are."""
        return line(Span(f" Keys of {self._about} ", Tone.TAB))

    def take(self, _changes: Changes) -> None:
        """Show the keys that exist now."""
        width = min(self.size.width, 100)
        self._page.put(help_lines(self._about, width, writable=self.desk.writable))

    def action_move(self, motion: Motion) -> None:
        """Scroll."""
        self._page.move(motion)

    async def action_back(self) -> None:
        """Go back."""
        await self.navigator.go_back()
