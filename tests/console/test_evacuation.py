"""A host while it is emptied, and its report: what is shown, and how it is steered."""

import msgspec
import pytest

from tests.console.emptying import MOVES, NOON_MS, SCENES, course, forecast, host_id, server_id
from tui import evacuation_acts as acts
from tui.paint import plain
from tui.plot import GraphStyle
from tui.screens.choice import ChoiceDialog
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.evacuation import EvacuationScreen
from tui.screens.evacuations import EvacuationsScreen
from tui.screens.migration import MigrationScreen
from tui.screens.plan_edit import PlanLiveDialog
from tui.views.convergence import convergence, dirty_ratio
from tui.views.evacuation import columns as evacuation_columns
from tui.views.evacuation import progress
from tui.views.evacuation_totals import total_lines
from tui.views.forecast import forecast_fields
from tui.views.glyphs import UNICODE
from tui.widgets.lines import Lines
from wire.console import MigrationSample, Role
from wire.evacuation import (
    EvacuationChange,
    EvacuationKind,
    EvacuationState,
    MoveOptions,
    MoveState,
    PlanEdit,
    Way,
)
from wire.forecast import Ease

MIB = 1 << 20
ID = "e7a10b52"
SIZE = (120, 40)
changed = msgspec.structs.replace


def text_of(pilot, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


def row(pilot, name: str) -> str:
    return next(each for each in text_of(pilot, "#table").splitlines() if each.startswith(name))


async def press(pilot, settled, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


@pytest.fixture
def at_noon(monkeypatch):
    monkeypatch.setattr("tui.desk.time.time", lambda: NOON_MS / 1000)


@pytest.fixture
def scene():
    return "running"


@pytest.fixture
async def pilot(open_console, client, settled, at_noon, scene):
    """The evacuation of kvm-01 is shown, opened from its host."""
    SCENES[scene](client)
    async with open_console().run_test(size=SIZE) as opened:
        await settled(opened)
        await press(opened, settled, "6", "enter")
        yield opened


async def on(pilot, settled, name: str) -> None:
    """Put the cursor on a server."""
    await press(
        pilot, settled, "slash", *[{"-": "minus"}.get(each, each) for each in name], "enter"
    )


async def test_the_whole_stands_above(pilot):
    assert "3 of 12 gone in 1 min 30 s" in text_of(pilot, "#heading")
    pane = text_of(pilot, "#pane")
    assert "3 left, 2 moving, 2 waiting, 1 failed, 1 cancelled, 3 stayed" in pane
    assert "done in 3 min 15 s, at 12:03 (12:02 to 12:05)" in pane
    # by the newest sample, not by what the evacuation said last
    assert "47 MiB/s of 47.7 MiB/s measured, 99 % used" in pane
    assert "✖ by 12:30: not empty in time: gpu-1 and big-1 stay" in pane
    assert "cache-1 failed twice" in pane


def test_a_deadline_says_when_it_is_and_whether_it_can_be_kept():
    told = "empty in time: it takes 4 min, at the latest 6 min, and 29 min are left"
    kept = course(deadline=told, meets_deadline=True)
    lines = [plain(each) for each in total_lines(kept, 160, NOON_MS, UNICODE)]
    assert f"✔ by 12:30: {told}" in lines


@pytest.mark.parametrize(
    ("kind", "word"), [(EvacuationKind.RESCUE, "rescued"), (EvacuationKind.RETURN, "back")]
)
async def test_a_row_says_gone_in_the_words_of_the_whole(pilot, client, settled, kind, word):
    client.say(course(kind=kind))
    await pilot.pause(0.05)
    await settled(pilot)
    await press(pilot, settled, "g")
    assert f"✔ {word}" in row(pilot, "web-1")
    assert f"✔ {word}" in text_of(pilot, "#details").splitlines()[0]
    assert f"3 {word}" in text_of(pilot, "#pane")


async def test_each_server_says_where_it_is(pilot):
    assert "moving" in row(pilot, "db-1")
    assert "pass 6" in row(pilot, "db-1")
    assert "preparing" in row(pilot, "old-1")
    assert "for the link: db-1" in row(pilot, "files-1")
    assert "kvm-02 does not answer" in row(pilot, "cache-1")
    assert "paused 52 ms, as forecast" in row(pilot, "web-1")


async def test_the_cursor_begins_at_what_moves(pilot):
    assert pilot.app.screen.table.cursor_row.plan.server_name == "db-1"


async def test_curves_so_far_are_fetched_once(pilot, client, settled):
    fetched = [what for name, what in client.asked if name == "migration"]
    assert sorted(fetched) == ["3f000003", "3f000031"]
    await press(pilot, settled, "j", "k")
    assert len([name for name, _ in client.asked if name == "migration"]) == 2


async def test_a_new_sample_changes_its_line_alone(pilot, client, settled):
    before = text_of(pilot, "#table").splitlines()
    last = client.samples[-1]
    sample = changed(last, elapsed_ms=last.elapsed_ms + 250, memory_remaining_bytes=3 * MIB)
    client.say(MigrationSample(migration_id="3f000003", sample=sample))
    await pilot.pause(0.05)
    await settled(pilot)
    after = text_of(pilot, "#table").splitlines()
    differing = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [each[:4] for each in differing] == ["db-1"]
    assert "3 MiB left" in differing[0]


async def test_rows_keep_their_place_when_it_is_planned_anew(pilot, client, settled):
    names = [each.split()[0] for each in text_of(pilot, "#table").splitlines()]
    servers = client.fleet.evacuations[0].servers
    client.say(course(servers=servers[::-1]))
    await pilot.pause(0.05)
    await settled(pilot)
    assert [each.split()[0] for each in text_of(pilot, "#table").splitlines()] == names


@pytest.mark.parametrize(
    ("keys", "act", "body"),
    [
        ("Py", "pause", None),
        ("Cy", "cancel", ()),
        ("Xy", "cancel", (server_id(3),)),
        ("Ny", "replan", None),
    ],
)
async def test_a_key_asks_and_steers(pilot, client, settled, keys, act, body):
    await press(pilot, settled, keys[0])
    assert isinstance(pilot.app.screen, Question)
    assert all(name == "migration" for name, _ in client.asked)
    await press(pilot, settled, keys[1])
    assert client.asked[-1] == (act, ID)
    assert client.bodies[-1] == body


@pytest.mark.parametrize("scene", ["paused"])
async def test_what_is_paused_says_so_and_goes_on(pilot, client, settled):
    assert "▲ kvm-01 paused, 4 to go" in text_of(pilot, "#top")
    assert "✖ by 12:30: not empty in time" in text_of(pilot, "#pane")
    assert "P Resume moves" in text_of(pilot, "#footer")
    await press(pilot, settled, "P", "y")
    assert client.asked[-1] == ("resume", ID)


def facts_of(wanted) -> str:
    return "\n".join(f"{label}: {span.text}" for label, span in wanted.facts)


def test_a_cancel_tells_only_of_what_there_is():
    def state(old, new):
        return tuple(
            changed(each, state=new) if each.state is old else each for each in course().servers
        )

    told = facts_of(acts.cancel_all(course(servers=state(MoveState.WAITING, MoveState.LEFT))))
    assert "stop: db-1, old-1" in told
    assert "never begin" not in told
    told = facts_of(acts.cancel_all(course(servers=state(MoveState.MOVING, MoveState.LEFT))))
    assert "never begin: 2 servers" in told
    assert "stop" not in told


def test_a_pause_that_ends_counts_what_waits_in_whole_sentences():
    servers = course().servers
    one = tuple(each for each in servers if each.plan.server_name == "hot-1")
    wanted = acts.hold(course(state=EvacuationState.PAUSED, servers=one))
    assert facts_of(wanted) == "then: as the link allows, what waits begins: 1 server"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("db-1", "the move of db-1 is being cancelled"),
        ("hot-1", "hot-1 stays on kvm-01: its move never begins"),
    ],
)
def test_a_cancelled_server_is_told_as_it_is(name, told):
    server = next(each for each in course().servers if each.plan.server_name == name)
    assert acts.cancel_one(course(), server).done(None) == told


