"""The line in which a filter or a command is typed."""

from dataclasses import dataclass
from typing import Literal

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from tui.paint import Span, Tone, line
from tui.widgets.lines import Lines

Kind = Literal["filter", "command"]
_SIGNS: dict[Kind, str] = {"filter": "/", "command": ":"}


class Prompt(Horizontal):
    """Hidden until opened; lies over the footer."""

    DEFAULT_CSS = """
    Prompt { layer: overlay; dock: bottom; height: 1; display: none; background: $background; }
    Prompt.-open { display: block; }
    Prompt > Lines { width: 1; height: 1; }
    Prompt > Input, Prompt > Input:focus {
        background: $background; border: none; height: 1; padding: 0; width: 1fr;
    }
    """

    @dataclass
    class Changed(Message):
        """The text changed."""

        kind: Kind
        text: str

    @dataclass
    class Closed(Message):
        """Typing ended."""

        kind: Kind
        text: str
        accepted: bool
        """By enter; otherwise by esc."""

    def __init__(self, suggester: Suggester) -> None:
        super().__init__()
        self._kind: Kind = "filter"
        self._suggester = suggester

    def compose(self) -> ComposeResult:
        """The sign and the input; its cursor does not blink, so that waiting costs no bytes."""
        yield Lines()
        field = Input(select_on_focus=False)
        field.cursor_blink = False
        yield field

    @property
    def is_open(self) -> bool:
        """Whether something is being typed."""
        return self.has_class("-open")

    def open(self, kind: Kind, text: str = "") -> None:
        """Begin to type."""
        self._kind = kind
        self.add_class("-open")
        self.query_one(Lines).show([line(Span(_SIGNS[kind], Tone.KEY))])
        field = self.query_one(Input)
        field.suggester = self._suggester if kind == "command" else None
        field.value = text
        field.cursor_position = len(text)
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass each change on."""
        event.stop()
        if self.is_open:
            self.post_message(self.Changed(self._kind, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close with what was typed."""
        event.stop()
        self._close(accepted=True)

    async def on_key(self, event: events.Key) -> None:
        """Esc closes; backspace on nothing, too; tab completes."""
        field = self.query_one(Input)
        if event.key == "escape" or (event.key == "backspace" and not field.value):
            event.stop()
            event.prevent_default()
            self._close(accepted=False)
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            field.action_cursor_right()

    def _close(self, *, accepted: bool) -> None:
        self.remove_class("-open")
        text = self.query_one(Input).value
        self.post_message(self.Closed(self._kind, text, accepted))
