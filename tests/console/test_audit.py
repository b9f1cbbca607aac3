"""The Audit view: the newest first, and nothing moves under the cursor."""

import pytest
from textual.pilot import Pilot

from tests.console.acts import ACTS, audited, make_act
from tui import store
from tui.paint import plain
from wire.errors import ErrorCode, GodwitError
from wire.role import Role


@pytest.fixture
async def pilot(open_console, client, settled):
    audited(client)
    async with open_console().run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        assert ("audit", "") not in client.asked
        await pilot.press("colon", *"audit", "enter")
        await settled(pilot)
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
        await settled(pilot)
        assert len(ids(pilot)) == len(ACTS)


async def open_audit(pilot: Pilot, settled) -> None:
    await pilot.press("colon", *"audit", "enter")
    await settled(pilot)


async def test_all_that_is_kept_is_asked_for_by_each_who_comes(pilot: Pilot, client, settled):
    await pilot.press("1")
    client.acts = [make_act(number, 0, "eve", "rescue-arm") for number in range(20, 500)]
    await open_audit(pilot, settled)
    assert client.asked.count(("audit", "")) == 2
    assert len(ids(pilot)) == 480 + len(ACTS)


async def test_until_all_is_told_the_streams_part_is_not_shown_as_all(
    open_console, client, settled
):
    audited(client)
    client.answering.clear()
    async with open_console().run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        client.say(make_act(99, 0, "dora", "rescue-arm"))
        await pilot.press("colon", *"audit", "enter")
        await pilot.pause(0.7)
        table = pilot.app.screen.table
        assert (ids(pilot), plain(table.lines[2])) == ([], "waiting for the backend")
        client.answering.set()
        await settled(pilot)
        assert len(ids(pilot)) == len(ACTS) + 1
        assert table.cursor_id == ids(pilot)[0]


async def test_a_refusal_is_shown_and_asked_again_after(open_console, client, settled):
    audited(client)
    client.refusal = GodwitError(ErrorCode.ETCD_UNREACHABLE, "the audit is not known now: x")
    async with open_console().run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await open_audit(pilot, settled)
        screen = pilot.app.screen
        assert plain(screen.table.lines[2]) == plain(screen.notice.lines[0]).strip()
        assert "not known now: x" in plain(screen.table.lines[2])
        client.refusal = None
        await pilot.pause(0.7)
        await settled(pilot)
        assert len(ids(pilot)) == len(ACTS)


async def test_what_a_gap_of_the_stream_left_out_is_asked_for(pilot: Pilot, client, settled):
    await pilot.press("j")
    row = pilot.app.screen.table.cursor_id
    client.acts.insert(0, make_act(99, 0, "dora", "rescue-arm"))
    client.say(client.fleet, "snapshot")
    await pilot.pause(0.7)
    await settled(pilot)
    assert len(ids(pilot)) == len(ACTS) + 1
    assert pilot.app.screen.table.cursor_id == row


async def test_no_more_stay_than_the_backend_keeps(pilot: Pilot, client, monkeypatch):
    monkeypatch.setattr(store, "KEPT", len(ACTS))
    client.say(make_act(99, 0, "dora", "rescue-arm"))
    await pilot.pause(0.7)
    assert ids(pilot)[1:] == [each.entry_id for each in ACTS[:-1]]
