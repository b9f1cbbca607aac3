"""Emptying a host by keyboard: its plan, what is changed in it, the start, and what it became."""

import msgspec
import pytest

from tests.console import emptying
from tests.console.emptying import MOVES, NOON_MS, SCENES, host_id
from tests.console.host_down import case
from tui.draft import Draft, deviating, then, with_options
from tui.formats.moments import deadline_ms
from tui.paint import plain
from tui.screens.entry import Entry
from tui.screens.evacuation import EvacuationScreen
from tui.screens.evacuations import EvacuationsScreen
from tui.screens.hosts import HostsScreen
from tui.screens.plan import PlanScreen
from tui.screens.plan_edit import PlanLiveDialog
from tui.screens.plan_options import PlanOptionsDialog
from tui.views import planned
from tui.views.glyphs import UNICODE
from tui.widgets.lines import Lines
from tui.widgets.table import Table
from wire.console import Role
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import MoveOptions, PlanEdit, PlanRequest, Way
from wire.migration import MigrationOptions

MIB = 1 << 20
SIZE = (120, 40)


def text_of(pilot, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


def notice(pilot) -> str:
    return plain(pilot.app.screen.notice.lines[0])


def row_under_cursor(pilot) -> int:
    table = pilot.app.screen.query_one("#table", Table)
    tones = [[span.tone for span in each] for each in table.lines]
    return next(y for y, found in enumerate(tones) if found == ["cursor"])


async def press(pilot, settled, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def type_text(pilot, text: str) -> None:
    await pilot.press(
        *[{"-": "minus", ":": "colon", " ": "space"}.get(each, each) for each in text]
    )


@pytest.fixture
def console(open_console, client, monkeypatch):
    """A console on which kvm-01 can be emptied at noon."""
    monkeypatch.setattr("tui.desk.time.time", lambda: NOON_MS / 1000)
    SCENES["planned"](client)
    return open_console()


@pytest.fixture
async def pilot(console, settled):
    async with console.run_test(size=SIZE) as opened:
        await settled(opened)
        yield opened


@pytest.fixture
async def plan(pilot, settled):
    """The plan of kvm-01 is shown."""
    await press(pilot, settled, "E")
    return pilot


def wishes(client) -> PlanRequest:
    """What the last plan was asked for with."""
    return next(each for each in reversed(client.bodies) if isinstance(each, PlanRequest))


async def test_four_keys_lead_from_the_hosts_to_an_evacuation(pilot, client, settled):
    await press(pilot, settled, "E", "R")
    assert isinstance(pilot.app.screen, Entry)
    await type_text(pilot, "kvm-01")
    assert "8 servers of kvm-01 begin to leave" in text_of(pilot, "#sentence")
    assert client.asked[-1][0] == "plan"
    await press(pilot, settled, "enter")
    assert ("evacuate", "kvm-01") in client.asked
    assert isinstance(pilot.app.screen, EvacuationScreen)
    await press(pilot, settled, "escape")
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_a_name_that_is_not_the_hosts_starts_nothing(plan, client, settled):
    await press(plan, settled, "R")
    await type_text(plan, "kvm-02")
    assert "Type kvm-01 to go on" in text_of(plan, "#sentence")
    await press(plan, settled, "enter", "escape")
    assert isinstance(plan.app.screen, PlanScreen)
    assert {name for name, _ in client.asked} == {"plan"}


async def test_the_plan_says_the_whole_before_anything_starts(plan, client):
    pane = " ".join(text_of(plan, "#pane").split())
    assert "8 of 12 servers leave (6 live, 2 cold), 1 waits for you, 3 stay" in pane
    assert "what moves is done in 4 min 00 s (3 min 25 s to 6 min 30 s);" in pane
    assert "11 GiB to send over 47.7 MiB/s, measured 11-23 11:00" in pane
    assert "kvm-01 is not empty after this" in pane
    assert client.asked == [("plan", host_id(1))]


async def test_one_that_waits_for_a_lever_has_no_place_on_the_time_line(plan, settled):
    row = next(each for each in text_of(plan, "#table").splitlines() if "hot-1" in each)
    assert "1:26" not in row
    assert "1:08" not in row
    await press(plan, settled, "slash", *"hot", "enter")
    assert "once you have chosen what lets it converge" in text_of(plan, "#details")


async def test_what_nobody_measured_is_marked(plan, settled):
    rows = text_of(plan, "#table").splitlines()
    assert "easy ?" in next(each for each in rows if "mail-1" in each)
    assert "easy ?" not in next(each for each in rows if "web-1" in each)
    await press(plan, settled, "slash", *"mail", "enter")
    assert "a guess: nothing is known of its memory" in text_of(plan, "#details")


async def test_a_server_that_is_left_out_stays_under_the_cursor(plan, client, settled):
    await press(plan, settled, "j", "j")
    name = plan.app.screen.table.cursor_row.move.server_name
    before = row_under_cursor(plan)
    await press(plan, settled, "s")
    (edit,) = wishes(client).edits
    assert (edit.server, edit.way) == (plan.app.screen.table.cursor_id, Way.STAYS)
    row = plan.app.screen.table.cursor_row
    assert (row.move.server_name, row.move.way) == (name, Way.STAYS)
    assert row_under_cursor(plan) == before
    assert "s Leave" in text_of(plan, "#footer")
    await press(plan, settled, "r")
    assert names(plan).index(name) > names(plan).index("files-1")
    await press(plan, settled, "s")
    assert wishes(client).edits[0].way is Way.LIVE


def names(pilot) -> list[str]:
    return [each.split()[0] for each in text_of(pilot, "#table").splitlines()[1:]]


@pytest.fixture
def many(client):
    """Thirty servers leave kvm-01."""
    moves = [emptying.move(40 + each, f"vm-{each}", starts_in_s=each) for each in range(30)]
    client.plan_shown = emptying.make_plan(moves=tuple(moves))


async def test_no_key_moves_the_rows_but_the_one_that_orders_them(many, console, client, settled):
    async with console.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "E", *["j"] * 10, "k", "k", "k")
        shown, line_no = names(pilot), row_under_cursor(pilot)
        assert shown[line_no - 1] == "vm-7" != shown[0]
        for keys in (["s"], ["d", "d"], ["d", "escape"], ["f"], ["n"]):
            await press(pilot, settled, *keys)
            assert (names(pilot), row_under_cursor(pilot)) == (shown, line_no)
        client.say(client.fleet, name="snapshot")
        await pilot.pause(0.05)
        await settled(pilot)
        assert (names(pilot), row_under_cursor(pilot)) == (shown, line_no)
        await press(pilot, settled, "r")
        assert names(pilot)[-1] == "vm-7"


async def test_details_begin_with_their_title_after_they_had_the_screen(many, console, settled):
    async with console.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "E", "d", "ctrl+d", "G", "d")
        assert text_of(pilot, "#details").startswith("vm-0  live to kvm-02")


