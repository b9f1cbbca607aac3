"""What every view has around it: top line, heading, footer, notice and prompt."""

from collections.abc import Iterator
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.suggester import Suggester
from textual.widget import Widget

from tui.actions import Place, bindings, is_dangerous
from tui.desk import Desk
from tui.destinations import completion
from tui.navigator import Navigator
from tui.paint import Line
from tui.store import Changes
from tui.views.keys import footer
from tui.views.topline import top_line
from tui.widgets.lines import Lines
from tui.widgets.notice import Notice
from tui.widgets.prompt import Prompt


def keys(place: Place) -> list[BindingType]:
    """Bindings of a view: those of its place, and those that are everywhere."""
    return [*bindings(place), *bindings(Place.EVERYWHERE)]


class Frame(Screen[None], inherit_bindings=False):
    """A view that fills the screen."""

    place: ClassVar[Place]
    AUTO_FOCUS = ""
    """Keys are the screen's; only an open prompt takes the focus."""
    DEFAULT_CSS = """
    Frame { layers: base overlay; background: $background; }
    Frame > #top, Frame > #heading, Frame > #footer { height: 1; }
    Frame > #footer { dock: bottom; }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def compose(self) -> ComposeResult:
        """Top line, heading, the view's own widgets, footer."""
        yield Lines(id="top")
        yield Lines(id="heading")
        yield from self.body()
        yield Lines(id="footer")
        yield Notice()
        yield Prompt(_Commands(self.desk))

    def body(self) -> Iterator[Widget]:
        """Give the view's own widgets."""
        raise NotImplementedError

    def heading(self, width: int) -> Line:
        """Give the line under the top line."""
        raise NotImplementedError

    def idle_action(self) -> str:
        """Name an action that makes no sense just now, for the footer to leave it out."""
        return ""

    def take(self, changes: Changes) -> None:
        """Show what changed."""
        raise NotImplementedError

    def refresh_frame(self) -> None:
        """Bring top line, heading and footer up to date; costs nothing when nothing changed."""
        width = self.size.width
        desk = self.desk
        self.query_one("#top", Lines).show([top_line(desk.store, desk.session, width, desk.glyphs)])
        self.query_one("#heading", Lines).show([self.heading(width)])
        keys = footer(self.place, width, writable=desk.writable, without=self.idle_action())
        self.query_one("#footer", Lines).show([keys])

    def hush(self) -> None:
        """Take the notice away."""
        self.query_one(Notice).hide()

    def tell(self, sentence: str) -> None:
        """Show a sentence until the next key, ten seconds at most."""
        self.query_one(Notice).tell(sentence)

    @property
    def navigator(self) -> Navigator:
        """The app, as far as a view needs it."""
        return cast("Navigator", self.app)

    @property
    def typing(self) -> bool:
        """Whether keys are letters of a filter or a command."""
        return self.query_one(Prompt).is_open

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """In read-only mode keys that change something are not there."""
        return not self.typing and (self.desk.writable or not is_dangerous(action))

    def on_screen_resume(self) -> None:
        """Catch up with what changed while another screen was shown."""
        self.take(Changes(everything=True))
        self.refresh_frame()

    def on_resize(self) -> None:
        """Lay out anew for the new width."""
        self.call_after_refresh(self.on_screen_resume)

    def action_command(self) -> None:
        """Type a command."""
        self.query_one(Prompt).open("command")

    @on(Prompt.Closed)
    async def prompt_closed(self, event: Prompt.Closed) -> None:
        """Carry a command out."""
        self.set_focus(None)
        if event.kind == "command" and event.accepted and event.text.strip():
            await self.navigator.command(event.text)


class _Commands(Suggester):
    def __init__(self, desk: Desk) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._desk = desk

    async def get_suggestion(self, value: str) -> str | None:
        """Complete a command."""
        return completion(value, self._desk.store)
