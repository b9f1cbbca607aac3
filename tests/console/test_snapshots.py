"""Every view as a picture, at its sizes; ``pytest --snapshot-update`` draws them anew."""

from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension

from tests.console import emptying, host_down
from tests.console.acts import audited
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
def pictured(snapshot, settled, tmp_path):
    """Press keys in a console, and compare what it shows at each size with the stored picture.

    One console is brought to all sizes, one after the other. A picture that differs is kept in the
    test's folder.
    """
    stored = snapshot.use_extension(SVGImageExtension)

    async def compare(console, keys, *sizes: tuple[int, int]) -> None:
        differing = []
        async with console.run_test(size=sizes[0]) as pilot:
            await settled(pilot)
            for key in keys:
                await pilot.press(key)
                await settled(pilot)
            for width, height in sizes:
                if (width, height) != tuple(console.size):
                    await pilot.resize_terminal(width, height)
                    # the view behind a dialog has its new room only after the first of these
                    await settled(pilot)
                    await settled(pilot)
                drawn = console.export_screenshot(title=console.title, simplify=True)
                name = f"{width}x{height}"
                if stored(name=name) != drawn:
                    kept = tmp_path / f"{name}.svg"
                    kept.write_text(drawn)
                    differing.append(str(kept))
        assert differing == [], "--snapshot-update draws them anew"

    return compare


@pytest.mark.parametrize("view", VIEWS)
async def test_view(open_console, pictured, view):
    await pictured(open_console(), VIEWS[view], *SIZES)


@pytest.mark.parametrize("samples", [60, 0], ids=["under_way", "ended"])
async def test_recorded_migration(open_console, pictured, replayed, samples):
    replayed(samples)
    await pictured(open_console(), ["3", "enter"], *SIZES)


async def test_recorded_failure(open_console, pictured, cut_link, replay):
    replay(cut_link)
    await pictured(open_console(), ["3", "enter"], *SIZES)


@pytest.mark.parametrize("scene", ["cold", "live_disks", "postcopy", "halted", "kept"])
async def test_scene(open_console, pictured, client, scene):
    SCENES[scene](client)
    widest = [(250, 60)] if scene == "live_disks" else []
    await pictured(open_console(), ["3", "enter"], *SIZES, *widest)


async def test_settling(open_console, pictured, client):
    SCENES["doubt"](client)
    await pictured(open_console(), ["2", "S"], *SIZES)


@pytest.mark.parametrize("view", HOST_DOWN)
async def test_host_down(open_console, pictured, client, monkeypatch, view):
    monkeypatch.setattr("tui.desk.time.time", lambda: host_down.NOON_MS / 1000)
    scene, keys = HOST_DOWN[view]
    host_down.SCENES[scene](client)
    await pictured(open_console(), keys, *SIZES)


@pytest.mark.parametrize("view", EMPTYING)
async def test_emptying(open_console, pictured, client, monkeypatch, view):
    monkeypatch.setattr("tui.desk.time.time", lambda: emptying.NOON_MS / 1000)
    scene, keys = EMPTYING[view]
    emptying.SCENES[scene](client)
    await pictured(open_console(), keys, (80, 24), (250, 60))


@pytest.mark.parametrize("keys", [[], ["G", *"kkkkkkk", "enter"]], ids=["list", "in_full"])
async def test_audit(open_console, pictured, client, keys):
    audited(client)
    await pictured(open_console(), ["colon", *"audit", "enter", *keys], *SIZES)


async def test_smallest(open_console, pictured):
    await pictured(open_console(), ["2", "G", "M", "G"], (60, 16))


async def test_too_small(open_console, pictured):
    await pictured(open_console(), [], (50, 12))


async def test_read_only(open_console, client, make, pictured):
    client.fleet = make["fleet"](Role.VIEWER)
    await pictured(open_console(), ["2"], (80, 24))


@pytest.mark.parametrize("theme", [1, 2, 3], ids=["light", "contrast", "cvd"])
async def test_theme(open_console, pictured, theme):
    await pictured(open_console(), ["T"] * theme + ["2"], (80, 24))


async def test_graph_style(open_console, pictured, replayed, graph):
    replayed(60)
    await pictured(open_console(graph=graph), ["3", "enter"], (80, 24))


def test_every_picture_belongs_to_a_test(request):
    # the snapshot plug-in notices pictures left over only if one process runs all tests
    tests = {each.name for each in request.node.getparent(pytest.Module).collect()}
    stored = (Path(__file__).parent / "__snapshots__").rglob("*.svg")
    pictures = {each.stem.rpartition("[")[0] for each in stored}
    assert pictures
    assert pictures - tests == set()