async def test_a_change_of_the_same_place_moves_nothing(plan, client, settled):
    await press(plan, settled, "j", "j", "j")
    before = row_under_cursor(plan), plan.app.screen.table.cursor_id
    await press(plan, settled, "enter", "j", "j", "enter")
    assert (row_under_cursor(plan), plan.app.screen.table.cursor_id) == before
    assert plan.app.screen.table.cursor_row.move.pinned


async def test_a_row_shows_options_of_its_own_and_not_those_of_all(plan, client, settled):
    def row(name: str) -> str:
        return next(each for each in text_of(plan, "#table").splitlines() if each.startswith(name))

    assert "--quickly-finish" in row("hot-1")
    assert "--" not in row("web-1")
    moves = tuple(
        msgspec.structs.replace(
            each, options=MigrationOptions(enable_tls=each.server_name != "web-1")
        )
        for each in MOVES
    )
    client.plan_shown = emptying.make_plan(moves=moves)
    await press(plan, settled, "a", "t", "enter")
    assert "--enable-tls" not in text_of(plan, "#table")
    assert "fewer options" in row("web-1")


async def test_one_that_cannot_leave_says_why(plan, client, settled):
    await press(plan, settled, "slash", *"big", "enter", "s")
    assert "big-1 stays: no host has 20 GiB" in notice(plan)
    assert len(client.asked) == 1


