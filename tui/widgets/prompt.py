"""The line in which a filter or a command is typed.

Not Textual's ``Input``: that takes keys through a queue of its own, so that a key typed ahead would
overtake or miss it, and repaints its whole line for each letter.
"""

from enum import StrEnum
from typing import Literal

from textual import events

from tui.paint import Span, Tone, line, width_of
from tui.widgets.lines import Lines

Kind = Literal["filter", "command"]
_SIGNS: dict[Kind, str] = {"filter": "/", "command": ":"}


class Typed(StrEnum):
    """What a key did to the prompt."""

    NOTHING = "nothing"
    CHANGED = "changed"
    ACCEPTED = "accepted"
    DROPPED = "dropped"


class Prompt(Lines):
    """Hidden until opened; lies over the footer. Typing is at the end of the text."""

    DEFAULT_CSS = """
    Prompt { layer: overlay; dock: bottom; height: 1; background: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.kind: Kind = "filter"
        self.text = ""
        self._completed = ""
        self.display = False

    @property
    def is_open(self) -> bool:
        """Whether something is being typed."""
        return self.display

    def open(self, kind: Kind, text: str = "") -> None:
        """Begin to type."""
        self.kind, self.text, self._completed = kind, text, ""
        self.display = True
        self._paint()

    def offer(self, completed: str | None) -> None:
        """Show how the text may go on; tab takes it."""
        self._completed = completed or ""
        self._paint()

    def press(self, event: events.Key) -> Typed:
        """Take a key."""
        if event.key == "enter":
            self.display = False
            return Typed.ACCEPTED
        if event.key == "escape" or (event.key == "backspace" and not self.text):
            self.display = False
            return Typed.DROPPED
        if event.key in {"tab", "right"}:
            text = self._completed or self.text
        else:
            text = edited(self.text, event.key, event.character)
        if text == self.text:
            return Typed.NOTHING
        self._replace(text)
        return Typed.CHANGED

    def insert(self, text: str) -> None:
        """Add to the text, as a paste does."""
        self._replace(self.text + "".join(each for each in text if each.isprintable()))

    def _replace(self, text: str) -> None:
        self.text, self._completed = text, ""
        self._paint()

    def _paint(self) -> None:
        rest = self._completed[len(self.text) :]
        width = self.screen.size.width
        # Of a text that is too long the end shows: there the typing is.
        shown = self.text
        while width_of(shown) > width - 2 and shown:
            shown = shown[1:]
        spans = [Span(_SIGNS[self.kind], Tone.KEY), Span(shown)]
        spans.append(Span(rest[:1] or " ", Tone.CURSOR))
        self.show([line(*spans, Span(rest[1:], Tone.DIM), Span(" " * width))])


def edited(text: str, key: str, character: str | None) -> str:
    """Give the text after a key: a letter, backspace, ctrl+u for all, ctrl+w for a word."""
    if key == "backspace":
        return text[:-1]
    if key == "ctrl+u":
        return ""
    if key == "ctrl+w":
        head, blank, _ = text.rstrip().rpartition(" ")
        return head + blank
    if character is not None and character.isprintable():
        return text + character
    return text
