"""Pictures of the console on a real lab: `make screenshots`.

Brings up a lab of three hosts, drives the console with keys, as a person would, while db-1 (which
dirties 20 MB/s) moves over a link of 400 Mbit/s, while kvm-01 is emptied and filled again, and then
while kvm-02 loses its power, and saves what the screen shows as SVG.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

os.environ["TEXTUAL_ANIMATIONS"] = "none"  # read when textual is imported

from textual.pilot import Pilot

from lab import network, programs
from lab.fleet import Lab
from lab.state import LinkLimit
from tui.app import Console
from tui.client import Client
from tui.desk import Desk
from tui.screens.plan import PlanScreen
from tui.settings import Settings
from wire.config import TlsFiles
from wire.fleet import HostStatus
from wire.life import Fence
from wire.migration import MigrationOptions, MigrationState
from wire.rescue import HostPolicyChange, IncidentState

LAB = "screenshots"
FOLDER = Path(__file__).parent
SIZES = {"narrow": (80, 24), "wide": (140, 40)}
DYING = "kvm-02"
LEFT = "kvm-01"
"""The host that is emptied."""
Tour = Callable[[Lab, Pilot[None], Desk, Callable[[str], None]], Awaitable[None]]


def settings_of(lab: Lab) -> Settings:
    """How the console finds this lab's backend."""
    environment = programs.console_environment(lab.state, lab.folders, "operator")
    return Settings(
        backend_url=environment["GODWIT_BACKEND"],
        token_file=Path(environment["GODWIT_TOKEN_FILE"]),
        tls=TlsFiles(
            ca_file=Path(environment["GODWIT_CA_FILE"]),
            cert_file=Path(environment["GODWIT_CERT_FILE"]),
            key_file=Path(environment["GODWIT_KEY_FILE"]),
        ),
    )


async def until(pilot: Pilot[None], check: Callable[[], object]) -> None:
    """Wait for something that the lab does."""
    async with asyncio.timeout(180):
        while not check():
            await pilot.pause(0.1)


async def move(_lab: Lab, pilot: Pilot[None], desk: Desk, save: Callable[[str], None]) -> None:
    """Walk through hosts, servers and migrations, and move db-1 on the way."""
    store = desk.store
    await until(pilot, lambda: store.complete)
    await pilot.pause(1.5)
    save("hosts")
    await pilot.press("2")
    await pilot.pause(0.6)
    await pilot.press("slash", *"db-1", "enter", "M")
    await pilot.pause(1.5)
    await pilot.press("j", "j", "j")
    await pilot.pause(0.3)
    save("live-migrate")
    await pilot.press("g", "enter")
    await pilot.pause(0.5)
    await pilot.press("y")
    await until(
        pilot,
        lambda: any(
            one.state is MigrationState.COPYING_MEMORY for one in store.migrations.values()
        ),
    )
    await pilot.pause(2.0)
    save("migration")
    await until(pilot, lambda: all(one.state.ended for one in store.migrations.values()))
    await pilot.pause(1.5)
    save("migration-ended")
    await pilot.press("?")
    await pilot.pause(0.5)
    save("keys")
    await pilot.press("escape", "3")
    await pilot.pause(0.6)
    save("migrations")
    await pilot.press("2", "escape")
    await pilot.pause(0.6)
    save("servers")


async def empty(_lab: Lab, pilot: Pilot[None], desk: Desk, save: Callable[[str], None]) -> None:
    """Empty a host by keys, wait for the report, and bring back what left it."""
    store = desk.store
    await until(pilot, lambda: store.complete)
    host_id = next(key for key, each in store.hosts.items() if each.facts.name == LEFT)
    await until(pilot, lambda: store.hosts[host_id].status is HostStatus.ONLINE)
    await pilot.pause(1.5)
    await pilot.press("g", "E")
    await _planned(pilot)
    save("plan")
    await pilot.press("R")
    await _asked(pilot)
    await pilot.press(*("minus" if each == "-" else each for each in LEFT))
    await pilot.pause(0.5)
    await pilot.press("enter")
    await until(pilot, store.open_evacuations)
    await until(pilot, lambda: _sends(desk))
    await pilot.pause(0.6)
    save("evacuation")
    await until(pilot, lambda: not store.open_evacuations())
    await pilot.pause(1.5)
    save("evacuation-ended")
    await pilot.press("escape", "M")
    await _asked(pilot)
    await pilot.press("y")
    await until(pilot, lambda: not store.hosts[host_id].policy.maintenance)
    await pilot.pause(1.0)
    await pilot.press("B")
    await _planned(pilot)
    await pilot.press("R")
    await _asked(pilot)
    await pilot.press("y")
    await until(pilot, store.open_evacuations)
    await until(pilot, lambda: not store.open_evacuations())


