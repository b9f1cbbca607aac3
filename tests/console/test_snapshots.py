"""Every view as a picture, at three sizes; ``pytest --snapshot-update`` draws them anew."""

from pathlib import Path

import pytest

from tests.console import emptying, host_down
from tests.console.scenes import SCENES
from wire.console import Role

SIZES = [(80, 24), (120, 40), (200, 50)]
VIEWS = {
    "hosts": [],
    "hosts_other_cursor": ["j", "j"],
    "servers": ["2", "j"],
    "migrations": ["3"],
    "targets": ["2", "G", "M", "G"],
    "targets_skipped": ["2", "G", "M", "c", "n", "f", "G"],
    "targets_cold": ["2", "j", "j", "j", "M"],
    "question": ["2", "G", "M", "enter"],
    "question_options": ["2", "G", "M", *"cntfd", "G", "enter"],
    "entry": ["2", "G", "M", "b", *"100"],
    "cap": ["3", "enter", "B", *"50"],
    "servers_of_a_host": ["enter"],
    "help": ["2", "question_mark"],
    "help_migration": ["3", "enter", "question_mark"],
}

HOST_DOWN = {
    "health": ("rescuing", ["4"]),
    "health_disarmed": ("storm", ["4", "enter"]),
    "incidents": ("storm", ["5"]),
    "incident": ("rescuing", ["5", "enter", "j"]),
    "report": ("rescuing", ["5", "v"]),
    "policy": ("rescuing", ["j", "j", "H"]),
    "declare_off": ("proving", ["4", "F", *"kvm"]),
    "rescue": ("proving", ["5", "enter", "M", "enter", *"kvm", "minus", *"04", "enter"]),
}

EMPTYING = {
    "hosts_marked": ("running", ["space", "space"]),
    "maintenance": ("planned", ["M"]),
    "plan": ("planned", ["E", "G", "k", "k", "k", "k", "k"]),
    "plan_line": ("planned", ["E", "enter", "f"]),
    "plan_options": ("planned", ["E", "a"]),
    "plan_of_two": ("planned", ["space", "space", "E"]),
    "plan_run": ("planned", ["E", "R", *"kvm"]),
    "plan_of_a_dead_host": ("rescue", ["G", "E"]),
    "plan_of_a_return": ("ended", ["B"]),
    "evacuations": ("running", ["6"]),
    "evacuation": ("running", ["E"]),
    "evacuation_paused": ("paused", ["E"]),
    "evacuation_ended": ("ended", ["6", "enter"]),
    "evacuation_report": ("ended", ["6", "v"]),
    "evacuation_cancel": ("running", ["E", "C"]),
    "help_evacuation": ("running", ["E", "question_mark"]),
}


@pytest.fixture
def replayed(busy, replay, make):
    """Let the console see the recorded migration after so many samples, or ended."""

    def put(samples: int) -> None:
        replay(make["cut_short"](busy, samples) if samples else busy)

    return put


@pytest.fixture
def matches(snap_compare, settled):
    def compare(console, size, keys) -> bool:
        async def press(pilot) -> None:
            await settled(pilot)
            for key in keys:
                await pilot.press(key)
                await settled(pilot)

        return snap_compare(console, terminal_size=size, run_before=press)

    return compare


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS)
def test_view(open_console, matches, view, size):
    assert matches(open_console(), size, VIEWS[view])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("samples", [60, 0], ids=["under_way", "ended"])
def test_recorded_migration(open_console, matches, replayed, samples, size):
    replayed(samples)
    assert matches(open_console(), size, ["3", "enter"])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_recorded_failure(open_console, matches, cut_link, replay, size):
    replay(cut_link)
    assert matches(open_console(), size, ["3", "enter"])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", ["cold", "live_disks", "postcopy", "halted", "kept"])
def test_scene(open_console, matches, client, scene, size):
    SCENES[scene](client)
    assert matches(open_console(), size, ["3", "enter"])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_settling(open_console, matches, client, size):
    SCENES["doubt"](client)
    assert matches(open_console(), size, ["2", "S"])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", HOST_DOWN)
def test_host_down(open_console, matches, client, monkeypatch, view, size):
    monkeypatch.setattr("tui.desk.time.time", lambda: host_down.NOON_MS / 1000)
    scene, keys = HOST_DOWN[view]
    host_down.SCENES[scene](client)
    assert matches(open_console(), size, keys)


@pytest.mark.parametrize("size", [(80, 24), (250, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", EMPTYING)
def test_emptying(open_console, matches, client, monkeypatch, view, size):
    monkeypatch.setattr("tui.desk.time.time", lambda: emptying.NOON_MS / 1000)
    scene, keys = EMPTYING[view]
    emptying.SCENES[scene](client)
    assert matches(open_console(), size, keys)


def test_widest(open_console, matches, client):
    SCENES["live_disks"](client)
    assert matches(open_console(), (250, 60), ["3", "enter"])


def test_smallest(open_console, matches):
    assert matches(open_console(), (60, 16), ["2", "G", "M", "G"])


def test_too_small(open_console, matches):
    assert matches(open_console(), (50, 12), [])


def test_read_only(open_console, client, make, matches):
    client.fleet = make["fleet"](Role.VIEWER)
    assert matches(open_console(), (80, 24), ["2"])


@pytest.mark.parametrize("theme", [1, 2, 3], ids=["light", "contrast", "cvd"])
def test_theme(open_console, matches, theme):
    assert matches(open_console(), (80, 24), ["T"] * theme + ["2"])


def test_graph_style(open_console, matches, replayed, graph):
    replayed(60)
    assert matches(open_console(graph=graph), (80, 24), ["3", "enter"])


def test_every_picture_belongs_to_a_test(request):
    # the snapshot plug-in notices pictures left over only if one process runs all tests
    tests = {each.name for each in request.node.getparent(pytest.Module).collect()}
    pictures = {each.stem for each in (Path(__file__).parent / "__snapshots__").rglob("*.svg")}
    assert pictures
    assert pictures - tests == set()
