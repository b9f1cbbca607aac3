"""What the inventory tells when libvirt answers for some things and not for others."""

import asyncio

import pytest

from hostagent.calls import LibvirtSilent
from hostagent.domain import Definition, State
from hostagent.guest import Guest
from hostagent.inventory import Inventory
from wire.agent import ServerGone
from wire.fleet import HostFacts, PowerState, ServerFacts


def guest(server_id: str, power: PowerState = PowerState.RUNNING) -> Guest:
    return Guest(
        definition=Definition(
            server_id=server_id,
            name=f"name of {server_id}",
            vcpu_count=1,
            memory_bytes=1 << 20,
            cpu_model="",
            machine="pc",
            virt_type="qemu",
            disks=(),
        ),
        saved_xml="<domain/>",
        state=State(power=power, detail=""),
        incoming=False,
        job_active=False,
    )


class HalfDeafDriver:
    """A host of which some domains hang."""

    connected = True

    def __init__(self, facts: HostFacts) -> None:
        self.host_facts: HostFacts | None = facts
        self.guests: dict[str, Guest | None] = {}
        self.hanging: set[str] = set()

    async def facts(self) -> HostFacts:
        if self.host_facts is None:
            raise LibvirtSilent("a pool hangs")
        return self.host_facts

    async def server_ids(self) -> tuple[str, ...]:
        return tuple(self.guests)

    async def guest(self, server_id: str) -> Guest | None:
        if server_id in self.hanging:
            raise LibvirtSilent("libvirt did not describe a domain within 5 s")
        return self.guests.get(server_id)

    async def disks(self, _guest: Guest, _pools: object) -> tuple[()]:
        return ()


@pytest.fixture
async def scene(make_facts):
    driver, told = HalfDeafDriver(make_facts()), []
    inventory = Inventory(driver, publish=told.append, on_change=lambda: None)  # type: ignore[arg-type]  # stands in for libvirt
    task = asyncio.create_task(inventory.run())
    yield driver, inventory, told
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(found) -> None:
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.01)


async def test_a_domain_that_hangs_hides_no_other_and_counts_as_there(scene):
    driver, inventory, told = scene
    driver.guests = {"hangs": guest("hangs"), "works": guest("works")}
    driver.hanging = {"hangs"}
    inventory.everything_changed()
    await until(lambda: inventory.listed)
    assert set(inventory.servers) == {"works"}
    assert inventory.unread_ids == {"hangs"}
    driver.hanging = set()
    await until(lambda: "hangs" in inventory.servers)
    assert inventory.unread_ids == set()
    names = [event.name for event in told if isinstance(event, ServerFacts)]
    assert names == ["name of works", "name of hangs"]


async def test_a_pool_that_hangs_stops_no_server(scene):
    driver, inventory, _ = scene
    inventory.everything_changed()
    await until(lambda: inventory.listed)
    driver.host_facts = None
    driver.guests = {"new": guest("new")}
    inventory.everything_changed()
    await until(lambda: "new" in inventory.servers)


async def test_only_differences_are_told(scene):
    driver, inventory, told = scene
    driver.guests = {"one": guest("one"), "two": guest("two")}
    inventory.everything_changed()
    await until(lambda: inventory.listed)
    told.clear()
    driver.guests = {"one": None, "two": guest("two", PowerState.PAUSED)}
    inventory.everything_changed()
    await until(lambda: len(told) == 2)
    inventory.everything_changed()
    inventory.server_changed("two")
    await asyncio.sleep(0.1)
    assert [event for event in told if isinstance(event, ServerGone)] == [
        ServerGone(server_id="one")
    ]
    states = [event.state for event in told if isinstance(event, ServerFacts)]
    assert states == [PowerState.PAUSED]


async def test_what_a_new_libvirtd_does_not_have_was_not_removed(scene):
    driver, inventory, _ = scene
    driver.guests = {"lost": guest("lost"), "removed": guest("removed")}
    inventory.everything_changed()
    await until(lambda: inventory.listed)
    del driver.guests["lost"]
    inventory.everything_changed()
    await until(lambda: set(inventory.servers) == {"removed"})
    await until(lambda: not inventory._doubted_ids & {"removed"})
    del driver.guests["removed"]
    inventory.server_changed("removed")
    await until(lambda: not inventory.servers)
    assert inventory.removed_ids == {"removed"}
    driver.guests = {"removed": guest("removed")}
    inventory.everything_changed()
    await until(lambda: inventory.servers)
    assert inventory.removed_ids == set()
