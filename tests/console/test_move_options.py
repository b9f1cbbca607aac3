"""The dialog before a migration: its two kinds, their options, and what is asked before a start."""

import msgspec
import pytest

from tui.actions import options_at
from tui.paint import plain
from tui.places import Place
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.migration import MigrationScreen
from tui.screens.move import ColdDialog, LiveDialog
from tui.screens.servers import ServersScreen
from tui.views import options, plan
from tui.views.candidates import targets, verdict, verdict_lines
from tui.views.glyphs import UNICODE
from tui.widgets.lines import Lines
from wire.candidates import Candidate, FilterVerdict
from wire.fleet import Disk, HostStatus, ServerStatus
from wire.migration import MigrationOptions

MIB = 1 << 20
OLD_1 = "7c1d0000-0000-4000-8000-000000000005"


def text_of(pilot, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


@pytest.fixture
async def live(open_console, settled):
    """The dialog of web-2, which runs on kvm-02."""
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "G", "M")
        await settled(pilot)
        yield pilot


@pytest.fixture
async def cold(open_console, settled):
    """The dialog of old-1, which is stopped on kvm-01."""
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "g", "j", "j", "j", "M")
        await settled(pilot)
        yield pilot


async def press(pilot, settled, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def test_one_key_moves_a_server_as_its_state_allows(open_console, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "2", "G")
        assert "M Live-migrate" in text_of(pilot, "#footer")
        await press(pilot, settled, "g", "j", "j", "j")
        assert "M Cold-migrate" in text_of(pilot, "#footer")
        await press(pilot, settled, "M")
        assert isinstance(pilot.app.screen, ColdDialog)
        assert "old-1 leaves kvm-01, stopped" in text_of(pilot, "#intention")


@pytest.mark.parametrize(
    ("downs", "sentence"),
    [(1, "db-1 migrates now: enter shows it"), (2, "nobody knows how mail-10 is")],
)
async def test_a_server_that_cannot_move_says_why(open_console, client, settled, downs, sentence):
    # of a host that is known to be down, its servers can be rescued
    away = msgspec.structs.replace(client.fleet.hosts[3], status=HostStatus.UNREACHABLE)
    client.fleet = msgspec.structs.replace(client.fleet, hosts=(*client.fleet.hosts[:3], away))
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "2", "g", *["j"] * downs)
        assert "igrate" not in text_of(pilot, "#footer").replace("Migration", "")
        await press(pilot, settled, "M")
        assert isinstance(pilot.app.screen, ServersScreen)
        assert sentence in plain(pilot.app.screen.notice.lines[0])
        assert client.asked == []


async def test_a_skipped_check_asks_again_and_marks_who_fits_only_so(live, client, settled):
    await press(live, settled, "G", "c")
    assert client.asked[-1][1].endswith("live ['--skip-cpu-check']")
    assert "c [x] skip CPU check" in text_of(live, "#options")
    assert "kvm-03" in text_of(live, "#targets").splitlines()[-1]
    assert "▲ skips" not in text_of(live, "#targets")
    await press(live, settled, "n")
    row = text_of(live, "#targets").splitlines()[-1]
    assert "▲ skips" in row
    assert "unchecked: microcode 0x42e on kvm-01, 0x428 on kvm-03" in row
    assert "✔ safe: the guest loses no CPU feature on kvm-03" in text_of(live, "#verdicts")
    assert "▲ risk: nobody knows what the kernel of kvm-03 offers" in text_of(live, "#verdicts")
    assert live.app.screen._table.cursor_row.candidate.host_name == "kvm-03"
    await press(live, settled, "c")
    assert "✖ unfit" in text_of(live, "#targets").splitlines()[-1]


