"""The Health view: etcd, and every host's health key with the time that it has left."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.formats.health import health_word
from tui.listing import Listing
from tui.paint import Line
from tui.places import Place
from tui.screens.about_hosts import AboutHosts
from tui.screens.frame import keys
from tui.screens.paned import PanedList
from tui.store import Changes
from tui.views import health
from wire.fleet import HostView
from wire.rescue import HealthReport

_EVERY_S = 1.0
_QUIET_S = 3.0
"""A report older than this is not shown as what is."""


@dataclass
class HealthAnswered(Message):
    """Every host's health, or why nobody can say."""

    answer: HealthReport | Refusal


class HealthScreen(PanedList[health.Row], AboutHosts):
    """Asks the backend each second, but only while it is shown."""

    place = Place.HEALTH
    noun = "host"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.HEALTH)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Listing(health.columns(desk.glyphs), sorted_by="health"))
        self._report: HealthReport | None = None
        self._answered_at_s = 0.0
        self._asked_at_s: float | None = None
        """When the question was sent that is not answered yet; None if there is none."""
        self._refusal = ""
        self._words: dict[str, str] = {}
        """What each host was, by its id, when the rows were last sorted."""

    def on_mount(self) -> None:
        """Begin to ask."""
        self.set_interval(_EVERY_S, self._poll)

    def on_screen_resume(self) -> None:
        """Ask at once: what is known may be as old as the last visit."""
        super().on_screen_resume()
        self._poll()

    def _poll(self) -> None:
        shown = self.navigator.frame is self
        if shown and self._asked_at_s is None and not self.desk.paused:
            self._asked_at_s = time.monotonic()
            self.run_worker(self._ask())

    async def _ask(self) -> None:
        self.post_message(HealthAnswered(await ask(self.desk.client.health())))

    @on(HealthAnswered)
    def take_health(self, event: HealthAnswered) -> None:
        """Show the answer."""
        self._asked_at_s = None
        if isinstance(event.answer, Refusal):
            self._refusal = event.answer.sentence
        else:
            self._refusal = ""
            self._report = event.answer
            self._answered_at_s = time.monotonic()
        self.take(Changes(everything=True))
        self._sort_worst_first()
        self.refresh_frame()

    def _sort_worst_first(self) -> None:
        """Sort anew once a host is better or worse than it was; the cursor stays on its host."""
        words = {each.health.host_id: health_word(each.health) for each in self.rows().values()}
        if words != self._words and self.table.listing.sorted_by == "health":
            self.table.resort()
        self._words = words

    @property
    def trouble(self) -> str:
        """Why there is no fresh report; empty if there is, or will be in a moment."""
        if self._refusal:
            return self._refusal
        waited_s = time.monotonic() - self._asked_at_s if self._asked_at_s is not None else 0.0
        return f"no answer from the backend for {waited_s:.0f} s" if waited_s > _QUIET_S else ""

    @property
    def stale(self) -> bool:
        """Whether the latest report says nothing of how it is now."""
        return bool(self.trouble) or time.monotonic() - self._answered_at_s > _QUIET_S

    def rows(self) -> Mapping[str, health.Row]:
        """The hosts of the latest report."""
        return health.rows(self._report, stale=self.stale)

    def changed(self, _changes: Changes) -> Collection[str]:
        """Every row: they come with the report, not with the stream."""
        return set(self.rows())

    def pane_lines(self, width: int) -> Sequence[Line]:
        """Rescues, why the report is old, what the backend fails at, and etcd."""
        store, glyphs = self.desk.store, self.desk.glyphs
        lines = [health.guard_line(store.guard, width, glyphs)]
        lines += health.trouble_lines(self._report, self.trouble, width, glyphs)
        etcd: list[Line] = []
        if self._report is not None:
            etcd = health.etcd_lines(self._report.members, glyphs, brief=self.low)
        if store.status is not None:
            room = self.pane_room - len(lines) - len(etcd)
            lines += health.duty_lines(store.status.failing_duties, width, glyphs, room=room)
        return lines + etcd

    def describe(self, row: health.Row, width: int) -> list[Line]:
        """Say all that is known of a host's health."""
        incident = self.desk.store.open_incident(row.health.host_id)
        return health.details(row, incident, width, self.desk.glyphs)

    def action_open(self) -> None:
        """Give the details the screen."""
        self.action_details()

    @property
    def host(self) -> HostView | None:
        """The host under the cursor."""
        return self.desk.store.hosts.get(self.table.cursor_id or "")
