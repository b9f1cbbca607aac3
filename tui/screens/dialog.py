"""A box over a view, and the question with yes and no."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from tui.actions import is_dangerous
from tui.desk import Desk
from tui.motion import Motion
from tui.paint import Span, Tone, labelled, wrap
from tui.places import Place
from tui.screens.frame import keys
from tui.views.keys import footer
from tui.widgets.lines import Lines
from tui.widgets.page import Page

ResultT = TypeVar("ResultT")


class Dialog(ModalScreen[ResultT], inherit_bindings=False):
    """A bordered box; the view behind is not dimmed, since that would repaint all of it."""

    place: ClassVar[Place]
    widest: ClassVar[int] = 76
    """Cells of the box where there is room; its style says the same."""
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > #box {
        width: 76; max-width: 96%; height: auto; max-height: 100%;
        background: $background; border: round $primary; padding: 0 1;
    }
    Dialog #hints { height: 1; }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def compose(self) -> ComposeResult:
        """The box with the dialog's widgets, and its keys at the foot."""
        with Vertical(id="box"):
            yield from self.body()
            yield Lines(id="hints")

    def body(self) -> Iterator[Widget]:
        """Give the dialog's own widgets."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Cells for text in one line of the box."""
        return min(self.widest, self.app.size.width * 96 // 100) - 4

    @property
    def typing(self) -> bool:
        """Whether keys are letters of something that is typed."""
        return False

    async def type_key(self, event: events.Key) -> None:
        """Take a key for what is typed."""

    def hush(self) -> None:
        """Take a notice away; dialogs have none."""

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """In read-only mode keys that change something are not there."""
        return self.desk.writable or not is_dangerous(action)

    def on_mount(self) -> None:
        """Show the keys."""
        hints = footer(self.place, self.room, writable=self.desk.writable)
        self.query_one("#hints", Lines).show([hints])


class Question(Dialog[bool]):
    """What will happen, and y or n; everything but y means no."""

    place = Place.QUESTION
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.QUESTION)

    def __init__(
        self,
        desk: Desk,
        sentence: str,
        *,
        remark: str = "",
        facts: Sequence[tuple[str, Span]] = (),
    ) -> None:
        super().__init__(desk)
        self._sentence = sentence
        self._remark = remark
        self._facts = facts
        self._page = Page(id="sentence")
        self._page.more = "j"

    def body(self) -> Iterator[Widget]:
        """The sentence, and under it what else is to be known before yes is said."""
        # at once, or an empty box as high as the screen is drawn first
        self._lay_out()
        yield self._page

    def on_resize(self) -> None:
        """Lay out for the width; what does not fit scrolls, above the keys."""
        self._lay_out()

    def _lay_out(self) -> None:
        room = self.room
        lines = wrap(self._sentence, room, Tone.STRONG)
        if self._facts:
            lines += [(), *labelled(self._facts, room)]
        if self._remark:
            lines += wrap(self._remark, room, Tone.DIM)
        self._page.styles.height = min(len(lines) + 1, self.app.size.height - 5)
        self._page.put([*lines, ()])

    def action_move(self, motion: Motion) -> None:
        """Scroll."""
        self._page.move(motion)

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)  # noqa: FBT003 - Textual's signature

    def action_no(self) -> None:
        """Do nothing."""
        self.dismiss(False)  # noqa: FBT003 - Textual's signature
