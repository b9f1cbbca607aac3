"""The Audit view: the newest first, and nothing moves under the cursor."""

import pytest
from textual.pilot import Pilot

from tests.console.acts import ACTS, audited, make_act
from tui.paint import plain
from wire.role import Role


@pytest.fixture
async def pilot(open_console, client, settled):
    audited(client)
    async with open_console().run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"audit", "enter")
        yield pilot


def ids(pilot: Pilot) -> list[str]:
    return list(pilot.app.screen.table.listing.ids)


def text(pilot: Pilot) -> str:
    return "\n".join(plain(each) for each in pilot.app.screen.details.text)


async def test_the_newest_is_first_and_under_the_cursor(pilot: Pilot):
    assert ids(pilot) == [each.entry_id for each in ACTS]
    assert pilot.app.screen.table.cursor_id == ACTS[0].entry_id
    assert "prefer host" in text(pilot)
    assert "100 MiB/s" in text(pilot)
    assert "alice (operator)" in text(pilot)


async def test_a_new_act_comes_on_top_and_moves_nothing_under_the_cursor(pilot: Pilot, client):
    await pilot.press("j", "j")
    screen = pilot.app.screen
    row = screen.table.cursor_id
    line = next(y for y, each in enumerate(screen.table.lines) if "set-live" in plain(each))
    client.say(make_act(99, 0, "dora", "rescue-arm"))
    await pilot.pause(0.7)
    assert len(ids(pilot)) == len(ACTS) + 1
    assert screen.table.cursor_id == row
    assert "set-live" in plain(screen.table.lines[line])
    await pilot.press("g")
    assert "dora (operator)" in text(pilot)


@pytest.mark.parametrize(
    ("typed", "count"), [("bob", 4), ("kvm-03", 2), ("storage switch", 1), ("!db-1", 5)]
)
async def test_the_filter_finds_people_objects_and_parameters(pilot: Pilot, typed, count):
    await pilot.press("slash", *typed)
    assert len(ids(pilot)) == count


async def test_it_is_there_for_who_may_only_look(open_console, client, make, settled):
    client.fleet = make["fleet"](Role.VIEWER)
    audited(client)
    async with open_console().run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"audit", "enter")
        assert len(ids(pilot)) == len(ACTS)
