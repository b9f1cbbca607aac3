"""One sentence over the foot of the screen: an error, or what was just done."""

from textual.timer import Timer

from tui.paint import Tone, wrap
from tui.widgets.lines import Lines

_SHOWN_S = 10.0


class Notice(Lines):
    """Goes with the next key, or after ten seconds."""

    DEFAULT_CSS = """
    Notice { layer: overlay; dock: bottom; height: auto; display: none; }
    Notice.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._timer: Timer | None = None

    def tell(self, sentence: str) -> None:
        """Show a sentence, on as many lines as it needs."""
        lines = wrap(sentence, self.screen.size.width - 2, Tone.WARN)
        self.styles.height = len(lines)
        self.add_class("-open")
        self.show(lines)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_SHOWN_S, self.hide)

    def hide(self) -> None:
        """Give the footer back."""
        self.remove_class("-open")
