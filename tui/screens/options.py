"""Dialogs that show options of migrations, each behind its key."""

from typing import Generic

from tui.desk import Desk
from tui.paint import Tone
from tui.screens.dialog import Dialog, ResultT
from tui.screens.entry import Entry
from tui.views import options
from tui.widgets.lines import Lines
from wire.migration import MigrationOptions


class OptionDialog(Dialog[ResultT], Generic[ResultT]):
    """Keeps options; a key turns one, or asks for its number."""

    DEFAULT_CSS = """
    OptionDialog #options { border-top: solid $rule; }
    """

    def __init__(self, desk: Desk, wanted: MigrationOptions) -> None:
        super().__init__(desk)
        self._options = wanted
        self._option_lines = Lines(id="options")

    def on_resize(self) -> None:
        """Lay the options out for the width."""
        rows = options.option_rows(self.place, self.room)
        # the rule above takes a line
        self._option_lines.styles.height = rows + 1
        self._option_lines.display = rows > 0
        self._show_options()

    def action_option(self, field: str) -> None:
        """Turn an option, or ask for its number."""
        if self._is_busy():
            return
        if isinstance(getattr(self._options, field), bool):
            self._set_options(options.toggled(self._options, field))
            if field in options.CHECKS:
                self._checks_changed()
            return
        if field == "downtime_bound_ms" and not self._options.quickly_finish:
            self._say("the bound is for quickly finish, which f turns on", Tone.WARN)
            return
        title, label = options.number_title(field)
        entry = Entry(
            self.desk,
            title,
            label,
            read=lambda text: options.read_number(self._options, field, text),
            text=options.number_text(self._options, field),
        )
        self.app.push_screen(entry, self._set_options)

    def _is_busy(self) -> bool:
        """Whether options mean nothing any more."""
        return False

    def _checks_changed(self) -> None:
        """Other hosts may fit now."""

    def _say(self, sentence: str, tone: Tone) -> None:
        """Show a sentence."""
        raise NotImplementedError

    def _set_options(self, changed: MigrationOptions | None) -> None:
        if changed is not None:
            self._options = changed
            self._show_options()

    def _show_options(self) -> None:
        self._option_lines.show(options.option_lines(self._options, self.place, self.room))
