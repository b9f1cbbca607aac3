"""Terminals without UTF-8: every view is drawn in ASCII, by choice or by itself."""

import io
import sys

import pytest

from tests.console.emptying import SCENES
from tui.opening import graph_style
from tui.plot import GraphStyle
from wire.config import ConfigError


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_every_view_is_drawn_in_ascii(open_console, settled, size):
    async with open_console(graph=GraphStyle.ASCII).run_test(size=size) as pilot:
        await settled(pilot)
        keys = ["1", "w", "d", "escape", "2", "O", "M", "enter", "n", "escape", "question_mark"]
        for key in [*keys, "escape", "3", "j", "enter", "escape", "g", "enter", "colon", "h"]:
            await pilot.press(key)
            await settled(pilot)
            strips = pilot.app.screen._compositor.render_strips()
            assert [strip.text for strip in strips if not strip.text.isascii()] == []


@pytest.mark.parametrize("scene", ["planned", "paused", "ended"])
async def test_a_host_is_emptied_in_ascii(open_console, client, settled, scene):
    SCENES[scene](client)
    async with open_console(graph=GraphStyle.ASCII).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key in ["space", "escape", "g", "E", "enter", "escape", "escape", "6", "enter"]:
            await pilot.press(key)
            await settled(pilot)
            strips = pilot.app.screen._compositor.render_strips()
            assert [strip.text for strip in strips if not strip.text.isascii()] == []


@pytest.mark.parametrize(
    ("wanted", "encoding", "style"),
    [
        (None, "utf-8", GraphStyle.BRAILLE),
        (None, "iso8859-1", GraphStyle.ASCII),
        ("block", "iso8859-1", GraphStyle.BLOCK),
        ("", "utf-8", GraphStyle.BRAILLE),
    ],
)
def test_the_style_is_the_wanted_one_else_what_the_terminal_can_show(
    monkeypatch, wanted, encoding, style
):
    monkeypatch.delenv("GODWIT_GRAPH", raising=False)
    if wanted is not None:
        monkeypatch.setenv("GODWIT_GRAPH", wanted)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert graph_style() is style


def test_a_style_that_is_none_is_refused_with_those_there_are(monkeypatch):
    monkeypatch.setenv("GODWIT_GRAPH", "pixels")
    with pytest.raises(ConfigError, match="'pixels', and should be one of braille, block, ascii"):
        graph_style()
