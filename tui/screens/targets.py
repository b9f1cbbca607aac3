"""The dialog of targets: where may this server go, why not elsewhere, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic

from textual import on
from textual.message import Message
from textual.widget import Widget

from tui.calls import Refusal, ask
from tui.desk import Desk
from tui.listing import Column, Listing
from tui.motion import Motion
from tui.paint import Line, Tone, wrap
from tui.screens.dialog import ResultT
from tui.screens.options import OptionDialog
from tui.views import candidates, plan
from tui.widgets.lines import Lines
from tui.widgets.page import Page
from tui.widgets.table import Table
from wire.candidates import Candidate
from wire.fleet import ServerView
from wire.migration import MigrationKind, MigrationOptions

_NARROW = 20
"""Lines of a terminal in which the dialog gives up its blank lines."""


@dataclass
class CandidatesAnswered(Message):
    """The candidates, or why there are none."""

    answer: Sequence[Candidate] | Refusal


class TargetDialog(OptionDialog[ResultT], Generic[ResultT]):
    """Hosts with every verdict, and the options; what is done with the choice, its heirs say."""

    kind: ClassVar[MigrationKind]
    widest = 120
    DEFAULT_CSS = """
    TargetDialog > #box { width: 120; height: 94%; max-height: 40; }
    TargetDialog #intention { height: 1; }
    TargetDialog #targets { margin: 1 0 0 0; }
    TargetDialog #verdicts { height: 1fr; border-top: solid $rule; }
    TargetDialog.-low > #box { height: 100%; }
    TargetDialog.-low #targets { margin: 0; }
    """

    def __init__(self, desk: Desk, server: ServerView, wanted: MigrationOptions) -> None:
        super().__init__(desk, wanted)
        self._server = server
        self._table: Table[candidates.Target] = Table(
            Listing(self._columns()), id="targets", sortable=False
        )
        self._verdicts = Page(id="verdicts")
        self._verdicts.more = "^d"
        self._said: list[Line] = []
        self._asking = False

    def _columns(self) -> list[Column[candidates.Target]]:
        return candidates.columns(self.desk.glyphs)

    def body(self) -> Iterator[Widget]:
        """What for, the targets, the verdicts on the one under the cursor, and the options."""
        yield Lines(id="intention")
        yield self._table
        yield self._verdicts
        yield self._option_lines

    def on_mount(self) -> None:
        """Ask the backend for the candidates."""
        super().on_mount()
        self.query_one("#intention", Lines).show([self._intention()])
        self.action_ask_again()

    def on_resize(self) -> None:
        """Lay the options out for the width."""
        self.set_class(self.app.size.height < _NARROW, "-low")
        super().on_resize()
        self.call_after_refresh(self._show_verdicts)

    def action_ask_again(self) -> None:
        """Ask for the candidates as they are now; not while a migration is being begun."""
        if not self._is_busy():
            self._asking = True
            self._say("asking the backend which hosts fit", Tone.DIM)
            self.run_worker(self._ask_candidates(), exclusive=True)

    async def _ask_candidates(self) -> None:
        call = self.desk.client.candidates(self._server.server_id, self.kind, self._options)
        self.post_message(CandidatesAnswered(await ask(call)))

    def _intention(self) -> Line:
        """What the dialog is for, in one sentence."""
        return plan.intention(self._server, self.kind)

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
        self._targets_shown()
        self._show_verdicts()

    def _targets_shown(self) -> None:
        """Put the cursor where it should begin."""

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

    def _checks_changed(self) -> None:
        self.action_ask_again()

    def action_choose(self) -> None:
        """Ask before anything happens."""
        target = self._table.cursor_row
        if target is None or self._is_busy() or self._asking:
            return
        if not target.fits:
            self._say(plan.refusal(self._server, target), Tone.WARN)
            return
        self._chosen(target)

    def _chosen(self, target: candidates.Target) -> None:
        """Go on with a target that fits."""
        raise NotImplementedError

    def action_back(self) -> None:
        """Leave without doing anything; not before the backend answers, once it was asked."""
        if not self._is_busy():
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
