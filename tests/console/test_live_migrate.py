import msgspec
import pytest
from textual.pilot import Pilot

from tui.client import Disconnected
from tui.paint import plain
from tui.screens.dialog import Question
from tui.screens.help import HelpScreen
from tui.screens.migration import MigrationScreen
from tui.screens.move import LiveDialog
from tui.screens.servers import ServersScreen
from tui.widgets.lines import Lines
from wire.errors import ErrorCode, GodwitError
from wire.migration import MigrationState

WEB_2 = "7c1d0000-0000-4000-8000-000000000002"
KVM_02 = "0b5e4a4e-0000-4000-8000-000000000002"


def text_of(pilot: Pilot, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


@pytest.fixture
async def pilot(open_console, settled):
    """The dialog of web-2, which runs on kvm-02."""
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "G", "M")
        await settled(pilot)
        yield pilot


async def test_targets_that_fit_come_first_and_the_others_say_why_not(pilot):
    assert isinstance(pilot.app.screen, LiveDialog)
    assert "web-2 leaves kvm-02 while it runs" in text_of(pilot, "#intention")
    rows = text_of(pilot, "#targets").splitlines()[1:]
    assert [row.split("  ")[0] for row in rows] == ["best: kvm-05", "kvm-05", "kvm-02", "kvm-03"]
    assert "2 reasons: microcode 0x42e on kvm-01" in rows[3]


async def test_the_verdicts_are_those_of_the_target_under_the_cursor(pilot):
    assert "✔ online" in text_of(pilot, "#verdicts")
    await pilot.press("G")
    await pilot.pause()
    shown = text_of(pilot, "#verdicts")
    assert "microcode 0x42e on kvm-01, 0x428 on kvm-03" in shown
    assert "kernel 6.1.0-28-amd64 on kvm-01, 6.1.0-26-amd64 on kvm-03" in shown


async def test_what_will_happen_stands_before_the_start(pilot):
    await pilot.press("j", "j", "enter")
    assert isinstance(pilot.app.screen, Question)
    assert text_of(pilot, "#sentence").splitlines() == [
        "Live-migrate web-2 from kvm-02 to kvm-02?",
        "",
        "copies      256 MiB of memory; vda on shared storage stays",
        "meanwhile   web-2 runs on",
        "pause       aims at 300 ms, and may exceed it",
        "if too busy its CPUs are slowed step by step (auto-converge, up to 99 %)",
        "to stop     X aborts; web-2 then stays on kvm-02 as it is",
    ]


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_everything_but_y_means_no(pilot, client, key):
    await pilot.press("enter", key)
    assert isinstance(pilot.app.screen, LiveDialog)
    assert not [call for call in client.asked if call[0] == "live_migrate"]


async def test_y_starts_with_a_pin_and_shows_the_migration(pilot, client, settled):
    await pilot.press("j", "j", "enter", "y")
    await settled(pilot)
    assert ("live_migrate", f"{WEB_2} {KVM_02}") in client.asked
    assert isinstance(pilot.app.screen, MigrationScreen)
    assert pilot.app.screen.migration.state is MigrationState.QUEUED


async def test_the_best_target_leaves_the_choice_to_the_scheduler(pilot, client, settled):
    await pilot.press("enter", "y")
    await settled(pilot)
    assert ("live_migrate", WEB_2) in client.asked


async def test_a_host_that_does_not_fit_cannot_be_chosen(pilot, client):
    await pilot.press("G", "enter")
    assert isinstance(pilot.app.screen, LiveDialog)
    shown = text_of(pilot, "#verdicts")
    assert "kvm-03 does not fit web-2: choose a host that fits." in shown


async def test_a_refusal_is_one_sentence_in_the_dialog(pilot, client, settled):
    client.refusal = GodwitError(ErrorCode.CONFLICT, "web-2 already migrates to kvm-05")
    await pilot.press("enter", "y")
    await settled(pilot)
    assert isinstance(pilot.app.screen, LiveDialog)
    assert text_of(pilot, "#verdicts").startswith("web-2 already migrates to kvm-05")
    await pilot.press("escape")
    assert isinstance(pilot.app.screen, ServersScreen)


async def test_a_start_that_is_answered_under_the_help_shows_the_migration(pilot, client, settled):
    client.answering.clear()
    await pilot.press("enter", "y", "question_mark")
    client.answering.set()
    await settled(pilot)
    assert isinstance(pilot.app.screen, HelpScreen)
    await pilot.press("escape")
    await settled(pilot)
    assert isinstance(pilot.app.screen, MigrationScreen)
    await pilot.press("escape")
    assert isinstance(pilot.app.screen, ServersScreen)


