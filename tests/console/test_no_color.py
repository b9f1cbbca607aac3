import pytest
from rich.style import Style

from tests.console import emptying
from tests.console.host_down import SCENES
from tui.screens.choice import ChoiceDialog
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.evacuation import EvacuationScreen
from tui.screens.evacuations import EvacuationsScreen
from tui.screens.health import HealthScreen
from tui.screens.hosts import HostsScreen
from tui.screens.incident import IncidentScreen
from tui.screens.incidents import IncidentsScreen
from tui.screens.plan import PlanScreen
from tui.screens.plan_edit import PlanLiveDialog
from tui.screens.report import ReportScreen
from tui.screens.rescue import RescueDialog
from tui.themes import THEMES


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_every_view_draws_without_colour(open_console, settled, monkeypatch, theme):
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_console().run_test(size=(120, 40)) as pilot:
        assert pilot.app.no_color
        pilot.app.theme = theme
        await settled(pilot)
        keys = ["1", "w", "d", "escape", "2", "M", "enter", "n", "escape", "slash", "a", "enter"]
        for key in [*keys, "escape", "3", "enter", "question_mark", "escape", "colon", "h"]:
            await pilot.press(key)
            await settled(pilot)
            assert coloured(pilot.app) == []


# scene, keys, and the screen that they lead to
HOST_DOWN = {
    "health": ("rescuing", "4", HealthScreen),
    "health in full": ("proving", ["4", "enter"], HealthScreen),
    "health of a storm": ("storm", "4", HealthScreen),
    "incidents": ("storm", "5", IncidentsScreen),
    "incident": ("rescuing", ["5", "enter", "j"], IncidentScreen),
    "report": ("rescuing", "5v", ReportScreen),
    "host policy": ("rescuing", "1H", ChoiceDialog),
    "priority": ("rescuing", "2U", ChoiceDialog),
    "declaring off": ("proving", "4F", Entry),
    "disarming": ("rescuing", "4A", Entry),
    "arming": ("storm", "4A", Question),
    "rescue": ("proving", ["5", "enter", "M"], RescueDialog),
    "rescue by name": ("proving", ["5", "enter", "M", "enter"], Entry),
}


@pytest.mark.parametrize("view", HOST_DOWN)
async def test_a_host_that_is_down_is_drawn_without_colour(
    open_console, client, settled, monkeypatch, view
):
    monkeypatch.setenv("NO_COLOR", "1")
    scene, pressed, screen = HOST_DOWN[view]
    SCENES[scene](client)
    async with open_console().run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key in pressed:
            await pilot.press(key)
            await settled(pilot)
        assert isinstance(pilot.app.screen, screen)
        assert coloured(pilot.app) == []


EMPTYING = {
    "marks": ("running", ["space"], HostsScreen),
    "plan": ("planned", ["E", "j"], PlanScreen),
    "plan of a dead host": ("rescue", ["G", "E"], PlanScreen),
    "line of a plan": ("planned", ["E", "enter"], PlanLiveDialog),
    "start": ("planned", ["E", "R"], Entry),
    "evacuations": ("running", ["6"], EvacuationsScreen),
    "evacuation": ("paused", ["E"], EvacuationScreen),
    "its end": ("ended", ["6", "enter"], EvacuationScreen),
}


@pytest.mark.parametrize("view", EMPTYING)
async def test_a_host_that_is_emptied_is_drawn_without_colour(
    open_console, client, settled, monkeypatch, view
):
    monkeypatch.setenv("NO_COLOR", "1")
    scene, pressed, screen = EMPTYING[view]
    emptying.SCENES[scene](client)
    async with open_console().run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key in pressed:
            await pilot.press(key)
            await settled(pilot)
        assert isinstance(pilot.app.screen, screen)
        assert coloured(pilot.app) == []


async def test_the_cursor_row_differs_from_the_others(open_console, settled, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_console().run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        rows = [strip.text for strip in drawn(pilot.app)]
        cursor = next(y for y, text in enumerate(rows) if text.startswith("kvm-01"))
        styles = [style_at(pilot.app, y) for y in (cursor, cursor + 1)]
        assert [style.reverse for style in styles] == [True, None]


def test_no_theme_is_of_the_kind_that_turns_black_on_black():
    assert not any(theme.ansi for theme in THEMES)


def drawn(app):
    return app.screen._compositor.render_strips()


def style_at(app, y: int) -> Style:
    return next(iter(drawn(app)[y])).style


def coloured(app) -> list[str]:
    """Texts whose colour is no grey."""
    return [
        segment.text
        for strip in drawn(app)
        for segment in strip
        for colour in (segment.style.color, segment.style.bgcolor)
        if colour is not None and len(set(colour.get_truecolor())) > 1
    ]