async def test_the_keys_of_a_plans_targets_promise_no_question(pilot, settled):
    await on(pilot, settled, "hot-1")
    await press(pilot, settled, "E", "question_mark")
    shown = text_of(pilot, "#page")
    assert "Plan the server anew with this target" in shown
    assert "question follows" not in shown


async def test_retry_asks_whether_one_or_all(pilot, client, settled):
    await on(pilot, settled, "cache-1")
    await press(pilot, settled, "R")
    assert isinstance(pilot.app.screen, ChoiceDialog)
    await press(pilot, settled, "enter")
    assert client.asked[-1] == ("retry", ID)
    assert client.bodies[-1] == (server_id(22),)
    await press(pilot, settled, "R", "j", "enter")
    assert client.bodies[-1] == ()


async def test_bandwidth_and_deadline_are_typed(pilot, client, settled):
    await press(pilot, settled, "B")
    assert isinstance(pilot.app.screen, Entry)
    await press(pilot, settled, *"20", "enter")
    assert client.bodies[-1] == EvacuationChange(max_bandwidth_bytes_per_s=20 * MIB)
    await press(pilot, settled, "D", *"13", "colon", *"00", "enter")
    assert client.bodies[-1] == EvacuationChange(empty_by_ms=NOON_MS + 3_600_000)


