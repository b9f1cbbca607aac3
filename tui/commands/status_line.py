"""Lines on stderr as things happen, and one below them that is rewritten on a terminal."""

import sys
from typing import IO

from rich.cells import cell_len, set_cell_size

from tui.commands.output import terminal_width
from tui.text import escape_text

_CLEAR = "\r\x1b[K"


class StatusLine:
    """What a wait writes. Elsewhere than on a terminal only whole lines are written."""

    def __init__(self, stream: IO[str] | None, what: str) -> None:
        """``what`` goes on when the connection breaks: ``the migration``."""
        self._stream = stream or sys.stderr
        self._width = terminal_width(self._stream)
        self._what = what
        self._broken = False

    @property
    def rewrites(self) -> bool:
        """Whether there is a line that can be rewritten."""
        return self._width is not None

    def line(self, text: str) -> None:
        """Write a line that stays."""
        start = _CLEAR if self.rewrites else ""
        self._stream.write(f"{start}{escape_text(text)}\n")
        self._stream.flush()

    def redraw(self, text: str) -> None:
        """Write the last line anew."""
        if self._width is None:
            return
        shown = escape_text(text)
        if cell_len(shown) >= self._width:
            shown = set_cell_size(shown, self._width - 1)
        self._stream.write(_CLEAR + shown)
        self._stream.flush()

    def on_link(self, reason: str) -> None:
        """Say once that the connection broke, and once that it is back."""
        if bool(reason) == self._broken:
            return
        self._broken = bool(reason)
        if reason:
            self.line(f"{reason}; {self._what} goes on, and so does the wait for it")
        else:
            self.line("connected again")

    def close(self) -> None:
        """Take the rewritten line away."""
        if self.rewrites:
            self._stream.write(_CLEAR)
            self._stream.flush()
