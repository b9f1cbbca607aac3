import pytest
from rich.style import Style

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
