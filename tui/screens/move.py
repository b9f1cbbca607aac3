"""The dialog before a migration: its target and options, the question, and the start."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.paint import Tone
from tui.places import Place
from tui.screens.dialog import Question
from tui.screens.frame import keys
from tui.screens.targets import TargetDialog
from tui.views import candidates, plan
from wire.fleet import ServerView
from wire.migration import Migration, MigrationOptions


@dataclass
class StartAnswered(Message):
    """The migration that began, or why none did."""

    answer: Migration | Refusal


class MoveDialog(TargetDialog[Migration]):
    """Ends with the migration that was started, or with None."""

    def __init__(self, desk: Desk, server: ServerView) -> None:
        super().__init__(desk, server, MigrationOptions())
        self._starting = False
        self._begun: Migration | None = None

    async def _start(self, wanted: MigrationOptions) -> None:
        self.post_message(StartAnswered(await ask(self._call(wanted))))

    def _call(self, wanted: MigrationOptions) -> Awaitable[Migration]:
        """Ask the backend to begin."""
        return self.desk.client.migrate(self._server.server_id, self.kind, wanted)

    @on(StartAnswered)
    def show_start(self, event: StartAnswered) -> None:
        """Leave with the migration, or say why there is none."""
        self._starting = False
        if isinstance(event.answer, Refusal):
            self._say(event.answer.sentence, Tone.BAD)
            return
        self._begun = event.answer
        # Textual's dismiss takes away whatever is on top: help, or the page for a small terminal.
        if self.is_active:
            self.dismiss(self._begun)

    def on_screen_resume(self) -> None:
        """Leave with the migration that began while something lay over the dialog."""
        if self._begun is not None:
            self.dismiss(self._begun)

    def _is_busy(self) -> bool:
        return self._starting

    def _chosen(self, target: candidates.Target) -> None:
        """Say what will happen, and begin if the answer is yes."""
        wanted = plan.options_for(target, self._options)

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - Textual's callback
            if yes:
                self._starting = True
                self._say("asking the backend to begin", Tone.DIM)
                self.run_worker(self._start(wanted), exclusive=True)

        sentence = plan.question(self._server, self.kind, target)
        facts = self._facts(target, wanted)
        self.app.push_screen(Question(self.desk, sentence, facts=facts), answered)

    def _facts(self, target: candidates.Target, wanted: MigrationOptions) -> plan.Facts:
        return plan.facts(self._server, self.kind, target, wanted)


class LiveDialog(MoveDialog):
    """Before a live migration."""

    kind = "live"
    place = Place.LIVE
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.LIVE)


class ColdDialog(MoveDialog):
    """Before a cold migration."""

    kind = "cold"
    place = Place.COLD
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.COLD)
