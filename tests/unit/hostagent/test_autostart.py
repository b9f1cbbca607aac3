"""Which servers a host starts again by itself, and when; on a real etcd."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from hostagent import autostart
from hostagent.autostart import Autostart
from hostagent.inventory import Inventory
from hostagent.ownership import Ownership
from wire.agent import GuestTruth
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner, OwnerPhase, PowerState, ServerRecord
from wire.keys import SERVERS

OURS = Owner(host_id="host-1", epoch=1, generation=1)
LEAVING = msgspec.structs.replace(
    OURS, phase=OwnerPhase.MIGRATING, target_host_id="host-2", migration_id="m1"
)
COMING = msgspec.structs.replace(LEAVING, host_id="host-2", target_host_id="host-1")


class Scene:
    """libvirt has every server, stopped as after a power cut."""

    connected = False

    def __init__(self, etcd, facts) -> None:
        self.etcd = etcd
        self.started: list[str] = []
        self.refusals = 0
        inventory = Inventory(
            object(),  # type: ignore[arg-type]  # nothing is read from libvirt here
            publish=lambda _: None,
            on_change=lambda: None,
        )
        inventory.facts = facts
        self.autostart = Autostart(
            etcd,
            self,  # type: ignore[arg-type]
            inventory,
            Ownership(etcd),
            self,  # type: ignore[arg-type]
            host_shuts_down=lambda: False,
        )

    async def truth(self, server_id: str) -> GuestTruth:
        on = server_id in self.started
        return GuestTruth(
            server_id=server_id, state=PowerState.RUNNING if on else PowerState.SHUT_OFF
        )

    async def start(self, server_id: str, *, host_id: str, if_so) -> bool:  # noqa: ARG002
        if self.refusals:
            self.refusals -= 1
            raise GodwitError(ErrorCode.CONFLICT, "its process still dies")
        assert host_id == "host-1"
        self.started.append(server_id)
        return True

    def put(self, server_id: str, owner: Owner, *, wanted_on: bool = True) -> None:
        record = ServerRecord(
            server_id=server_id,
            name=server_id,
            vcpu_count=1,
            memory_bytes=1,
            disks=(),
            owner=owner,
            wanted_on=wanted_on,
        )
        self.etcd.put(SERVERS + server_id, msgspec.json.encode(record))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.autostart.run())
        self.autostart.begin()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_started(self, *server_ids: str) -> None:
        async with asyncio.timeout(20):
            while sorted(self.started) != sorted(server_ids):
                await asyncio.sleep(0.02)


@pytest.fixture
def scene(etcd, make_facts, monkeypatch) -> Scene:
    for name in ("_SURE_S", "_LOOK_SOON_S", "_LOOK_S"):
        monkeypatch.setattr(autostart, name, 0.05)
    return Scene(etcd, make_facts())


@pytest.mark.parametrize("owner", [LEAVING, COMING])
async def test_what_was_killed_while_it_moved_is_started_once_it_is_settled_here(scene, owner):
    scene.put("moving", owner)
    scene.put("other", owner)
    scene.put("ours", OURS)
    async with scene.running():
        await scene.until_started("ours")
        await asyncio.sleep(0.5)
        scene.put("other", msgspec.structs.replace(OURS, host_id="host-2"))
        scene.put("moving", OURS)
        await scene.until_started("ours", "moving")
        await asyncio.sleep(0.3)
        scene.put("other", OURS)  # it came later, and by itself
        await asyncio.sleep(0.3)
        assert sorted(scene.started) == ["moving", "ours"]


async def test_a_start_that_is_refused_is_tried_until_it_is_not_wanted_any_more(scene):
    scene.refusals = 5
    scene.put("ours", OURS)
    scene.put("off", OURS, wanted_on=False)
    scene.put("others", msgspec.structs.replace(OURS, host_id="host-2"))
    async with scene.running():
        await scene.until_started("ours")
    assert scene.refusals == 0


async def test_a_guest_that_ends_later_is_left_to_whoever_ended_it(scene):
    scene.put("ours", OURS)
    async with scene.running():
        await scene.until_started("ours")
        await asyncio.sleep(0.3)
        scene.started.clear()
        await asyncio.sleep(0.3)
        assert scene.started == []


async def test_a_guest_whose_migration_broke_and_ended_its_qemu_is_started_once_it_is_settled(
    scene,
):
    scene.started = ["broken", "whole"]
    scene.put("broken", LEAVING)
    scene.put("whole", LEAVING)
    async with scene.running():
        await asyncio.sleep(0.3)
        scene.autostart.look_after("broken")
        scene.autostart.look_after("whole")
        scene.started.remove("broken")
        await asyncio.sleep(0.3)
        assert scene.started == ["whole"]
        scene.put("broken", OURS)
        scene.put("whole", OURS)
        await scene.until_started("broken", "whole")


async def test_a_guest_that_fell_before_another_ones_migration_broke_is_left_alone(scene):
    scene.started = ["fell", "broken"]
    scene.put("fell", OURS)
    scene.put("broken", OURS)
    async with scene.running():
        await asyncio.sleep(0.3)
        scene.started.clear()
        scene.autostart.look_after("broken")
        await scene.until_started("broken")
        await asyncio.sleep(0.3)
        assert scene.started == ["broken"]
