"""The report of an incident as text, as godwit incident-show writes it."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from tui.actions import Place
from tui.desk import Desk
from tui.formats.incident import report_markdown, report_text
from tui.motion import Motion
from tui.paint import Line, Span, Tone, line
from tui.screens.frame import Frame, keys
from tui.store import Changes
from tui.widgets.page import Page


class ReportScreen(Frame):
    """Goes on while the incident does."""

    place = Place.REPORT
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.REPORT)

    def __init__(self, desk: Desk, incident_id: str) -> None:
        super().__init__(desk)
        self._incident_id = incident_id
        self._page = Page(id="page")
        self._page.more = "j"

    def body(self) -> Iterator[Widget]:
        """The page."""
        yield self._page

    def heading(self, _width: int) -> Line:
        """Whose report this is."""
        incident = self.desk.store.incidents.get(self._incident_id)
        name = incident.host_name if incident else self._incident_id
        return line(Span(" Report ", Tone.TAB), Span(f"  {name}", Tone.TITLE))

    def take(self, _changes: Changes) -> None:
        """Show the report as it is now."""
        incident = self.desk.store.incidents.get(self._incident_id)
        if incident is not None:
            self._page.put([line(Span(each)) for each in report_text(incident, self.size.width)])

    def action_move(self, motion: Motion) -> None:
        """Scroll."""
        self._page.move(motion)

    def action_copy_report(self) -> None:
        """Copy it for a ticket."""
        incident = self.desk.store.incidents.get(self._incident_id)
        if incident is not None:
            self.app.copy_to_clipboard(report_markdown(incident))
            self.tell(f"copied the report of {incident.host_name} as Markdown")

    async def action_back(self) -> None:
        """Go back."""
        await self.navigator.go_back()
