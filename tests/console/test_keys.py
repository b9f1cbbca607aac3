import msgspec
import pytest
from textual import events
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot

from tui.client import Disconnected
from tui.paint import plain
from tui.screens.help import HelpScreen
from tui.screens.hosts import HostsScreen
from tui.screens.migration import MigrationScreen
from tui.screens.migrations import MigrationsScreen
from tui.screens.servers import ServersScreen
from tui.screens.too_small import TooSmallScreen
from tui.themes import THEMES
from tui.widgets.lines import Lines
from tui.widgets.notice import Notice
from tui.widgets.prompt import edited
from wire.console import ServerRemoved
from wire.fleet import HostMeters, ServerStatus


@pytest.fixture
async def pilot(open_console, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        yield pilot


def names(pilot: Pilot) -> list[str]:
    listing = pilot.app.screen.table.listing
    return [getattr(listing.rows[each], "name", each) for each in listing.ids]


def under_cursor(pilot: Pilot) -> str:
    return pilot.app.screen.table.cursor_row.name


def heading(pilot: Pilot) -> str:
    return plain(pilot.app.screen.query_one("#heading", Lines).lines[0])


async def test_the_console_opens_with_the_hosts(pilot: Pilot):
    assert isinstance(pilot.app.screen, HostsScreen)
    assert len(pilot.app.screen.table.listing.ids) == 4


async def test_the_numbers_lead_to_the_views(pilot: Pilot):
    for key, kind in (("2", ServersScreen), ("3", MigrationsScreen), ("1", HostsScreen)):
        await pilot.press(key)
        assert isinstance(pilot.app.screen, kind)


async def test_vi_keys_and_arrows_move_the_cursor(pilot: Pilot):
    await pilot.press("2")
    assert names(pilot) == ["batch-1", "db-1", "mail-10", "old-1", "web-1", "web-2"]
    for keys, name in (
        (["j"], "db-1"),
        (["down", "j"], "old-1"),
        (["k"], "mail-10"),
        (["G"], "web-2"),
        (["j"], "web-2"),
        (["g"], "batch-1"),
        (["up"], "batch-1"),
        (["end"], "web-2"),
        (["home"], "batch-1"),
        (["pagedown"], "web-2"),
        (["ctrl+b"], "batch-1"),
    ):
        await pilot.press(*keys)
        assert under_cursor(pilot) == name


async def test_enter_opens_the_servers_of_a_host_and_esc_goes_back(pilot: Pilot):
    await pilot.press("enter")
    assert isinstance(pilot.app.screen, ServersScreen)
    assert names(pilot) == ["db-1", "old-1", "web-1"]
    assert "on kvm-01" in heading(pilot)
    await pilot.press("escape")
    assert isinstance(pilot.app.screen, HostsScreen)
    await pilot.press("escape")
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_a_number_leaves_whatever_is_open(pilot: Pilot):
    await pilot.press("enter", "1")
    assert isinstance(pilot.app.screen, HostsScreen)
    await pilot.press("escape")
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_the_filter_works_while_typing(pilot: Pilot):
    await pilot.press("2", "slash", "w", "e", "b")
    assert names(pilot) == ["web-1", "web-2"]
    assert "/web" in heading(pilot)
    await pilot.press("backspace", "backspace", "backspace", "exclamation_mark", "w", "e", "b")
    assert names(pilot) == ["batch-1", "db-1", "mail-10", "old-1"]
    await pilot.press("enter", "j")
    assert under_cursor(pilot) == "db-1"
    await pilot.press("escape")
    assert len(names(pilot)) == 6
    assert under_cursor(pilot) == "db-1"


async def test_esc_while_typing_drops_the_filter(pilot: Pilot):
    await pilot.press("2", "slash", "w", "e", "b", "escape")
    assert len(names(pilot)) == 6


async def test_letters_in_the_filter_are_no_keys(pilot: Pilot):
    await pilot.press("2", "slash", "q", "M", "X", "2")
    assert isinstance(pilot.app.screen, ServersScreen)
    assert pilot.app.screen.table.listing.filter.text == "qMX2"


async def test_keys_typed_ahead_reach_the_view_that_the_key_before_led_to(pilot: Pilot, settled):
    burst = ["2", "slash", "w", "e", "b", "enter", "j", "1", "enter", "colon", "m", "i", "enter"]
    for key in burst:
        character = {"slash": "/", "colon": ":"}.get(key, key if len(key) == 1 else None)
        pilot.app.post_message(events.Key(key, character))
    await pilot.pause(0.3)
    await settled(pilot)
    assert isinstance(pilot.app.screen, MigrationsScreen)
    await pilot.press("2")
    assert names(pilot) == ["web-1", "web-2"]
    assert under_cursor(pilot) == "web-2"


async def test_a_key_without_meaning_is_not_typed_where_a_later_key_leads(pilot: Pilot):
    for key, character in [("1", "1"), ("0", "0"), ("colon", ":"), ("4", "4"), ("0", "0")]:
        pilot.app.post_message(events.Key(key, character))
    await pilot.pause(0.1)
    assert pilot.app.screen.prompt.text == "40"


async def test_pasted_text_is_typed(pilot: Pilot):
    await pilot.press("2", "slash")
    pilot.app.post_message(events.Paste("web-\x1b1"))
    await pilot.pause(0.1)
    assert pilot.app.screen.table.listing.filter.text == "web-1"


@pytest.mark.parametrize(
    ("key", "left"), [("backspace", "server web-"), ("ctrl+w", "server "), ("ctrl+u", "")]
)
def test_the_prompt_takes_back_what_was_typed(key, left):
    assert edited("server web-1", key, None) == left


async def test_sorting_shows_in_the_header_and_keeps_the_cursor_on_its_row(pilot: Pilot):
    await pilot.press("2", "G")
    assert under_cursor(pilot) == "web-2"
    await pilot.press("o", "o")
    assert "by host ↑" in heading(pilot)
    assert under_cursor(pilot) == "web-2"
    await pilot.press("O")
    assert "by host ↓" in heading(pilot)
    assert names(pilot)[0] == "mail-10"


async def test_commands_lead_to_views_and_rows(pilot: Pilot, settled):
    await pilot.press("colon", *"server")
    await pilot.press("space", *"web", "minus", "2", "enter")
    await settled(pilot)
    assert isinstance(pilot.app.screen, ServersScreen)
    assert under_cursor(pilot) == "web-2"


async def test_tab_completes_a_command(pilot: Pilot, settled):
    await pilot.press("colon", *"server", "space", *"old")
    await pilot.pause(0.1)
    await pilot.press("tab", "enter")
    await settled(pilot)
    assert under_cursor(pilot) == "old-1"


async def test_an_unknown_command_is_named_until_the_next_key(pilot: Pilot, settled):
    await pilot.press("colon", *"jobs", "enter")
    await settled(pilot)
    notice = pilot.app.screen.query_one(Notice)
    assert "no view is called 'jobs'" in " ".join(plain(each) for each in notice.lines)
    assert notice.has_class("-open")
    await pilot.press("j")
    assert not notice.has_class("-open")


async def test_help_lists_the_keys_of_the_view_it_was_asked_from(pilot: Pilot):
    await pilot.press("2", "question_mark")
    assert isinstance(pilot.app.screen, HelpScreen)
    text = "\n".join(plain(each) for each in pilot.app.screen.query_one("#page").text)
    assert "Move this server: live" in text
    await pilot.press("escape", "1", "question_mark")
    text = "\n".join(plain(each) for each in pilot.app.screen.query_one("#page").text)
    assert "Move this server: live" not in text
    await pilot.press("q")
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_the_cursor_follows_the_row_and_the_row_its_screen_line(pilot: Pilot, client, make):
    await pilot.press("2", "j", "j")
    assert under_cursor(pilot) == "mail-10"
    table = pilot.app.screen.table
    line = next(y for y, each in enumerate(table.lines) if "mail-10" in plain(each))
    for number in range(7, 12):
        client.say(make["server"](number, f"aa-{number}", 1))
    client.say(ServerRemoved(server_id=client.fleet.servers[0].server_id))
    await pilot.pause(0.7)
    assert len(names(pilot)) == 10
    assert under_cursor(pilot) == "mail-10"
    assert "mail-10" in plain(table.lines[line])


async def test_rows_keep_their_place_until_sorted_anew(pilot: Pilot, client):
    await pilot.press("o", "o", "o", "o", "o")
    screen = pilot.app.screen
    assert screen.table.listing.sorted_by == "memory"
    before = list(screen.table.listing.ids)
    meters = HostMeters(cpu_percent=1.0, memory_used_bytes=23 * 2**30)
    client.say(msgspec.structs.replace(client.fleet.hosts[0], meters=meters))
    await pilot.pause(0.7)
    assert screen.table.listing.ids == before
    await pilot.press("r")
    assert screen.table.listing.ids != before


async def test_pause_holds_the_display_and_loses_nothing(pilot: Pilot, client):
    await pilot.press("2", "p")
    server = client.fleet.servers[0]
    client.say(msgspec.structs.replace(server, status=ServerStatus.SUSPEND))
    await pilot.pause(0.7)
    shown = "\n".join(plain(each) for each in pilot.app.screen.table.lines)
    assert "suspend" not in shown
    assert "PAUSED" in plain(pilot.app.screen.query_one("#top", Lines).lines[0])
    await pilot.press("p")
    shown = "\n".join(plain(each) for each in pilot.app.screen.table.lines)
    assert "suspend" in shown


async def test_details_take_the_screen_and_give_it_back(pilot: Pilot):
    await pilot.press("d")
    assert not pilot.app.screen.table.display
    await pilot.press("escape")
    assert pilot.app.screen.table.display


async def test_wide_shows_columns_that_did_not_fit_and_slides(pilot: Pilot):
    await pilot.resize_terminal(80, 24)
    await pilot.pause()
    assert "KERNEL" not in plain(pilot.app.screen.table.lines[0])
    await pilot.press("w")
    assert "KERNEL" in plain(pilot.app.screen.table.lines[0])
    await pilot.press("l", "l", "l", "l", "l")
    header = plain(pilot.app.screen.table.lines[0])
    assert header.startswith("NAME")
    assert "COMPARED" in header
    await pilot.press("w")
    assert "KERNEL" not in plain(pilot.app.screen.table.lines[0])


async def test_a_wide_table_outlives_a_row_that_left_while_paused(pilot: Pilot, client):
    await pilot.press("2", "w", "p")
    client.say(ServerRemoved(server_id=client.fleet.servers[0].server_id))
    await pilot.pause(0.1)
    await pilot.press("G", "l")
    assert under_cursor(pilot) == "web-2"
    await pilot.press("p")
    assert "web-1" not in names(pilot)


async def test_copying_gives_the_id(pilot: Pilot, settled):
    await pilot.press("c")
    await settled(pilot)
    assert pilot.app.clipboard == pilot.app.screen.table.cursor_id


async def test_a_start_reads_the_style_sheet_with_its_own_theme_at_once(
    open_console, settled, monkeypatch
):
    again = []
    monkeypatch.setattr(Stylesheet, "reparse", again.append)
    async with open_console().run_test() as pilot:
        await settled(pilot)
        assert pilot.app.theme == THEMES[0].name
        assert again == []


async def test_themes_go_round(pilot: Pilot):
    seen = []
    for _ in range(4):
        seen.append(pilot.app.theme)
        await pilot.press("T")
    assert pilot.app.theme == seen[0]
    assert len(set(seen)) == 4


async def test_enter_on_a_server_opens_its_migration(pilot: Pilot, client, settled):
    await pilot.press("2", "j", "enter")
    await settled(pilot)
    assert isinstance(pilot.app.screen, MigrationScreen)
    assert pilot.app.screen.migration_id == "3f000003"
    assert ("migration", "3f000003") in client.asked


async def test_a_new_snapshot_fetches_the_curve_again(pilot: Pilot, client, settled):
    await pilot.press("2", "j", "enter")
    await settled(pilot)
    assert client.asked.count(("migration", "3f000003")) == 1
    client.say(client.fleet)
    await pilot.pause(0.7)
    await settled(pilot)
    assert client.asked.count(("migration", "3f000003")) == 2


async def test_q_quits(pilot: Pilot):
    await pilot.press("q")
    assert pilot.app.return_code == 0


async def test_a_terminal_too_small_says_what_is_needed(pilot: Pilot):
    await pilot.resize_terminal(50, 10)
    await pilot.pause()
    assert isinstance(pilot.app.screen, TooSmallScreen)
    text = " ".join(plain(each) for each in pilot.app.screen.query_one(Lines).lines)
    assert "60x16" in text
    await pilot.resize_terminal(80, 24)
    await pilot.pause()
    assert isinstance(pilot.app.screen, HostsScreen)


async def test_a_console_that_opens_too_small_leaves_nothing_behind(open_console, settled):
    async with open_console().run_test(size=(50, 10)) as pilot:
        await settled(pilot)
        assert isinstance(pilot.app.screen, TooSmallScreen)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(pilot.app.screen, HostsScreen)
        assert not any(isinstance(each, TooSmallScreen) for each in pilot.app.screen_stack)


async def test_the_end_of_a_long_filter_stays_in_sight(pilot: Pilot):
    await pilot.press("slash", *"x" * 120, "y")
    shown = pilot.app.screen.prompt.render_line(0).text
    assert len(shown) == 100
    assert shown.startswith("/x")
    assert shown.endswith("xy ")


async def test_the_mouse_moves_the_cursor_and_a_second_click_opens(pilot: Pilot):
    await pilot.press("2")
    await pilot.click("#table", offset=(3, 3))
    assert under_cursor(pilot) == "mail-10"
    await pilot.press("1")
    await pilot.click("#table", offset=(3, 1))
    await pilot.pause()
    assert isinstance(pilot.app.screen, ServersScreen)


async def test_a_lost_stream_and_a_silent_etcd_say_why(pilot: Pilot, client, settled):
    client.stream.put_nowait(Disconnected(reason="10.77.1.2:8700 does not answer"))
    await settled(pilot)
    notice = pilot.app.screen.query_one(Notice)
    assert "10.77.1.2:8700 does not answer" in " ".join(plain(each) for each in notice.lines)
    assert len(pilot.app.screen.table.listing.ids) == 4