@pytest.mark.parametrize(("risk", "shown"), [("", "✔ safe"), ("it may crash", "▲ skips")])
def test_a_skipped_check_is_a_warning_only_where_something_is_risked(risk, shown):
    lifted = FilterVerdict(filter="microcode", passed=True, skipped=True, reason="0x1 and 0x2")
    candidate = Candidate(
        host_id="3", host_name="kvm-03", verdicts=(lifted,), risk=risk, safe="nothing is lost"
    )
    target = targets([candidate])["3"]
    assert verdict(target, UNICODE).text == shown
    lines = [plain(each) for each in verdict_lines(target, 60, UNICODE)]
    assert any(each.startswith("✔ safe: nothing is lost") for each in lines)
    assert any("▲" in each for each in lines) is bool(risk)


def test_a_cpu_model_is_shortened_as_in_the_list_of_hosts():
    name = "Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz"
    passed = FilterVerdict(filter="cpu_model", passed=True, wanted=name, found=name)
    candidate = Candidate(host_id="2", host_name="kvm-02", verdicts=(passed,))
    shown = [plain(each) for each in verdict_lines(targets([candidate])["2"], 60, UNICODE)]
    assert shown[-1].split() == ["✔", "cpu_model", "=", "Xeon", "E5-2650", "v2"]


async def test_nothing_can_be_chosen_before_the_targets_are_those_of_the_options(live, client):
    screen = live.app.screen
    screen._asking = True
    await live.press("enter")
    assert isinstance(live.app.screen, LiveDialog)


async def test_each_filter_that_passed_has_a_line_with_both_values(live, settled):
    rows = [row.split() for row in text_of(live, "#verdicts").splitlines()]
    assert ["✔", "microcode", "=", "0x42e"] in rows
    assert ["✔", "memory", "256", "MiB", "21", "GiB"] in rows
    assert ["✔", "online"] in rows


async def test_the_verdicts_scroll_by_half_pages_under_a_cursor_that_stays(open_console, settled):
    async with open_console().run_test(size=(80, 20)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "2", "G", "M", "j")
        assert "more lines, ^d" in text_of(pilot, "#verdicts")
        assert "✔ storage" not in text_of(pilot, "#verdicts")
        before = pilot.app.screen._table.cursor_id
        await press(pilot, settled, *["ctrl+d"] * 4)
        assert "✔ storage" in text_of(pilot, "#verdicts")
        assert pilot.app.screen._table.cursor_id == before


async def test_every_option_of_the_kind_goes_along(live, client, settled):
    await press(live, settled, "c", "n", "t", "f", "d")
    await press(live, settled, "b", *"100", "enter")
    await press(live, settled, "l", "ctrl+u", *"500", "enter")
    await press(live, settled, "u", "ctrl+u", *"900", "enter")
    assert "l downtime: 500 ms" in text_of(live, "#options")
    await press(live, settled, "enter", "y")
    assert isinstance(live.app.screen, MigrationScreen)
    assert client.options == MigrationOptions(
        max_bandwidth_bytes_per_s=100 * MIB,
        skip_cpu_check=True,
        skip_kernel_check=True,
        enable_tls=True,
        quickly_finish=True,
        downtime_limit_ms=500,
        downtime_bound_ms=900,
        keep_dest_guest_on_failed=True,
    )


async def test_a_cold_migration_has_its_own_options(cold, client, settled):
    await press(cold, settled, "c", "f")
    assert text_of(cold, "#options") == "s [ ] start on arrival  b cap: none"
    await press(cold, settled, "s", "b", *"50", "enter", "enter")
    shown = text_of(cold, "#sentence")
    assert shown.startswith("Cold-migrate old-1 from kvm-01 to the best host, now kvm-05?")
    assert "it is started on arrival" in shown
    assert "50 MiB/s in all" in shown
    await press(cold, settled, "y")
    assert ("cold_migrate", OLD_1) in client.asked
    assert client.options == MigrationOptions(auto_start=True, max_bandwidth_bytes_per_s=50 * MIB)


async def test_a_number_that_is_none_is_told_while_it_is_typed(live, settled):
    await press(live, settled, "b", *"0x")
    assert isinstance(live.app.screen, Entry)
    assert "the cap is '0x', and should be a whole number of MiB/s" in text_of(live, "#sentence")
    await press(live, settled, "enter")
    assert isinstance(live.app.screen, Entry)
    await press(live, settled, "escape")
    assert isinstance(live.app.screen, LiveDialog)
    assert "b cap: none" in text_of(live, "#options")