def test_one_that_cannot_leave_does_not_stay_by_choice_since_it_was_put_first():
    moves = tuple(msgspec.structs.replace(each, first=True) for each in MOVES)
    shown = planned.rows([emptying.make_plan(moves=moves)])
    big = next(each for each in shown.values() if each.move.server_name == "big-1")
    told = "\n".join(plain(each) for each in planned.details(big, 80, UNICODE))
    assert "big-1  stays" in told
    assert "as you chose" not in told


async def test_the_dialog_of_a_line_asks_for_target_and_options_at_once(plan, client, settled):
    await press(plan, settled, "j", "enter")
    assert isinstance(plan.app.screen, PlanLiveDialog)
    assert "as the plan likes" in text_of(plan, "#targets")
    await press(plan, settled, "f", "j", "enter")
    assert isinstance(plan.app.screen, PlanScreen)
    (edit,) = wishes(client).edits
    assert edit.target == host_id(5)
    assert edit.options == MoveOptions(quickly_finish=True)


async def test_a_host_that_does_not_fit_cannot_be_chosen(plan, client, settled):
    await press(plan, settled, "j", "enter", "G", "enter")
    assert isinstance(plan.app.screen, PlanLiveDialog)
    assert "kvm-03 does not fit" in text_of(plan, "#verdicts")
    await press(plan, settled, "escape")
    assert wishes(client).edits == ()


async def test_wishes_for_all_are_asked_anew(plan, client, settled):
    await press(plan, settled, "n")
    assert wishes(client).keep_spare
    assert "n [x] keep spare" in text_of(plan, "#pane")
    await press(plan, settled, "b", *"40", "enter")
    assert wishes(client).max_bandwidth_bytes_per_s == 40 * MIB
    await press(plan, settled, "a")
    assert isinstance(plan.app.screen, PlanOptionsDialog)
    await press(plan, settled, "t", "enter")
    assert wishes(client).options == MoveOptions(enable_tls=True)
    assert "options: TLS" in text_of(plan, "#pane")


async def test_a_deadline_shows_whether_it_can_be_kept(plan, client, settled):
    await press(plan, settled, "e")
    await type_text(plan, "12:05")
    assert "to be empty by 12:05, in 5 min 00 s" in text_of(plan, "#sentence")
    await press(plan, settled, "enter")
    assert wishes(client).empty_by_ms == deadline_ms("12:05", "the deadline", NOON_MS)
    assert "✖ too late for it" in text_of(plan, "#pane")
    await press(plan, settled, "e", "ctrl+u", "enter")
    assert wishes(client).empty_by_ms == 0


async def test_all_warnings_stand_in_full_where_the_terminal_is_small(console, settled):
    async with console.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "E", "d")
        shown = " ".join(text_of(pilot, "#details").split())
        assert "it waits until quickly finish or a longer pause is chosen" in shown


async def test_a_wish_that_is_refused_is_undone(plan, client, settled):
    client.refusal = GodwitError(ErrorCode.BAD_REQUEST, "the cap is under 1 MiB/s")
    await press(plan, settled, "n")
    assert notice(plan) == "the cap is under 1 MiB/s"
    assert "n [ ] keep spare" in text_of(plan, "#pane")
    assert len(plan.app.screen.rows()) == 12


async def test_a_plan_that_is_refused_at_first_says_why(pilot, client, settled):
    client.refusal = GodwitError(ErrorCode.NOT_FOUND, "no host is called kvm-09")
    await press(pilot, settled, "E")
    assert "no host is called kvm-09" in text_of(pilot, "#pane")
    await press(pilot, settled, "R")
    assert isinstance(pilot.app.screen, PlanScreen)


async def test_nothing_starts_while_the_backend_refuses(plan, client, settled):
    client.plan_shown = emptying.make_plan(refusals=("kvm-01 is being emptied by bob",))
    await press(plan, settled, "r", "R")
    assert isinstance(plan.app.screen, PlanScreen)
    assert notice(plan) == "nothing can be started: kvm-01 is being emptied by bob"
    assert "R Run" not in text_of(plan, "#footer")


async def test_nothing_starts_before_the_last_change_is_answered(plan, client, settled):
    client.answering.clear()
    await plan.press("n", "R")
    assert isinstance(plan.app.screen, PlanScreen)
    client.answering.set()
    await settled(plan)
    await press(plan, settled, "R")
    assert isinstance(plan.app.screen, Entry)


