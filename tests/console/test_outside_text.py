"""Names and errors from guests and hosts are drawn as text, whatever they hold."""

import msgspec
import pytest

from tests.console.acts import audited, make_act
from tests.console.emptying import SCENES
from tui.paint import plain
from tui.text import escape_text
from tui.widgets.lines import Lines
from wire.audit import AuditObject

HOSTILE = ["[red]x", "[link=http://evil]y[/]", "a\x1b[31mb\x07c", "\u202eabc", "数据库-1", "x\ny"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_emptied_may_be_of_any_name(open_console, client, settled, name):
    SCENES["running"](client)
    plan = client.plan_shown
    odd = msgspec.structs.replace(plan.moves[0], server_name=name, target_host_name=name, why=name)
    client.plan_shown = msgspec.structs.replace(
        plan, moves=(odd, *plan.moves[1:]), warnings=(name,)
    )
    first, *others = client.fleet.evacuations
    server = msgspec.structs.replace(first.servers[0], plan=odd, reason=name)
    renamed = msgspec.structs.replace(
        first, host_name=name, servers=(server, *first.servers[1:]), deadline=name
    )
    client.fleet = msgspec.structs.replace(client.fleet, evacuations=(renamed, *others))
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for keys in (["E"], ["escape", "6"], ["1", "j", "E"], ["d"]):
            await pilot.press(*keys)
            await settled(pilot)
            shown = [plain(line) for each in pilot.app.screen.query(Lines) for line in each.lines]
            assert all(text.isprintable() for text in shown)
            assert escape_text(name) in "\n".join(shown)
            assert "\x1b[31m" not in pilot.app.export_screenshot()


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


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_people_did_may_be_of_any_name(open_console, client, settled, name):
    server = AuditObject(kind="server", object_id=name, name=name)
    audited(client, make_act(13, 0, name, "server-forget", server, reason=name))
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for keys in (["colon", *"audit", "enter"], ["enter"]):
            await pilot.press(*keys)
            await settled(pilot)
            shown = [plain(line) for each in pilot.app.screen.query(Lines) for line in each.lines]
            assert all(text.isprintable() for text in shown)
            assert "\n".join(shown).count(escape_text(name)) >= 2
            assert "\x1b[31m" not in pilot.app.export_screenshot()
