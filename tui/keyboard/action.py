"""One thing that a key does."""

import msgspec

from tui.places import Place


class Action(msgspec.Struct, frozen=True):
    """One thing that a key does."""

    run: str
    """Textual's action: a method ``action_…`` of the screen, or of the app after ``app.``."""
    keys: str
    """Textual's key names, with commas between."""
    places: tuple[Place, ...]
    label: str = ""
    """A word or two for the footer."""
    help: str = ""
    """One sentence for the help; empty where another action's sentence speaks for this one."""
    shown: str = ""
    """The keys as footer and help write them; empty for the first of ``keys``."""
    footer: int = 0
    """Rank in the footer, 1 first; 0 if not there."""
    dangerous: bool = False
    """It changes something: in read-only mode the key does not exist."""

    @property
    def key_text(self) -> str:
        """The keys as footer and help write them."""
        return self.shown or self.keys.partition(",")[0]
