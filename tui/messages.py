"""What workers and screens tell the app; only handlers of these change what is shown."""

from dataclasses import dataclass

from textual.message import Message

from tui.calls import Refusal
from tui.client import Connected, Disconnected, Event
from wire.migration import Migration, MigrationDetail


@dataclass
class FromStream(Message):
    """The backend's stream said something."""

    item: Connected | Disconnected | Event


@dataclass
class Told(Message):
    """A sentence for the notice line."""

    sentence: str


@dataclass
class Commanded(Message):
    """A command was typed after ``:``."""

    text: str


@dataclass
class WantsServers(Message):
    """The servers of one host are to be shown."""

    host_id: str


@dataclass
class WantsMigration(Message):
    """A migration is to be shown."""

    migration_id: str


@dataclass
class WantsTargets(Message):
    """The live-migrate dialog of a server is to be opened."""

    server_id: str


@dataclass
class WantsAbort(Message):
    """The question whether to abort a migration is to be asked."""

    migration_id: str


@dataclass
class WantsCurve(Message):
    """The samples of a migration so far are to be fetched."""

    migration_id: str


@dataclass
class CurveAnswered(Message):
    """The samples so far, or why not."""

    answer: MigrationDetail | Refusal


@dataclass
class AbortAnswered(Message):
    """The migration whose end was asked for, or why not."""

    answer: Migration | Refusal
