"""What every screen of the console shares: the fleet, the backend, and how things are drawn."""

import time
from dataclasses import dataclass, field

from tui.client import Client
from tui.plot import GraphStyle
from tui.store import Store
from tui.views.glyphs import Glyphs, glyphs_of
from tui.views.topline import Session
from wire.migration import Migration
from wire.role import Role


@dataclass
class Desk:
    """One operator's place of work."""

    client: Client
    address: str
    """The backend's, for the top line."""
    read_only_wanted: bool = False
    graph: GraphStyle = GraphStyle.BRAILLE
    store: Store = field(default_factory=Store)
    paused: bool = False
    started: set[str] = field(default_factory=set)
    """Ids of the migrations that were started here."""

    @property
    def now_ms(self) -> int:
        """Unix time in ms, to say how long ago something was."""
        return int(time.time() * 1000)

    @property
    def glyphs(self) -> Glyphs:
        """The marks that go with the style of the graphs."""
        return glyphs_of(self.graph)

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed from here: by choice, or by the token's role."""
        return self.read_only_wanted or self.store.role is Role.VIEWER

    @property
    def writable(self) -> bool:
        """Whether the keys that change something exist; not before the backend said who we are."""
        return not self.read_only_wanted and self.store.role is Role.OPERATOR

    @property
    def session(self) -> Session:
        """What the top line says of us."""
        return Session(address=self.address, read_only=self.read_only, paused=self.paused)

    def running_here(self) -> list[Migration]:
        """List the migrations that were started here and have not ended."""
        return [each for each in self.store.under_way() if each.migration_id in self.started]