@pytest.mark.parametrize("scene", ["paused"])
async def test_a_cap_is_taken_away_by_no_number(pilot, client, settled):
    await press(pilot, settled, "B", "ctrl+u", "enter")
    assert client.bodies[-1] == EvacuationChange(no_bandwidth_limit=True)


async def test_a_server_that_waits_is_planned_otherwise(pilot, client, settled):
    await on(pilot, settled, "hot-1")
    await press(pilot, settled, "F", "y")
    assert client.bodies[-1].edits == (PlanEdit(server=server_id(25), first=True),)
    await press(pilot, settled, "S", "y")
    assert client.bodies[-1].edits == (PlanEdit(server=server_id(25), way=Way.STAYS),)
    await press(pilot, settled, "E")
    assert isinstance(pilot.app.screen, PlanLiveDialog)
    await press(pilot, settled, "t", "j", "enter")
    (edit,) = client.bodies[-1].edits
    assert edit.target == host_id(5)
    assert edit.options == MoveOptions(enable_tls=True)


async def test_what_moves_is_not_planned_otherwise(pilot, client, settled):
    footer = text_of(pilot, "#footer")
    assert "E Change" not in footer
    before = len(client.bodies)
    await press(pilot, settled, "E", "S", "F")
    assert isinstance(pilot.app.screen, EvacuationScreen)
    assert len(client.bodies) == before


async def test_enter_opens_the_move(pilot, settled):
    await press(pilot, settled, "enter")
    assert isinstance(pilot.app.screen, MigrationScreen)
    await press(pilot, settled, "escape")
    assert isinstance(pilot.app.screen, EvacuationScreen)


async def test_the_host_is_marked_and_leads_there(pilot, settled):
    await press(pilot, settled, "1")
    assert "◐ 4 to leave" in row(pilot, "kvm-01")
    assert "E Evacuation" in text_of(pilot, "#footer")
    assert "◐ kvm-01, 4 to go" in text_of(pilot, "#top")
    await press(pilot, settled, "E")
    assert isinstance(pilot.app.screen, EvacuationScreen)


async def test_a_command_opens_it(pilot, settled):
    keys = ["colon", *"evacuation", "space", *"kvm", "minus", *"01", "enter"]
    await press(pilot, settled, "1", *keys)
    assert isinstance(pilot.app.screen, EvacuationScreen)


async def test_the_list_shows_the_latest_first(pilot, settled):
    await press(pilot, settled, "6")
    assert isinstance(pilot.app.screen, EvacuationsScreen)
    rows = text_of(pilot, "#table").splitlines()[1:3]
    assert [each.split()[0] for each in rows] == ["kvm-01", "kvm-03"]
    assert "2 of 2" not in rows[0]


@pytest.mark.parametrize("scene", ["ended"])
async def test_the_end_is_a_report(pilot):
    pane = text_of(pilot, "#pane")
    assert "7 left, 1 failed, 1 cancelled, 3 stayed" in pane
    assert "ended after 4 min 21 s; its plan said 4 min 00 s" in pane
    assert "longest pause 1.5 s (hot-1)" in pane
    assert "still on kvm-01: cache-1, build-1, gpu-1, big-1, pet-1" in pane
    assert "paused 188 ms, not 60 ms" in row(pilot, "mail-1")
    footer = text_of(pilot, "#footer")
    assert "P Pause" not in footer
    assert "R Retry" in footer


@pytest.mark.parametrize(("back", "told"), [(False, "is empty"), (True, "Back on kvm-01 since: ")])
def test_an_end_calls_no_host_empty_that_something_has_come_back_to(back, told):
    servers = tuple(
        changed(each, state=MoveState.LEFT, returned=back and place == 0)
        for place, each in enumerate(course().servers)
    )
    over = course(state=EvacuationState.ENDED, servers=servers, ended_at_ms=NOON_MS)
    drawn = total_lines(over, 200, NOON_MS, UNICODE)
    text = " ".join(plain(each) for each in drawn)
    assert told in text
    assert ("is empty" in text) is not back


@pytest.mark.parametrize(
    ("ease", "told"), [(Ease.HEAVY, "slows it down by up to 40 %"), (Ease.STUCK, "no shorter than")]
)
def test_a_forecast_tells_how_far_its_guest_is_slowed_down(ease, told):
    fields = forecast_fields(forecast(ease, throttle_percent=40, floor_ms=900), UNICODE)
    text = " ".join(span.text for _, span in fields)
    assert told in text
    assert ("slows it down" in text) is (ease is Ease.HEAVY)
    assert ("no shorter than" in text) is (ease is Ease.STUCK)


