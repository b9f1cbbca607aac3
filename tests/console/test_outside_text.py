"""Names and errors from guests and hosts are drawn as text, whatever they hold."""

import msgspec
import pytest

from tui.paint import plain
from tui.text import escape_text
from tui.widgets.lines import Lines

HOSTILE = ["[red]x", "[link=http://evil]y[/]", "a\x1b[31mb\x07c", "\u202eabc", "数据库-1", "x\ny"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_server_of_any_name_is_drawn_as_text(open_console, client, make, settled, name):
    server = make["server"](1, name, 1, status_reason=f"{name} is odd")
    host = make["host"](1, name=name)
    failed = msgspec.structs.replace(
        client.fleet.migrations[1], server_name=name, error=f"{name}\n{name}", outcome=name
    )
    client.fleet = msgspec.structs.replace(
        client.fleet, servers=(server,), hosts=(host,), migrations=(failed,)
    )
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for keys in (["1"], ["2"], ["d"], ["d", "M"], ["escape", "3"], ["enter"]):
            await pilot.press(*keys)
            await settled(pilot)
            shown = [plain(line) for each in pilot.app.screen.query(Lines) for line in each.lines]
            assert all(text.isprintable() for text in shown)
            assert "\x1b[31m" not in pilot.app.export_screenshot()
        text = "\n".join(shown)
        assert escape_text(name) in text
