"""A pane of lines that repaints only the cells that changed."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.paint import IN_ASCII, Line, Span, Tone, changed_columns, width_of
from tui.text import escape_text
from tui.tones import style_of


class Lines(Widget):
    """Shows lines from its top; what does not fit is cut off at the right and below."""

    DEFAULT_CSS = "Lines { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()
        self._styles: dict[Tone, Style] = {}
        self._theme = ""

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown now."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines; only cells that differ are painted again."""
        before, self._lines = self._lines, tuple(_safe(each) for each in lines)
        if not self.is_attached:
            return
        width, height = self.size
        for y in range(min(height, max(len(before), len(self._lines)))):
            old = before[y] if y < len(before) else ()
            new = self._lines[y] if y < len(self._lines) else ()
            if old is new or old == new:
                continue
            for first, end in changed_columns(old, new):
                if first < width:
                    self.refresh(Region(first, y, min(end, width) - first, 1))

    def render_line(self, y: int) -> Strip:
        """Draw one line; every segment has a style, as NO_COLOR needs."""
        width = self.size.width
        base = self._style_of(Tone.PLAIN)
        if y >= len(self._lines):
            return Strip.blank(width, base)
        parts = [span for span in self._lines[y] if span.text]
        if self.app.has_class("-ascii"):
            parts = [Span(text.translate(IN_ASCII), tone) for text, tone in parts]
        segments = [Segment(text, self._style_of(tone)) for text, tone in parts]
        strip = Strip(segments, sum(width_of(text) for text, _ in parts))
        return strip.adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Forget how tones looked; another theme paints every line anew."""
        super().notify_style_update()
        self._styles.clear()
        if self._theme and self._theme != self.app.theme:
            self.refresh()

    def _style_of(self, tone: Tone) -> Style:
        if tone not in self._styles:
            self._theme = self.app.theme
            self._styles[tone] = self.rich_style + style_of(tone, self.app.theme_variables)
        return self._styles[tone]


def _safe(parts: Line) -> Line:
    """Escape what came from outside: every text of the console passes here."""
    if all(text.isprintable() for text, _ in parts):
        return parts
    return tuple(Span(escape_text(text), tone) for text, tone in parts)
