"""What workers tell the app; only the handlers of these change what is shown."""

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
class CurveAnswered(Message):
    """The samples of a migration so far, or why not."""

    answer: MigrationDetail | Refusal


@dataclass
class AbortAnswered(Message):
    """The migration whose end was asked for, or why not."""

    answer: Migration | Refusal
