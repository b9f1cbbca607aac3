"""How the console looks and draws: its themes, its rules in ASCII, and only cells that changed."""

from typing import Any, ClassVar

from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.binding import BindingType
from textual.reactive import Reactive
from textual.screen import Screen
from textual.theme import Theme

from tui.repaint import CellUpdate
from tui.themes import THEMES


class Appearance(App[None], inherit_bindings=False):
    """What of an app concerns its looks alone."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    .-ascii Dialog > #box { border: ascii $primary; }
    .-ascii #details, .-ascii #verdicts, .-ascii #options { border-top: ascii $rule; }
    .-ascii #pane { border-bottom: ascii $rule; }
    .-ascii .-wide #details, .-ascii .-wide #report { border-top: none; border-left: ascii $rule; }
    .-ascii .-zoomed #details { border: none; }
    .-ascii .-bare #report { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []
    # known before the first parse of the style sheet, and not told of as a change after it
    theme: Reactive[str] = Reactive(THEMES[0].name, init=False)

    def __init__(self) -> None:
        super().__init__()
        self.animation_level = "none"

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Our own, by name."""
        return {theme.name: theme for theme in THEMES}

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write only the cells that changed."""
        if isinstance(renderable, ChopsUpdate):
            renderable = CellUpdate.of(renderable)
        super()._display(screen, renderable)

    def get_default_screen(self) -> Screen[None]:
        """An empty screen below all views, never seen."""
        return Screen(id="_default")
