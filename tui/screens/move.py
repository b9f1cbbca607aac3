"""The dialog before a migration: where may this server go, why not elsewhere, and how."""

from collections.abc import Awaitable, Iterator, Sequence
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
from tui.screens.entry import Entry
from tui.screens.frame import keys
from tui.views import candidates, options, plan
from tui.widgets.lines import Lines
from tui.widgets.page import Page
from tui.widgets.table import Table
from wire.fleet import Candidate, ServerView
from wire.migration import Migration, MigrationKind, MigrationOptions

_NARROW = 20
"""Lines of a terminal in which the dialog gives up its blank lines."""


@dataclass
class CandidatesAnswered(Message):
    """The candidates, or why there are none."""

    answer: Sequence[Candidate] | Refusal


@dataclass
class StartAnswered(Message):
    """The migration that began, or why none did."""

    answer: Migration | Refusal


class MoveDialog(Dialog[Migration]):
    """Ends with the migration that was started, or with None."""

    kind: ClassVar[MigrationKind]
    widest = 120
    DEFAULT_CSS = """
    MoveDialog > #box { width: 120; height: 94%; max-height: 40; }
    MoveDialog #intention { height: 1; }
    MoveDialog #targets { margin: 1 0 0 0; }
    MoveDialog #verdicts { height: 1fr; border-top: solid $rule; }
    MoveDialog #options { border-top: solid $rule; }
    MoveDialog.-low > #box { height: 100%; }
    MoveDialog.-low #targets { margin: 0; }
    """

    def __init__(self, desk: Desk, server: ServerView) -> None:
        super().__init__(desk)
        self._server = server
        self._options = MigrationOptions()
        self._table: Table[candidates.Target] = Table(
            Listing(candidates.columns(desk.glyphs)), id="targets", sortable=False
        )
        self._verdicts = Page(id="verdicts")
        self._verdicts.more = "^d"
        self._option_lines = Lines(id="options")
        self._said: list[Line] = []
        self._asking = False
        self._starting = False
        self._begun: Migration | None = None

    def body(self) -> Iterator[Widget]:
        """What for, the targets, the verdicts on the one under the cursor, and the options."""
        yield Lines(id="intention")
        yield self._table
        yield self._verdicts
        yield self._option_lines

    def on_mount(self) -> None:
        """Ask the backend for the candidates."""
        super().on_mount()
        self.query_one("#intention", Lines).show([plan.intention(self._server, self.kind)])
        self.action_ask_again()

    def on_resize(self) -> None:
        """Lay the options out for the width."""
        self.set_class(self.app.size.height < _NARROW, "-low")
        # the rule above takes a line
        self._option_lines.styles.height = options.option_rows(self.place, self.room) + 1
        self._show_options()
        self.call_after_refresh(self._show_verdicts)

    def action_ask_again(self) -> None:
        """Ask for the candidates as they are now; not while a migration is being begun."""
        if not self._starting:
            self._asking = True
            self._say("asking the backend which hosts fit", Tone.DIM)
            self.run_worker(self._ask_candidates(), exclusive=True)

    async def _ask_candidates(self) -> None:
        call = self.desk.client.candidates(self._server.server_id, self.kind, self._options)
        self.post_message(CandidatesAnswered(await ask(call)))

    async def _start(self, wanted: MigrationOptions) -> None:
        self.post_message(StartAnswered(await ask(self._call(wanted))))

    def _call(self, wanted: MigrationOptions) -> Awaitable[Migration]:
        """Ask the backend to begin."""
        return self.desk.client.migrate(self._server.server_id, self.kind, wanted)

    @on(CandidatesAnswered)
    def show_candidates(self, event: CandidatesAnswered) -> None:
        """Fill the table."""
        self._asking = False
        if isinstance(event.answer, Refusal):
            self._say(event.answer.sentence, Tone.BAD)
            return
        self._said = []
        rows = candidates.targets(event.answer)
        # a line for the titles; the verdicts get the rest
        height = self.app.size.height
        most = 3 if height < _NARROW else height * 2 // 5
        self._table.styles.height = min(len(rows) + 1, most)
        self._table.take(rows)
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
        self._verdicts.move("first")
        self._show_verdicts()

    @on(Table.Opened)
    def target_opened(self) -> None:
        """Choose by mouse what enter chooses."""
        self.action_choose()

    def action_move(self, motion: Motion) -> None:
        """Move the cursor, or with the keys for half a page the verdicts."""
        if motion in {"half_down", "half_up"}:
            self._verdicts.move("page_down" if motion == "half_down" else "page_up")
        else:
            self._table.move(motion)

    def action_option(self, field: str) -> None:
        """Turn an option, or ask for its number; the targets are asked again if they may differ."""
        if self._starting:
            return
        if isinstance(getattr(self._options, field), bool):
            self._set_options(options.toggled(self._options, field))
            if field in options.CHECKS:
                self.action_ask_again()
            return
        if field == "downtime_bound_ms" and not self._options.quickly_finish:
            self._say("the bound is for quickly finish, which f turns on", Tone.WARN)
            return
        title, label = options.number_title(field)
        entry = Entry(
            self.desk,
            title,
            label,
            read=lambda text: options.read_number(self._options, field, text),
            text=options.number_text(self._options, field),
        )
        self.app.push_screen(entry, self._set_options)

    def _set_options(self, changed: MigrationOptions | None) -> None:
        if changed is not None:
            self._options = changed
            self._show_options()

    def _show_options(self) -> None:
        self._option_lines.show(options.option_lines(self._options, self.place, self.room))

    def action_choose(self) -> None:
        """Ask before anything happens."""
        target = self._table.cursor_row
        if target is None or self._starting or self._asking:
            return
        if not target.fits:
            self._say(plan.refusal(self._server, target), Tone.WARN)
            return
        self._ask_before(target)

    def _ask_before(self, target: candidates.Target) -> None:
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
        self._verdicts.put(lines)


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