async def test_marked_hosts_are_emptied_together(pilot, client, settled):
    await press(pilot, settled, "space", "space")
    assert "2 marked" in text_of(pilot, "#heading")
    assert "E Evacuate 2" in text_of(pilot, "#footer")
    await press(pilot, settled, "E")
    assert wishes(client).hosts == (host_id(1), host_id(2))
    assert "FROM" in text_of(pilot, "#table")
    await press(pilot, settled, "R")
    await type_text(pilot, "kvm-02 kvm-01")
    await press(pilot, settled, "enter")
    assert client.asked[-1] == ("evacuate", "kvm-01 kvm-02")
    assert isinstance(pilot.app.screen, EvacuationsScreen)


async def test_esc_takes_the_marks_away(pilot, settled):
    await press(pilot, settled, "space", "escape")
    assert "marked" not in text_of(pilot, "#heading")
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_a_command_plans_several_hosts(pilot, client, settled):
    await press(pilot, settled, "colon")
    await type_text(pilot, "evacuate kvm-01 kvm-03")
    await press(pilot, settled, "enter")
    assert wishes(client).hosts == (host_id(1), host_id(3))


async def test_maintenance_is_asked_before(pilot, client, settled):
    await press(pilot, settled, "M")
    assert "Take kvm-01 into maintenance?" in text_of(pilot, "#sentence")
    await press(pilot, settled, "n")
    assert client.asked == []
    await press(pilot, settled, "M", "y")
    assert client.asked == [("maintenance", host_id(1))]
    assert client.bodies == [True]


async def test_what_left_is_brought_back_once_maintenance_has_ended(
    open_console, client, settled, monkeypatch
):
    monkeypatch.setattr("tui.desk.time.time", lambda: NOON_MS / 1000)
    SCENES["ended"](client)
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "B Bring back" in text_of(pilot, "#footer")
        await press(pilot, settled, "B")
        assert client.asked[-1] == ("return_plan", host_id(1))
        assert "8 of 12 servers come back" in text_of(pilot, "#pane")
        assert "keep spare" not in text_of(pilot, "#pane")
        await press(pilot, settled, "R", "y")
        assert ("bring_back", host_id(1)) in client.asked
        assert isinstance(pilot.app.screen, EvacuationScreen)


async def test_what_does_not_come_back_is_told_with_its_reason(
    open_console, client, settled, monkeypatch
):
    monkeypatch.setattr("tui.desk.time.time", lambda: NOON_MS / 1000)
    SCENES["ended"](client)
    why = "CPU model Haswell on kvm-01, Skylake on kvm-02"
    moves = (MOVES[0], *(emptying.stays(40 + each, f"db-{each}", why) for each in range(6)))
    client.plan_shown = emptying.make_plan(moves=moves, warnings=())
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, settled, "B", "R")
        told = " ".join(text_of(pilot, "#sentence").split())
        assert f"db-0 does not come back: {why} db-1 does" in told
        assert "db-3" not in told
        assert "3 more, each with its reason in the plan" in told
        assert "empty" not in told


async def test_the_plan_of_a_rescue_speaks_of_rescues(open_console, client, settled):
    SCENES["rescue"](client)
    client.plan_shown = msgspec.structs.replace(client.plan_shown, refusals=())
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, settled, "G", "E", "R")
        told = " ".join(text_of(pilot, "#sentence").split())
        assert "4 of 5 servers are rescued, 1 stays;" in told
        assert "stays down gpu-1 is not started: vdb (/srv/gpu-1.img) is on local" in told


async def test_nothing_is_brought_back_to_a_host_in_maintenance(
    open_console, client, settled, monkeypatch
):
    SCENES["running"](client)
    ended = msgspec.structs.replace(client.fleet.evacuations[1], host_id=host_id(1))
    host = msgspec.structs.replace(client.fleet.hosts[0], evacuation_id="")
    client.fleet = msgspec.structs.replace(
        client.fleet, evacuations=(ended,), hosts=(host, *client.fleet.hosts[1:])
    )
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "B Bring back" not in text_of(pilot, "#footer")
        await press(pilot, settled, "B")
        assert "M ends it" in notice(pilot)


