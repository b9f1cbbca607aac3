"""The page that stands there while the terminal is too small for any view."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from tui.paint import Span, Tone, line, wrap
from tui.places import Place
from tui.screens.frame import keys
from tui.widgets.lines import Lines

NEEDED = Size(60, 16)


def too_small(size: Size) -> bool:
    """Whether no view can be drawn usefully."""
    return size.width < NEEDED.width or size.height < NEEDED.height


class TooSmallScreen(ModalScreen[None], inherit_bindings=False):
    """Says which size is needed; goes by itself once there is room."""

    BINDINGS: ClassVar[list[BindingType]] = keys(Place.EVERYWHERE)
    DEFAULT_CSS = "TooSmallScreen { background: $background; }"

    def compose(self) -> ComposeResult:
        """The sentence."""
        yield Lines()

    def on_resize(self) -> None:
        """Say the size that is there now."""
        size = self.app.size
        sentence = (
            f"This terminal has {size.width}x{size.height} characters; "
            f"Godwit needs at least {NEEDED.width}x{NEEDED.height}."
        )
        lines = [line(Span("godwit", Tone.TITLE)), *wrap(sentence, max(10, size.width))]
        self.query_one(Lines).show([*lines, *wrap("^c quits.", size.width, Tone.DIM)])
