"""A box over a view, and the question with yes and no."""

from collections.abc import Iterator
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from tui.actions import Place, is_dangerous
from tui.desk import Desk
from tui.paint import Span, Tone, line, wrap
from tui.screens.frame import keys
from tui.views.keys import footer
from tui.widgets.lines import Lines

ResultT = TypeVar("ResultT")


class Dialog(ModalScreen[ResultT], inherit_bindings=False):
    """A bordered box; the view behind is not dimmed, since that would repaint all of it."""

    place: ClassVar[Place]
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > #box {
        width: 76; max-width: 96%; height: auto; max-height: 90%;
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
        return min(76, self.app.size.width * 96 // 100) - 4

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """In read-only mode keys that change something are not there."""
        return self.desk.writable or not is_dangerous(action)

    def on_mount(self) -> None:
        """Show the keys."""
        hints = footer(self.place, self.room, writable=self.desk.writable)
        self.query_one("#hints", Lines).show([hints])


class Question(Dialog[bool]):
    """One sentence and y or n; everything but y means no."""

    place = Place.QUESTION
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.QUESTION)

    def __init__(self, desk: Desk, sentence: str, *, remark: str = "") -> None:
        super().__init__(desk)
        self._sentence = sentence
        self._remark = remark

    def body(self) -> Iterator[Widget]:
        """The sentence."""
        lines = [
            *wrap(self._sentence, self.room),
            *(wrap(self._remark, self.room, Tone.DIM) if self._remark else []),
            line(Span("")),
        ]
        text = Lines(id="sentence")
        text.styles.height = len(lines)
        text.show(lines)
        yield text

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)  # noqa: FBT003 - Textual's signature

    def action_no(self) -> None:
        """Do nothing."""
        self.dismiss(False)  # noqa: FBT003 - Textual's signature
