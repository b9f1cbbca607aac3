"""The Audit view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import audit
from wire.audit import AuditEntry


class AuditScreen(ListView[AuditEntry]):
    """What people did, the latest first."""

    place = Place.AUDIT
    noun = "act"
    newest_first = True
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.AUDIT)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Listing(audit.COLUMNS, sorted_by="time", descending=True))

    def rows(self) -> Mapping[str, AuditEntry]:
        """The latest entries."""
        return self.desk.store.audit

    def changed(self, changes: Changes) -> Collection[str]:
        """Entries that are new."""
        return changes.audit

    def describe(self, row: AuditEntry, width: int) -> list[Line]:
        """Say all that is known of it."""
        return audit.details(row, width)

    def action_open(self) -> None:
        """Show the act under the cursor in full."""
        self.action_details()
