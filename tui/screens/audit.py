"""The Audit view."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import audit
from wire.audit import AuditEntry


@dataclass
class AuditAnswered(Message):
    """All that is kept of what people did, or why nobody can say."""

    answer: list[AuditEntry] | Refusal


class AuditScreen(ListView[AuditEntry]):
    """What people did, the latest first: fetched by whoever comes, and then told by the stream."""

    place = Place.AUDIT
    noun = "act"
    newest_first = True
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.AUDIT)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Listing(audit.COLUMNS, sorted_by="time", descending=True))
        self._asked_at: int | None = None
        """How many whole fleets had been received then; None before the first question."""
        self._asking = False
        self._answered = False
        self._refusal = ""

    def arrive(self) -> None:
        """Ask for all that is kept."""
        super().arrive()
        self._ask()

    def take(self, changes: Changes) -> None:
        """Show what changed; ask again after a refusal, and where the stream has left a gap."""
        super().take(changes)
        missed = self._asked_at not in {None, self.desk.store.snapshots}
        if (missed or self._refusal) and not self.desk.store.trouble:
            self._ask()

    def _ask(self) -> None:
        if not self._asking:
            self._asking, self._asked_at = True, self.desk.store.snapshots
            self.run_worker(self._fetch())

    async def _fetch(self) -> None:
        self.post_message(AuditAnswered(await ask(self.desk.client.audit())))

    @on(AuditAnswered)
    def take_audit(self, event: AuditAnswered) -> None:
        """Show the answer, beside what the stream has told meanwhile."""
        self._asking = False
        if isinstance(event.answer, Refusal):
            if event.answer.sentence != self._refusal:
                self.tell(event.answer.sentence)
            self._refusal = event.answer.sentence
        else:
            self.desk.store.load_audit(event.answer)
            self._answered, self._refusal = True, ""
        super().take(Changes(everything=True))
        self.refresh_frame()

    def rows(self) -> Mapping[str, AuditEntry]:
        """All entries, once they were told: the stream's alone would look like all."""
        return self.desk.store.audit if self._answered else {}

    def empty_line(self) -> str:
        """Why there is no entry."""
        if self._answered:
            return super().empty_line()
        return self._refusal or "waiting for the backend"

    def changed(self, changes: Changes) -> Collection[str]:
        """Entries that are new."""
        return changes.audit

    def describe(self, row: AuditEntry, width: int) -> list[Line]:
        """Say all that is known of it."""
        return audit.details(row, width)

    def action_open(self) -> None:
        """Show the act under the cursor in full."""
        self.action_details()
