"""Text that may be longer than its room, and scrolls by lines."""

from collections.abc import Sequence

from tui.motion import Motion, moved
from tui.paint import Line, Span, Tone, line
from tui.widgets.lines import Lines


class Page(Lines):
    """Shows lines from an offset that keys move."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._text: Sequence[Line] = ()
        self.more = ""
        """The key for more: the last line in sight says how many follow."""
        self._top = 0

    @property
    def text(self) -> Sequence[Line]:
        """All lines, those out of sight too."""
        return self._text

    def put(self, text: Sequence[Line]) -> None:
        """Replace the text; the offset stays where it was as far as the text allows."""
        self._text = text
        self._top = min(self._top, self._last)
        self._paint()

    def move(self, motion: Motion) -> None:
        """Scroll."""
        page = max(1, self.size.height - 1)
        self._top = moved(motion, self._top, last=self._last, page=page)
        self._paint()

    def on_resize(self) -> None:
        """Keep the end of the text at the end of the room at most."""
        self._top = min(self._top, self._last)
        self._paint()

    @property
    def _last(self) -> int:
        return max(0, len(self._text) - self.size.height)

    def _paint(self) -> None:
        height = self.size.height
        shown = list(self._text[self._top : self._top + height])
        hidden = len(self._text) - self._top - height
        if self.more and hidden > 0 and height > 1:
            shown[-1] = line(Span(f"… {hidden + 1} more lines, {self.more}", Tone.DIM))
        self.show(shown)
