"""What a screen may ask of the app: to show something else, or to say something."""

from typing import Protocol

from tui.acts import Act, Wanted
from tui.draft import Draft


class Navigator(Protocol):
    """The way from one screen to another.

    These are awaited, so that a key typed ahead always reaches the screen that the key before it
    led to.
    """

    @property
    def frame(self) -> object | None:
        """The view that is shown, dialogs left aside."""

    async def go_back(self) -> None:
        """Show the view before, unless this is the first."""

    async def show_servers(self, host_id: str) -> None:
        """Show the servers of one host."""

    async def show_migration(self, migration_id: str) -> None:
        """Show one migration."""

    async def show_incident(self, incident_id: str) -> None:
        """Show one lost host."""

    async def show_report(self, report_id: str) -> None:
        """Show the report of an incident or an evacuation as text."""

    async def show_plan(self, draft: Draft) -> None:
        """Show the plan of hosts to be emptied, or of one to be filled again."""

    async def show_evacuation(self, evacuation_id: str) -> None:
        """Show the course or the report of an evacuation."""

    async def show_targets(self, server_id: str) -> None:
        """Open the dialog before a migration, of the kind that the server's state allows."""

    async def show_settling(self, server_id: str) -> None:
        """Open the dialog that asks which copy of a server stays."""

    async def act(self, wanted: Wanted) -> None:
        """Ask what stands before an act, and do it; or say why it makes no sense now."""

    def do(self, act: Act | None) -> None:
        """Do an act of which all has been asked; None does nothing."""

    async def command(self, text: str) -> None:
        """Go where a command leads that was typed after ``:``."""

    def fetch_curve(self, migration_id: str) -> None:
        """Fetch the samples of a migration so far."""

    def tell(self, sentence: str) -> None:
        """Show a sentence in the notice line."""