async def test_a_start_is_sent_once_and_its_answer_waited_for(pilot, client, settled):
    client.answering.clear()
    await pilot.press("enter", "y", "enter", "y", "escape")
    assert isinstance(pilot.app.screen, LiveDialog)
    client.answering.set()
    await settled(pilot)
    assert [call[0] for call in client.asked].count("live_migrate") == 1
    assert isinstance(pilot.app.screen, MigrationScreen)


async def test_the_top_line_goes_on_behind_a_dialog(pilot, client, settled):
    client.stream.put_nowait(Disconnected(reason="no answer"))
    await settled(pilot)
    assert isinstance(pilot.app.screen, LiveDialog)
    assert "lost 0 s ago" in plain(pilot.app.frame.top_line.lines[0])


@pytest.mark.parametrize("keys", [[], ["b"]], ids=["one", "two"])
async def test_what_changes_is_drawn_behind_every_dialog(pilot, client, settled, keys):
    await pilot.press(*keys)
    await settled(pilot)
    client.stream.put_nowait(Disconnected(reason="no answer"))
    await pilot.pause(0.05)
    await settled(pilot)
    assert "lost 0 s ago" in pilot.app.screen._compositor.render_strips()[0].text


@pytest.mark.parametrize("key", ["r", ""])
async def test_the_targets_are_asked_for_again(pilot, client, settled, key):
    client.candidate_list = client.candidate_list[:1]
    if key:
        await pilot.press(key)
    else:
        client.say(client.fleet)
        await pilot.pause(0.05)
    await settled(pilot)
    assert len([call for call in client.asked if call[0] == "candidates"]) == 2
    assert "best: no host fits" in text_of(pilot, "#targets")


async def test_typing_ahead_cannot_start_a_migration(open_console, client, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "G", "M", "y")
        await settled(pilot)
        assert isinstance(pilot.app.screen, LiveDialog)
        assert not [call for call in client.asked if call[0] == "live_migrate"]


async def test_when_nothing_fits_the_first_row_says_so(open_console, client, settled):
    client.candidate_list = client.candidate_list[:1]
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "G", "M")
        await settled(pilot)
        assert "best: no host fits" in text_of(pilot, "#targets")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, LiveDialog)
        assert "there is nowhere to move it" in text_of(pilot, "#verdicts")


async def test_abort_asks_first_and_says_what_happens(open_console, client, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("3", "X")
        shown = " ".join(text_of(pilot, "#sentence").split())
        assert shown.startswith("Abort the live migration of db-1 from kvm-01 to kvm-02?")
        assert "db-1 stays on kvm-01 as it is, and kvm-02 drops" in shown
        await pilot.press("n", "X", "y")
        await settled(pilot)
        assert [call for call in client.asked if call[0] == "cancel"] == [("cancel", "3f000003")]


async def test_the_footer_offers_only_what_the_server_allows(open_console, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("2", "g", "j")
        await pilot.pause()
        assert "X Abort" in text_of(pilot, "#footer")
        assert "enter Migration" in text_of(pilot, "#footer")
        await pilot.press("j")
        await pilot.pause()
        assert "Abort" not in text_of(pilot, "#footer")
        assert "Migration" not in text_of(pilot, "#footer")


async def test_a_migration_that_nothing_is_heard_of_says_so(open_console, client, fleet, settled):
    reason = "kvm-01 does not answer, last heard 18 s ago"
    moving = msgspec.structs.replace(fleet.migrations[0], stalled_reason=reason)
    client.fleet = msgspec.structs.replace(fleet, migrations=(moving,))
    async with open_console().run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("3", "enter")
        await settled(pilot)
        assert "not heard of now" in text_of(pilot, "#heading")
        assert reason in text_of(pilot, "#report")
        assert "expected downtime" not in text_of(pilot, "#report")
        await pilot.press("X", "y")
        await settled(pilot)
        assert f"not yet done: {reason}" in text_of(pilot, "Notice")


async def test_an_ended_migration_has_nothing_to_abort(open_console, client, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("3", "j", "enter", "X")
        await settled(pilot)
        assert isinstance(pilot.app.screen, MigrationScreen)
        assert not [call for call in client.asked if call[0] == "cancel"]
        assert "Abort" not in text_of(pilot, "#footer")


async def test_quitting_asks_while_a_migration_that_was_started_here_runs(pilot, settled):
    await pilot.press("enter", "y")
    await settled(pilot)
    await pilot.press("q")
    assert isinstance(pilot.app.screen, Question)
    shown = " ".join(text_of(pilot, "#sentence").split())
    assert "web-2" in shown
    assert "goes on without the console" in shown
    await pilot.press("n")
    assert isinstance(pilot.app.screen, MigrationScreen)
    await pilot.press("q", "y")
    assert pilot.app.return_code == 0