async def test_letters_in_an_entry_are_no_keys(live, settled):
    await press(live, settled, "l", "q", "X", "c", "question_mark")
    assert isinstance(live.app.screen, Entry)
    assert live.app.screen.text == "qXc?"


async def test_the_bound_needs_quickly_finish(live, settled):
    await press(live, settled, "u")
    assert isinstance(live.app.screen, LiveDialog)
    assert "the bound is for quickly finish, which f turns on" in text_of(live, "#verdicts")


def test_a_limit_above_the_bound_is_refused():
    quick = MigrationOptions(quickly_finish=True)
    changed, sentence = options.read_number(quick, "downtime_limit_ms", "4000")
    assert changed is None
    assert sentence == "the limit of 4000 ms is above the bound of 3000 ms for quickly finish"
    changed, _ = options.read_number(MigrationOptions(), "downtime_limit_ms", "4000")
    assert changed is not None


@pytest.mark.parametrize("place", [Place.LIVE, Place.COLD])
def test_every_option_has_a_key_and_fits_a_small_terminal(place):
    fields = {field for field, _ in options_at(place)}
    assert fields <= set(MigrationOptions.__struct_fields__)
    for width in (54, 72, 116):
        lines = options.option_lines(MigrationOptions(), place, width)
        assert all(len(plain(each)) <= width for each in lines)
        assert sum(plain(each).count("[ ]") for each in lines) == len(
            [field for field in fields if isinstance(getattr(MigrationOptions(), field), bool)]
        )


def test_all_options_but_the_target_have_a_key():
    fields = {field for place in (Place.LIVE, Place.COLD) for field, _ in options_at(place)}
    assert fields == set(MigrationOptions.__struct_fields__) - {"prefer_host"}


@pytest.fixture
def mixed(make):
    """A server with a local and a shared disk."""
    server = make["server"](2, "web-2", 2)
    local = Disk(
        target="vda", source="/images/a", capacity_bytes=20 << 30, allocation_bytes=3 << 30
    )
    shared = msgspec.structs.replace(server.disks[0], target="vdb")
    return msgspec.structs.replace(server, disks=(local, shared), storage="mixed")


def test_the_question_says_what_is_copied_and_what_stays(mixed, client):
    target = targets(client.candidate_list)["best"]
    told = dict(plan.facts(mixed, "live", target, MigrationOptions()))
    assert told["copies"].text == (
        "256 MiB of memory, local disk vda of 20 GiB (3 GiB in use); vdb on shared storage stays"
    )
    assert told["at the end"].text == (
        "its local disks on kvm-02 are deleted once it runs on kvm-05"
    )
    stopped = msgspec.structs.replace(mixed, status=ServerStatus.READY, disks=mixed.disks[1:])
    told = dict(plan.facts(stopped, "cold", target, MigrationOptions()))
    assert told["copies"].text == "the definition only; vdb on shared storage stays"
    assert "at the end" not in told
    assert "pause" not in told


def test_a_suspended_server_stays_so(mixed, client):
    target = targets(client.candidate_list)["best"]
    suspended = msgspec.structs.replace(mixed, status=ServerStatus.SUSPEND)
    assert plan.kind_for(suspended, None) == "live"
    told = dict(plan.facts(suspended, "live", target, MigrationOptions()))
    assert told["meanwhile"].text == "web-2 stays suspended"
    assert "suspended" in plain(plan.intention(suspended, "live"))


async def test_a_question_longer_than_the_terminal_scrolls_above_its_keys(open_console, settled):
    async with open_console().run_test(size=(60, 16)) as pilot:
        await settled(pilot)
        await press(pilot, settled, "2", "G", "M", "c", "n", "t", "f", "d", "enter")
        assert isinstance(pilot.app.screen, Question)
        assert "y Yes" in text_of(pilot, "#hints")
        assert "more lines, j" in text_of(pilot, "#sentence")
        await press(pilot, settled, "G")
        assert "X aborts" in text_of(pilot, "#sentence")
