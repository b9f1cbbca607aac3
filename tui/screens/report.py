"""A report as text, as the command line writes it: of an incident, or of an evacuation."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.formats import evacuation_report, incident
from tui.motion import Motion
from tui.paint import Line, Span, Tone, line
from tui.places import Place
from tui.screens.frame import Frame, keys
from tui.store import Changes
from tui.widgets.page import Page
from wire.evacuation import Evacuation
from wire.rescue import Incident


class ReportScreen(Frame):
    """Goes on while what it is about does."""

    place = Place.REPORT
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.REPORT)

    def __init__(self, desk: Desk, report_id: str) -> None:
        super().__init__(desk)
        self._report_id = report_id
        self._page = Page(id="page")
        self._page.more = "j"

    def body(self) -> Iterator[Widget]:
        """The page."""
        yield self._page

    @property
    def _about(self) -> Incident | Evacuation | None:
        store = self.desk.store
        return store.incidents.get(self._report_id) or store.evacuations.get(self._report_id)

    def heading(self, _width: int) -> Line:
        """Whose report this is."""
        name = self._about.host_name if self._about else self._report_id
        return line(Span(" Report ", Tone.TAB), Span(f"  {name}", Tone.TITLE))

    def take(self, _changes: Changes) -> None:
        """Show the report as it is now."""
        about, width = self._about, self.size.width
        if about is not None:
            text = (
                incident.report_text(about, width)
                if isinstance(about, Incident)
                else evacuation_report.report_text(about, width)
            )
            self._page.put([line(Span(each)) for each in text])

    def action_move(self, motion: Motion) -> None:
        """Scroll."""
        self._page.move(motion)

    def action_copy_report(self) -> None:
        """Copy it for a ticket."""
        about = self._about
        if about is not None:
            self.app.copy_to_clipboard(
                incident.report_markdown(about)
                if isinstance(about, Incident)
                else evacuation_report.report_markdown(about)
            )
            self.tell(f"copied the report of {about.host_name} as Markdown")

    async def action_back(self) -> None:
        """Go back."""
        await self.navigator.go_back()
