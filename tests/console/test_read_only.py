import pytest

from tui.paint import plain
from tui.screens.servers import ServersScreen
from tui.widgets.lines import Lines
from wire.console import BackendStatus, Role


def top_line(pilot) -> str:
    return plain(pilot.app.screen.query_one("#top", Lines).lines[0])


@pytest.fixture(params=["asked_for", "by_role"])
def read_only_console(request, open_console, client, make):
    if request.param == "by_role":
        client.fleet = make["fleet"](Role.VIEWER)
    return open_console(read_only_wanted=request.param == "asked_for")


async def test_acting_keys_are_not_there(read_only_console, client, settled):
    async with read_only_console.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "READ-ONLY" in top_line(pilot)
        await pilot.press("2", "G", "M")
        assert isinstance(pilot.app.screen, ServersScreen)
        await pilot.press("g", "j", "X")
        assert isinstance(pilot.app.screen, ServersScreen)
        assert client.asked == []
        footer = plain(pilot.app.screen.query_one("#footer", Lines).lines[0])
        assert "Live-migrate" not in footer
        assert "Abort" not in footer
        await pilot.press("question_mark")
        text = "\n".join(plain(each) for each in pilot.app.screen.query_one("#page").text)
        assert "Read-only: no key changes anything." in text
        assert "Abort" not in text


async def test_an_operator_has_no_badge(open_console, settled):
    async with open_console().run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "READ-ONLY" not in top_line(pilot)
        await pilot.press("2")
        assert "Live-migrate" in plain(pilot.app.screen.query_one("#footer", Lines).lines[0])


async def test_a_role_that_changes_takes_the_keys_away_at_once(open_console, client, settled):
    async with open_console().run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("2", "G")
        client.say(BackendStatus(version="1", role=Role.VIEWER, token_name="eve", etcd_ok=True))
        await pilot.pause(0.1)
        await pilot.press("M")
        assert isinstance(pilot.app.screen, ServersScreen)