async def test_a_dead_host_is_planned_by_the_same_key(open_console, client, settled):
    SCENES["rescue"](client)
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, settled, "G")
        assert "E Rescue all" in text_of(pilot, "#footer")
        await press(pilot, settled, "E")
        assert "to rescue all of kvm-04" in text_of(pilot, "#heading")
        assert "F declares it off" in text_of(pilot, "#pane")


async def test_the_plan_of_a_host_that_is_not_proven_dead_takes_the_word_that_it_is(
    open_console, client, settled
):
    SCENES["rescue"](client)
    client.fleet = msgspec.structs.replace(client.fleet, incidents=(case(client),))
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, settled, "G", "E")
        assert "F Declare off" in text_of(pilot, "#footer")
        assert "b Cap" not in text_of(pilot, "#footer")
        await press(pilot, settled, "F")
        await type_text(pilot, "kvm-04")
        await press(pilot, settled, "enter")
        assert client.asked[-1] == ("declare_off", host_id(4))
        assert isinstance(pilot.app.screen, PlanScreen)
        client.plan_shown = msgspec.structs.replace(client.plan_shown, refusals=())
        client.say(msgspec.structs.replace(client.fleet.hosts[3], dead=True))
        await pilot.pause(0.05)
        await settled(pilot)
        await settled(pilot)
        assert "R Run" in text_of(pilot, "#footer")
        assert "F Declare off" not in text_of(pilot, "#footer")


async def test_a_plan_to_empty_a_host_takes_no_word_that_it_is_off(plan, client, settled):
    assert "Declare off" not in text_of(plan, "#footer")
    await press(plan, settled, "F")
    assert isinstance(plan.app.screen, PlanScreen)
    assert "nobody's word" in notice(plan)


async def test_a_server_that_cannot_leave_is_not_put_first(plan, client, settled):
    await press(plan, settled, "slash", *"big", "enter")
    footer = text_of(plan, "#footer")
    assert "s Leave" not in footer
    assert "f First" not in footer
    await press(plan, settled, "f")
    assert "big-1 stays, and has no place among the others: no host has" in notice(plan)
    assert len(client.asked) == 1


async def test_whoever_may_only_look_sees_the_plan_and_starts_nothing(
    open_console, client, make, settled
):
    client.fleet = make["fleet"](Role.VIEWER)
    SCENES["planned"](client)
    async with open_console().run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "M Maintenance" not in text_of(pilot, "#footer")
        assert "E Plan" in text_of(pilot, "#footer")
        await press(pilot, settled, "M", "E")
        assert isinstance(pilot.app.screen, PlanScreen)
        assert "R Run" not in text_of(pilot, "#footer")
        await press(pilot, settled, "R")
        assert isinstance(pilot.app.screen, PlanScreen)
        assert client.asked == [("plan", host_id(1))]


def test_wishes_add_up_for_each_server():
    draft = Draft(request=PlanRequest(hosts=("kvm-01",)))
    draft = draft.edited(PlanEdit(server="a", way=Way.STAYS))
    draft = draft.edited(PlanEdit(server="b", first=True))
    draft = draft.edited(PlanEdit(server="a", options=MoveOptions(enable_tls=True)))
    assert draft.edit_of("a") == PlanEdit(
        server="a", way=Way.STAYS, options=MoveOptions(enable_tls=True)
    )
    assert draft.edit_of("b") == PlanEdit(server="b", first=True)
    assert draft.edit_of("c") == PlanEdit(server="c")


def test_the_later_wish_holds():
    earlier = PlanEdit(server="a", target="x", options=MoveOptions(enable_tls=True))
    later = PlanEdit(server="a", target="", options=MoveOptions(downtime_limit_ms=500))
    assert then(earlier, later) == PlanEdit(
        server="a", target="", options=MoveOptions(enable_tls=True, downtime_limit_ms=500)
    )


def test_options_of_a_wish_are_those_that_deviate():
    usual = MigrationOptions(enable_tls=True)
    chosen = with_options(usual, MoveOptions(enable_tls=False, downtime_limit_ms=900))
    assert deviating(usual, chosen) == MoveOptions(enable_tls=False, downtime_limit_ms=900)
    assert deviating(usual, usual) == MoveOptions()
