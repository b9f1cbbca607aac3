"""What every view has around it: top line, heading, footer, notice and prompt."""

from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget

from tui.actions import bindings, is_dangerous
from tui.desk import Desk
from tui.destinations import completion
from tui.navigator import Navigator
from tui.paint import Line
from tui.places import Place
from tui.store import Changes
from tui.views.keys import footer
from tui.views.topline import top_line
from tui.widgets.lines import Lines
from tui.widgets.notice import Notice
from tui.widgets.prompt import Prompt, Typed


def keys(place: Place) -> list[BindingType]:
    """Bindings of a view: those of its place, and those that are everywhere."""
    return [*bindings(place), *bindings(Place.EVERYWHERE)]


class Frame(Screen[None], inherit_bindings=False):
    """A view that fills the screen."""

    place: ClassVar[Place]
    AUTO_FOCUS = ""
    """Keys are the screen's."""
    DEFAULT_CSS = """
    Frame { layers: base overlay; background: $background; overflow: hidden; }
    Frame > #top, Frame > #heading, Frame > #footer { height: 1; }
    Frame > #footer { dock: bottom; }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.top_line = Lines(id="top")
        self.head_line = Lines(id="heading")
        self.foot_line = Lines(id="footer")
        self.notice = Notice()
        self.prompt = Prompt()

    def compose(self) -> ComposeResult:
        """Top line, heading, the view's own widgets, footer."""
        yield self.top_line
        yield self.head_line
        yield from self.body()
        yield self.foot_line
        yield self.notice
        yield self.prompt

    def body(self) -> Iterator[Widget]:
        """Give the view's own widgets."""
        raise NotImplementedError

    def heading(self, width: int) -> Line:
        """Give the line under the top line."""
        raise NotImplementedError

    def idle_actions(self) -> Collection[str]:
        """Name the actions that make no sense just now, for the footer to leave them out."""
        return ()

    def labels(self) -> Mapping[str, str]:
        """Give words of actions that mean something more exact just now, for the footer."""
        return {}

    def take(self, changes: Changes) -> None:
        """Show what changed."""
        raise NotImplementedError

    def refresh_frame(self) -> None:
        """Bring top line, heading and footer up to date; costs nothing when nothing changed."""
        width = self.size.width
        desk = self.desk
        self.top_line.show([top_line(desk.store, desk.session, width, desk.glyphs)])
        self.head_line.show([self.heading(width)])
        keys = footer(
            self.place,
            width,
            writable=desk.writable,
            without=self.idle_actions(),
            labels=self.labels(),
        )
        self.foot_line.show([keys])

    def _compositor_refresh(self) -> None:
        """Hand what changed behind dialogs to the topmost, which draws for all.

        Textual 8.2.8 would mark this whole screen as changed then, 19 KB/s where 5 will do.
        """
        top = self.app.screen
        if self is top or not self.is_current:
            super()._compositor_refresh()
            return
        regions = set(self._compositor._dirty_regions)  # noqa: SLF001 - nothing public tells them
        self._compositor._dirty_regions.clear()  # noqa: SLF001
        self._dirty_widgets.clear()
        if regions:
            stack = self.app.screen_stack
            for between in stack[stack.index(self) + 1 : -1]:
                between._set_dirty(*regions)  # noqa: SLF001 - it keeps what it drew of this view
            top.refresh(*regions)

    def hush(self) -> None:
        """Take the notice away."""
        self.notice.hide()

    def tell(self, sentence: str) -> None:
        """Show a sentence until the next key, ten seconds at most."""
        self.notice.tell(sentence)

    @property
    def navigator(self) -> Navigator:
        """The app, as far as a view needs it."""
        return cast("Navigator", self.app)

    @property
    def typing(self) -> bool:
        """Whether keys are letters of a filter or a command."""
        return self.prompt.is_open

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """In read-only mode keys that change something are not there."""
        return self.desk.writable or not is_dangerous(action)

    def on_screen_resume(self) -> None:
        """Catch up with what changed while another screen was shown."""
        self.take(Changes(everything=True))
        self.refresh_frame()

    def on_resize(self) -> None:
        """Lay out anew for the new width."""
        self.call_after_refresh(self.on_screen_resume)

    def action_command(self) -> None:
        """Type a command."""
        self.prompt.open("command")

    async def type_key(self, event: events.Key) -> None:
        """Take a key for the filter or the command that is being typed."""
        prompt = self.prompt
        typed = prompt.press(event)
        if prompt.kind == "filter":
            self.filter_typed("" if typed is Typed.DROPPED else prompt.text)
        elif typed is Typed.ACCEPTED and prompt.text.strip():
            await self.navigator.command(prompt.text)
        elif typed is Typed.CHANGED:
            prompt.offer(completion(prompt.text, self.desk.store, writable=self.desk.writable))

    def on_paste(self, event: events.Paste) -> None:
        """Take pasted text while something is being typed."""
        prompt = self.prompt
        if prompt.is_open:
            prompt.insert(event.text)
            if prompt.kind == "filter":
                self.filter_typed(prompt.text)

    def filter_typed(self, text: str) -> None:
        """Show only what a filter lets through; views without rows have none."""
