"""The console on a real lab: from the table of hosts to a host that is empty."""

import asyncio
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from textual.pilot import Pilot

from lab.fleet import Lab
from tests.fleet import Fleet, eventually
from tui.app import Console
from tui.client import Client
from tui.desk import Desk
from tui.paint import plain
from tui.screens.entry import Entry
from tui.screens.evacuation import EvacuationScreen
from tui.screens.hosts import HostsScreen
from tui.screens.plan import PlanScreen
from tui.settings import settings_from
from tui.widgets.lines import Lines
from wire.fleet import HostStatus

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

EMPTIED = "kvm-01"


@pytest.fixture
def in_service(fleet: Fleet) -> Iterator[None]:
    """The host takes servers again when a test ends, and nothing is open about it."""
    yield
    fleet.godwit("evacuation-cancel", EMPTIED)
    eventually(
        lambda: fleet.godwit("host-exit-maintenance", EMPTIED).returncode == 0,
        within_s=60,
        what=f"{EMPTIED} is in service",
    )


def console_on(lab: Lab, role: str = "operator", *, read_only: bool = False) -> Console:
    """A console as ``godwit`` opens it."""
    settings = settings_from(lab.environment(role))
    address = urlsplit(settings.backend_url).netloc
    return Console(Desk(Client(settings), address, read_only_wanted=read_only))


async def until(pilot: Pilot[None], check: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not check():
            await pilot.pause(0.1)


async def open_plan(pilot: Pilot[None], server: str) -> None:
    """The first key: the plan of the host under the cursor, once it is there."""
    console = pilot.app
    assert isinstance(console, Console)
    store = console.desk.store
    await until(pilot, lambda: server in {one.name for one in store.servers.values()})
    await until(pilot, lambda: {one.status for one in store.hosts.values()} == {HostStatus.ONLINE})
    await until(pilot, lambda: EMPTIED in text_of(pilot, "#table"))
    await pilot.press("E")
    await until(pilot, lambda: server in text_of(pilot, "#table"))
    assert isinstance(pilot.app.screen, PlanScreen)


def text_of(pilot: Pilot[None], selector: str) -> str:
    return "\n".join(plain(one) for one in pilot.app.screen.query_one(selector, Lines).lines)


@pytest.mark.usefixtures("in_service")
async def test_four_keys_empty_a_host_and_read_only_has_none_of_them(fleet: Fleet):
    server = fleet.add_server(EMPTIED)
    for role, read_only in (("viewer", False), ("operator", True)):
        async with console_on(fleet.lab, role, read_only=read_only).run_test() as pilot:
            await open_plan(pilot, server)
            assert "Run" not in text_of(pilot, "#footer")
            await pilot.press("R")
            assert isinstance(pilot.app.screen, PlanScreen)
            await pilot.press("escape", "M")
            assert isinstance(pilot.app.screen, HostsScreen)
            assert "Maintenance" not in text_of(pilot, "#footer")

    console = console_on(fleet.lab)
    async with console.run_test() as pilot:
        await open_plan(pilot, server)
        assert "Run" in text_of(pilot, "#footer")
        await pilot.press("R")
        assert isinstance(pilot.app.screen, Entry)
        await pilot.press(*("minus" if one == "-" else one for one in EMPTIED), "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, EvacuationScreen))
        await until(pilot, lambda: not console.desk.store.open_evacuations())
        await until(pilot, lambda: "left" in text_of(pilot, "#table"))
    assert fleet.running_on(server) == ["kvm-02"]
    assert fleet.show(server)["host_name"] == "kvm-02"