async def test_read_only_has_no_key_that_steers(open_console, client, make, settled, at_noon):
    client.fleet = make["fleet"](Role.VIEWER)
    SCENES["running"](client)
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, settled, "6", "enter", *"PCXRNBDESF")
        assert isinstance(pilot.app.screen, EvacuationScreen)
        assert {name for name, _ in client.asked} == {"migration"}
        assert "Cancel" not in text_of(pilot, "#footer")


def test_a_line_that_converges_falls_and_says_so(client, make, fleet):
    samples = client.samples
    moving = fleet.migrations[0]
    drawn = convergence(moving, samples, 20, GraphStyle.BLOCK, UNICODE)
    curve = drawn.text[:13]
    assert curve[0] == "█"
    assert curve.rstrip()[-1] in "▁▂"
    assert "✔ 0.7" in drawn.text
    busier = [changed(each, dirty_bytes_per_s=90 * MIB) for each in samples]
    worse = convergence(moving, busier, 20, GraphStyle.BLOCK, UNICODE)
    assert "▲ 1.9" in worse.text
    assert worse.tone != drawn.tone


def test_nothing_is_drawn_of_what_nobody_knows(client, fleet):
    assert convergence(None, (), 20, GraphStyle.BRAILLE, UNICODE).text == ""
    assert convergence(fleet.migrations[1], (), 20, GraphStyle.BRAILLE, UNICODE).text == ""
    assert dirty_ratio(fleet.migrations[0], ()) is None


def test_a_move_that_is_not_heard_of_says_so(fleet):
    server = course().servers[5]
    silent = changed(fleet.migrations[0], stalled_reason="kvm-01 does not answer")
    assert progress(server, silent, ()).text == "kvm-01 does not answer"
    assert progress(server, None, ()).text == "has begun"


def test_pauses_are_sorted_as_numbers():
    columns = evacuation_columns(
        style=GraphStyle.ASCII,
        glyphs=UNICODE,
        move_of=lambda _: (None, ()),
        place_of=lambda _: 1,
        kind_of=lambda: EvacuationKind.EVACUATE,
    )
    pause = next(each for each in columns if each.title == "PAUSE")
    servers = [changed(course().servers[0], downtime_ms=each) for each in (None, 188, 1_100)]
    assert sorted(servers, key=pause.order) == servers


def test_what_took_longer_than_its_forecast_says_so():
    late = changed(course().servers[0], ended_at_ms=NOON_MS)
    assert progress(late, None, ()).text == "1:30 of 0:12 at most, paused 52 ms"


@pytest.mark.parametrize(
    ("took_ms", "pause_ms", "told"),
    [
        (9_000, 60, "paused 60 ms, as forecast"),
        (9_000, 71, "paused 71 ms, not 60 ms"),
        (7_000, 52, "paused 52 ms, sooner"),
        (7_000, 71, "paused 71 ms, not 60 ms"),
    ],
)
def test_only_what_came_as_forecast_is_called_so(took_ms, pause_ms, told):
    first = course().servers[0]
    ended = first.started_at_ms + took_ms
    server = changed(first, ended_at_ms=ended, downtime_ms=pause_ms)
    assert progress(server, None, ()).text == told


def test_bytes_are_held_against_their_forecast_and_nothing_where_no_link_was_measured():
    first = course().servers[0]
    forecast = changed(first.forecast, sent_bytes=139 << 20)
    more = changed(first, sent_bytes=1_900 << 20, forecast=forecast)
    assert progress(more, None, ()).text == "paused 52 ms, 1.9 GiB sent, not 139 MiB"
    blind = changed(more, forecast=changed(forecast, link_seen=False), downtime_ms=442)
    assert progress(blind, None, ()).text == "paused 442 ms; its link had not been measured"


def test_the_pause_is_held_against_nothing_where_no_forecast_was(fleet):
    server = changed(course().servers[0], forecast=None, plan=changed(MOVES[0], forecast=None))
    assert progress(server, None, ()).text == "took 0:09"


@pytest.mark.parametrize("name", list(acts.MAKERS))
def test_an_ended_evacuation_is_only_retried(name, fleet):
    servers = tuple(
        changed(each, state=MoveState.FAILED if place else MoveState.LEFT)
        for place, each in enumerate(course().servers)
    )
    ended = course(state=EvacuationState.ENDED, servers=servers)
    wanted = acts.MAKERS[name](None, ended, ended.servers[0], NOON_MS)
    assert isinstance(wanted, str) is (name != "retry")


def test_a_return_speaks_of_what_is_back():
    servers = tuple(changed(each, state=MoveState.LEFT) for each in course().servers[:2])
    back = course(
        kind=EvacuationKind.RETURN,
        state=EvacuationState.ENDED,
        servers=servers,
        ended_at_ms=NOON_MS,
    )
    text = "\n".join(plain(each) for each in total_lines(back, 100, NOON_MS, UNICODE))
    assert "2 back" in text
    assert "maintenance" not in text
