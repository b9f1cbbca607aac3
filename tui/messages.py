"""What workers tell the app; only the handlers of these change what is shown."""

from dataclasses import dataclass

from textual.message import Message

from tui.acts import Act, Answer
from tui.calls import Refusal
from tui.client import Connected, Disconnected, Event
from wire.migration import MigrationDetail


@dataclass
class FromStream(Message):
    """The backend's stream said something."""

    item: Connected | Disconnected | Event


@dataclass
class CurveAnswered(Message):
    """The samples of a migration so far, or why not."""

    answer: MigrationDetail | Refusal


@dataclass
class ActAnswered(Message):
    """What the backend said to an act, or why it refused."""

    act: Act
    answer: Answer | Refusal