async def _asked(pilot: Pilot[None]) -> None:
    """Wait for the question that an act asks first."""
    await until(pilot, lambda: pilot.app.screen.is_modal)


async def _planned(pilot: Pilot[None]) -> None:
    """Wait for the plan's screen, and for the backend's answer."""
    await until(
        pilot,
        lambda: isinstance(pilot.app.screen, PlanScreen) and not pilot.app.screen.asking,
    )
    await pilot.pause(0.6)


def _sends(desk: Desk) -> bool:
    """Whether a move of an evacuation is known to send."""
    moving = [one.migration_id for one in desk.store.under_way() if one.evacuation_id]
    lasts = [desk.store.last_sample(one) for one in moving]
    return any(last is not None and last.bandwidth_bytes_per_s for last in lasts)


async def lose(lab: Lab, pilot: Pilot[None], desk: Desk, save: Callable[[str], None]) -> None:
    """Cut the power of a host with three servers, and see what becomes of it and of its servers."""
    store = desk.store
    await until(pilot, lambda: store.complete)
    for host in store.hosts:
        await desk.client.set_host_policy(host, HostPolicyChange(auto_migrate_on_host_down=True))
    dying = next(key for key, each in store.hosts.items() if each.facts.name == DYING)
    await until(
        pilot,
        lambda: all(
            each.status is HostStatus.ONLINE and each.health and each.health.fence is Fence.WATCHDOG
            for each in store.hosts.values()
        ),
    )
    for name in ("cache-1", "db-1"):
        server = next(each for each in store.servers.values() if each.name == name)
        if server.host_name != DYING:
            wanted = MigrationOptions(prefer_host=DYING, skip_cpu_check=True)
            moving = await desk.client.migrate(server.server_id, "live", wanted)
            await until(pilot, lambda key=moving.migration_id: _over(desk, key))
    await pilot.press("4")
    await asyncio.to_thread(lab.power_cut, DYING)
    await until(pilot, lambda: store.hosts[dying].late)
    await pilot.pause(1.5)
    await pilot.press("g")
    await pilot.pause(0.3)
    save("health")
    await until(pilot, lambda: store.open_incident(dying))
    await pilot.press("5")
    await pilot.pause(0.6)
    await pilot.press("g", "enter")
    await until(
        pilot,
        lambda: (case := store.open_incident(dying)) and case.state is IncidentState.RESCUED,
    )
    await pilot.pause(1.0)
    save("incident")
    await pilot.press("G", "M")
    await pilot.pause(2.0)
    save("rescue")
    await asyncio.to_thread(lab.power_on, DYING)
    await until(pilot, lambda: store.hosts[dying].status is HostStatus.ONLINE)


def _over(desk: Desk, migration_id: str) -> bool:
    migration = desk.store.migrations.get(migration_id)
    return migration is not None and migration.state.ended


async def take(lab: Lab, tour: Tour, name: str, size: tuple[int, int]) -> None:
    """One tour at one size."""
    settings = settings_of(lab)
    desk = Desk(client=Client(settings), address=urlsplit(settings.backend_url).netloc)
    console = Console(desk)

    def save(view: str) -> None:
        release = platform.release()
        # the flavour of this machine's kernel is nobody's business; the columns stay in place
        shown = f"{release.partition('-')[0]}-amd64".ljust(len(release)).replace(" ", "&#160;")
        picture = console.export_screenshot(title="godwit").replace(release, shown)
        (FOLDER / f"{view}-{name}.svg").write_text(picture, encoding="utf-8")

    async with console.run_test(size=size) as pilot:
        await tour(lab, pilot, desk, save)


def main() -> None:
    """Bring the lab up, take every tour at both sizes, end the lab."""
    lab = Lab(LAB, say=print)
    try:
        lab.up()
        lab.wait_until_ready()
        for host in lab.state.hosts:
            rate = network.parse_rate("400mbit")
            lab.limit_link(host.name, LinkLimit(rate_bits_per_s=rate))
        for tour in (move, empty, lose):
            for name, size in SIZES.items():
                asyncio.run(take(lab, tour, name, size))
    finally:
        lab.down()
    print(f"the pictures are in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
