"""The live-migrate dialog: where may this server go, and why not elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from tui.actions import Place
from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.listing import Listing
from tui.motion import Motion
from tui.paint import Line, Tone, wrap
from tui.screens.dialog import Dialog, Question
from tui.screens.frame import keys
from tui.views import candidates
from tui.widgets.lines import Lines
from tui.widgets.table import Table
from wire.fleet import Candidate, ServerView
from wire.migration import Migration, MigrationOptions


@dataclass
class CandidatesAnswered(Message):
    """The candidates, or why there are none."""

    answer: Sequence[Candidate] | Refusal


@dataclass
class StartAnswered(Message):
    """The migration that began, or why none did."""

    answer: Migration | Refusal


class TargetsDialog(Dialog[Migration]):
    """Ends with the migration that was started, or with None."""

    place = Place.TARGETS
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.TARGETS)
    DEFAULT_CSS = """
    TargetsDialog > #box { width: 100; height: 90%; max-height: 28; }
    TargetsDialog #intention { height: 1; }
    TargetsDialog #targets { height: 1fr; margin: 1 0 0 0; }
    TargetsDialog #verdicts { height: 45%; border-top: solid $rule; }
    """

    def __init__(self, desk: Desk, server: ServerView) -> None:
        super().__init__(desk)
        self._server = server
        self._table: Table[candidates.Target] = Table(
            Listing(candidates.columns(desk.glyphs)), id="targets", sortable=False
        )
        self._said: list[Line] = []
        self._starting = False
        self._begun: Migration | None = None

    @property
    def room(self) -> int:
        """Cells for text in one line of the box."""
        return min(100, self.app.size.width * 96 // 100) - 4

    def body(self) -> Iterator[Widget]:
        """What for, the targets, and the verdicts on the one under the cursor."""
        yield Lines(id="intention")
        yield self._table
        yield Lines(id="verdicts")

    def on_mount(self) -> None:
        """Ask the backend for the candidates."""
        super().on_mount()
        self.query_one("#intention", Lines).show([candidates.intention(self._server)])
        self.action_ask_again()

    def action_ask_again(self) -> None:
        """Ask for the candidates as they are now; not while a migration is being begun."""
        if not self._starting:
            self._say("asking the backend which hosts fit", Tone.DIM)
            self.run_worker(self._ask_candidates(), exclusive=True)

    async def _ask_candidates(self) -> None:
        answer = await ask(
            self.desk.client.candidates(self._server.server_id, "live", MigrationOptions())
        )
        self.post_message(CandidatesAnswered(answer))

    async def _start(self, options: MigrationOptions) -> None:
        answer = await ask(self.desk.client.migrate(self._server.server_id, "live", options))
        self.post_message(StartAnswered(answer))

    @on(CandidatesAnswered)
    def show_candidates(self, event: CandidatesAnswered) -> None:
        """Fill the table."""
        if isinstance(event.answer, Refusal):
            self._say(event.answer.sentence, Tone.BAD)
            return
        self._said = []
        self._table.take(candidates.targets(event.answer))
        self._table.resort()
        self._show_verdicts()

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

    @on(Table.Moved)
    def target_moved(self) -> None:
        """Show the verdicts on another target."""
        self._said = []
        self._show_verdicts()

    @on(Table.Opened)
    def target_opened(self) -> None:
        """Choose by mouse what enter chooses."""
        self.action_choose()

    def action_move(self, motion: Motion) -> None:
        """Move the cursor."""
        self._table.move(motion)

    def action_choose(self) -> None:
        """Ask before anything happens."""
        target = self._table.cursor_row
        if target is None or self._starting:
            return
        if not target.fits:
            self._say(candidates.refusal(self._server, target), Tone.WARN)
            return
        options = candidates.options_for(target)
        sentence = candidates.question(self._server, target, options)

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - Textual's callback
            if yes:
                self._starting = True
                self._say("asking the backend to begin", Tone.DIM)
                self.run_worker(self._start(options), exclusive=True)

        self.app.push_screen(Question(self.desk, sentence), answered)

    def action_back(self) -> None:
        """Leave without doing anything; not before the backend answers, once it was asked."""
        if not self._starting:
            self.dismiss(None)

    def _say(self, sentence: str, tone: Tone) -> None:
        self._said = wrap(sentence, self.room, tone)
        self._show_verdicts()

    def _show_verdicts(self) -> None:
        lines = list(self._said)
        target = self._table.cursor_row
        if target is not None:
            lines += candidates.verdict_lines(target, self.room, self.desk.glyphs)
        self.query_one("#verdicts", Lines).show(lines)
