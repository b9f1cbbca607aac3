"""The dialog before the rescue of a server whose host is down."""

from collections.abc import Awaitable
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.paint import Span, Tone
from tui.places import Place
from tui.screens.entry import Entry
from tui.screens.frame import keys
from tui.screens.move import MoveDialog
from tui.views import plan, rescue
from tui.views.candidates import Target
from wire.fleet import HostView, ServerView
from wire.migration import Migration, MigrationOptions
from wire.rescue import RescueOptions


class RescueDialog(MoveDialog):
    """Targets as before a move; the name of a host that is not proven dead is typed first.

    A server that ran is started on arrival, unless that is turned off; a stopped one is not.
    """

    kind = "rescue"
    place = Place.RESCUE
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.RESCUE)

    def __init__(self, desk: Desk, server: ServerView, host: HostView) -> None:
        super().__init__(desk, server)
        self._options = MigrationOptions(auto_start=server.wanted_on)
        self._known_host = host
        self._host_is_off = ""

    @property
    def _host(self) -> HostView:
        """The host that is down, as it is known now: it may have been proven dead meanwhile."""
        return self.desk.store.hosts.get(self._server.host_id, self._known_host)

    def _call(self, wanted: MigrationOptions) -> Awaitable[Migration]:
        asked = RescueOptions(
            prefer_host=wanted.prefer_host,
            auto_start=wanted.auto_start,
            host_is_off=self._host_is_off,
        )
        return self.desk.client.rescue(self._server.server_id, asked)

    def _chosen(self, target: Target) -> None:
        host = self._host
        self._host_is_off = ""
        if host.dead:
            super()._chosen(target)
            return

        def typed(name: str | None) -> None:
            if name is not None:
                self._host_is_off = name
                super(RescueDialog, self)._chosen(target)

        name = host.facts.name
        entry = Entry(
            self.desk,
            f"{name} is lost and not proven dead. Have you switched it off yourself?",
            "name of the host",
            read=lambda text: rescue.read_name(host, text),
            facts=(
                *rescue.missing(host, self.desk.store.open_incident(host.facts.host_id)),
                ("danger", Span(rescue.danger(self._server, host), Tone.BAD)),
                ("remains", Span(f"your word, with your name, until {name} is back")),
            ),
        )
        self.app.push_screen(entry, typed)

    def _facts(self, target: Target, wanted: MigrationOptions) -> plan.Facts:
        host = self._host
        incident = self.desk.store.open_incident(host.facts.host_id)
        return rescue.facts(self._server, host, incident, target, wanted)
