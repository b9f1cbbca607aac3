"""A dialog in which a number or a name is typed; it says what enter would do with it."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TypeVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from tui.desk import Desk
from tui.paint import Line, Span, Tone, labelled, line, wrap
from tui.places import Place
from tui.screens.dialog import Dialog
from tui.screens.frame import keys
from tui.widgets.lines import Lines
from tui.widgets.prompt import edited

ValueT = TypeVar("ValueT")

Reader = Callable[[str], tuple[ValueT | None, str]]
"""Gives what a text means and what will happen then, or None and why it means nothing."""

_LEAST_LINES = 6


class Entry(Dialog[ValueT]):
    """Ends with the value that was typed, or with None."""

    place = Place.ENTRY
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.ENTRY)

    def __init__(
        self,
        desk: Desk,
        title: str,
        label: str,
        *,
        read: Reader[ValueT],
        text: str = "",
        facts: Sequence[tuple[str, Span]] = (),
    ) -> None:
        """Prepare.

        Args:
            desk: the operator's.
            title: one sentence about what is typed.
            label: stands before the text.
            read: understands the text.
            text: what stands there at first, selected: the first letter takes its place.
            facts: what else is to be known before.
        """
        super().__init__(desk)
        self._title = title
        self._label = label
        self._read = read
        self._facts = facts
        self.text = text
        self._selected = bool(text)

    def body(self) -> Iterator[Widget]:
        """Title, text, and what enter would do."""
        text = Lines(id="sentence")
        # at once, or an empty box as high as the screen is drawn first
        text.styles.height = max(len(self._lines()), _LEAST_LINES)
        yield text

    def on_resize(self) -> None:
        """Lay out for the width."""
        self._paint()

    @property
    def typing(self) -> bool:
        """Every key is a letter, but enter and esc."""
        return True

    async def type_key(self, event: events.Key) -> None:
        """Take a key."""
        if event.key == "enter":
            self.action_accept()
        elif event.key == "escape":
            self.action_drop()
        else:
            replaces = self._selected and event.character is not None and event.is_printable
            self._selected = False
            self.text = edited("" if replaces else self.text, event.key, event.character)
            self._paint()

    def on_paste(self, event: events.Paste) -> None:
        """Type what was pasted."""
        pasted = "".join(each for each in event.text if each.isprintable())
        self.text = pasted if self._selected else self.text + pasted
        self._selected = False
        self._paint()

    def action_accept(self) -> None:
        """End with what was typed, if it means something and we may still act."""
        value, _ = self._read(self.text)
        if value is not None and self.desk.writable:
            self.dismiss(value)

    def action_drop(self) -> None:
        """End with nothing."""
        self.dismiss(None)

    def _paint(self) -> None:
        text, lines = self.query_one("#sentence", Lines), self._lines()
        text.styles.height = max(len(lines), _LEAST_LINES)
        text.show(lines)

    def _lines(self) -> list[Line]:
        value, sentence = self._read(self.text)
        return [
            *wrap(self._title, self.room, Tone.STRONG if self._facts else Tone.PLAIN),
            (),
            *self._known(),
            line(
                Span(f"{self._label} ", Tone.DIM),
                Span(
                    self.text[-(self.room - len(self._label) - 2) :],
                    Tone.CURSOR if self._selected else Tone.STRONG,
                ),
                Span(" ", Tone.CURSOR),
            ),
            *wrap(sentence, self.room, Tone.WARN if value is None else Tone.PLAIN),
            (),
        ]

    def _known(self) -> list[Line]:
        return [*labelled(self._facts, self.room), ()] if self._facts else []
