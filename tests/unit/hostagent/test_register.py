"""What an agent writes to etcd, and what it leaves alone."""

import asyncio
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from hostagent.fence.word import WORD, Word, boot_id, write
from hostagent.fencing import Fencing
from hostagent.inventory import Inventory, Server
from hostagent.ownership import Ownership
from hostagent.register import Register
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.fleet import (
    Disk,
    HostFacts,
    Owner,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
)
from wire.keys import DEFINITIONS, FACTS, HEALTH, SERVERS
from wire.lease import boot_clock_s

DISK = Disk(target="vda", source="/pool/a", capacity_bytes=100, allocation_bytes=40)
FACTS_OF_SERVER = ServerFacts(
    server_id="s1",
    name="web-1",
    vcpu_count=1,
    memory_bytes=1 << 28,
    disks=(DISK,),
    state=PowerState.RUNNING,
)
WEB = Server(facts=FACTS_OF_SERVER, saved_xml="<domain>1</domain>")


def having(**fields: object) -> Server:
    facts = msgspec.structs.replace(FACTS_OF_SERVER, **fields)
    return msgspec.structs.replace(WEB, facts=facts)


class Scene:
    """A register on a real etcd, with an inventory that the test fills."""

    def __init__(self, etcd, facts: HostFacts, folder: Path) -> None:
        self.etcd = etcd
        self.inventory = Inventory(
            object(),  # type: ignore[arg-type]  # nothing is read from libvirt here
            publish=lambda _: None,
            on_change=lambda: None,
        )
        self.inventory.facts = facts
        self.inventory.listed = True
        self.ownership = Ownership(etcd)
        self.fencing = Fencing(folder)
        self.host_shuts_down = False
        self.key_revision = 0
        self.take_key()
        self.register = Register(
            etcd,
            self.inventory,
            self.ownership,
            self.fencing,
            key_revision=lambda: self.key_revision,
            host_shuts_down=lambda: self.host_shuts_down,
        )

    def take_key(self) -> None:
        """Write the host's health key, as its heartbeat does."""
        self.etcd.put(HEALTH + "host-1", b"alive")
        self.key_revision = self.etcd.get(HEALTH + "host-1").mod_revision

    def record(self, server_id: str = "s1") -> ServerRecord | None:
        stored = self.etcd.get(SERVERS + server_id)
        return None if stored is None else msgspec.json.decode(stored.value, type=ServerRecord)

    def put(self, record: ServerRecord) -> None:
        self.etcd.put(SERVERS + record.server_id, msgspec.json.encode(record))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.register.run())
        self.register.begin_epoch(3)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settled(self, found) -> None:
        self.register.changed()
        async with asyncio.timeout(20):
            while not found():
                await asyncio.sleep(0.02)


@pytest.fixture
def scene(etcd, make_facts, tmp_path) -> Scene:
    return Scene(etcd, make_facts(), tmp_path / "run")


async def test_facts_records_and_definitions_are_written_once(scene, etcd):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
        record = scene.record()
        assert record.owner == Owner(host_id="host-1", epoch=3, generation=1)
        assert (record.wanted_on, record.disks[0].allocation_bytes) == (True, 0)
        assert etcd.get(DEFINITIONS + "s1").value == b"<domain>1</domain>"
        assert (
            msgspec.json.decode(etcd.get(FACTS + "host-1").value, type=HostFacts).name == "kvm-01"
        )
        revision = etcd.list("/").revision
        # only what is volatile moves: nothing is written
        disks = (msgspec.structs.replace(DISK, allocation_bytes=90),)
        scene.inventory.servers = {"s1": having(disks=disks)}
        for _ in range(3):
            scene.register.changed()
            await asyncio.sleep(0.15)
        assert etcd.list("/").revision == revision
        scene.inventory.servers = {"s1": having(memory_bytes=1 << 29)}
        await scene.settled(lambda: scene.record().memory_bytes == 1 << 29)


async def test_before_the_first_lease_nothing_is_written(scene, etcd):
    scene.inventory.servers = {"s1": WEB}
    task = asyncio.create_task(scene.register.run())
    scene.register.changed()
    await asyncio.sleep(0.2)
    assert etcd.list(SERVERS).items == etcd.list(FACTS).items == ()
    scene.register.begin_epoch(1)
    await scene.settled(scene.record)
    task.cancel()


async def test_a_server_that_is_only_being_received_is_not_adopted(scene):
    incoming = having(state=PowerState.PAUSED, incoming=True)
    scene.inventory.servers = {"s1": incoming, "s2": having(server_id="s2")}
    async with scene.running():
        await scene.settled(lambda: scene.record("s2"))
        assert scene.record("s1") is None


async def test_power_as_somebody_last_wanted_it(scene):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
        scene.inventory.servers = {"s1": having(state=PowerState.SHUT_OFF, state_detail="crashed")}
        await scene.settled(lambda: True)
        await asyncio.sleep(0.2)
        assert scene.record().wanted_on
        scene.register.powered("s1", on=False)
        await scene.settled(lambda: not scene.record().wanted_on)
        scene.register.powered("s1", on=True)
        await scene.settled(lambda: scene.record().wanted_on)


async def test_an_owner_is_never_changed_and_another_hosts_record_not_at_all(scene, etcd):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
        owner = Owner(
            host_id="host-1",
            epoch=3,
            generation=5,
            phase=OwnerPhase.MIGRATING,
            target_host_id="host-2",
            migration_id="m",
        )
        scene.put(msgspec.structs.replace(scene.record(), owner=owner))
        scene.inventory.servers = {"s1": having(vcpu_count=2)}
        await scene.settled(lambda: scene.record().vcpu_count == 2)
        assert scene.record().owner == owner
        moved = Owner(host_id="host-2", epoch=1, generation=6)
        scene.put(msgspec.structs.replace(scene.record(), owner=moved))
        before = etcd.get(SERVERS + "s1")
        scene.inventory.servers = {"s1": having(vcpu_count=3), "s2": having(server_id="s2")}
        await scene.settled(lambda: scene.record("s2"))
        assert etcd.get(SERVERS + "s1") == before


async def test_a_domain_that_is_gone_is_forgotten_unless_a_migration_holds_it(scene, etcd):
    held = having(server_id="s2")
    scene.inventory.servers = {"s1": WEB, "s2": held}
    async with scene.running():
        await scene.settled(lambda: scene.record("s1") and scene.record("s2"))
        record = scene.record("s2")
        owner = msgspec.structs.replace(record.owner, phase=OwnerPhase.MIGRATING, migration_id="m")
        scene.put(msgspec.structs.replace(record, owner=owner))
        scene.inventory.servers = {}
        scene.inventory.removed_ids = {"s1", "s2"}
        await scene.settled(lambda: scene.record("s1") is None)
        assert etcd.get(DEFINITIONS + "s1") is None
        assert scene.record("s2").owner == owner
        scene.put(msgspec.structs.replace(record, owner=record.owner))
        await scene.settled(lambda: scene.record("s2") is None)
        # adopted again, it does not fall back to a generation that was seen before
        scene.put(
            msgspec.structs.replace(
                record, owner=Owner(host_id="host-1", epoch=1, generation=8), server_id="s2"
            )
        )
        scene.inventory.servers, scene.inventory.removed_ids = {"s2": held}, set()
        await scene.settled(lambda: scene.record("s2").owner.epoch == 1)
        await scene.ownership.require_generation("s2", 8)
        etcd.delete(SERVERS + "s2")
        await scene.settled(lambda: scene.record("s2"))
        assert scene.record("s2").owner.generation == 9


async def test_a_lost_server_keeps_its_definition_until_it_is_found_again(scene, etcd):
    other = having(server_id="s2")
    scene.inventory.servers = {"s1": WEB, "s2": other}
    async with scene.running():
        await scene.settled(lambda: scene.record("s1") and scene.record("s2"))
        record = scene.record("s1")
        lost = msgspec.structs.replace(record.owner, phase=OwnerPhase.LOST)
        scene.inventory.servers, scene.inventory.removed_ids = {}, {"s1", "s2"}
        scene.put(msgspec.structs.replace(record, owner=lost))
        await scene.settled(lambda: scene.record("s2") is None)
        assert scene.record("s1").owner == lost
        assert etcd.get(DEFINITIONS + "s1").value == b"<domain>1</domain>"
        scene.inventory.servers = {"s1": WEB}
        await scene.settled(lambda: scene.record("s1").owner.phase is OwnerPhase.SETTLED)


async def test_what_libvirt_never_had_is_kept_as_lost(scene, etcd):
    record = ServerRecord(
        server_id="old",
        name="old",
        vcpu_count=1,
        memory_bytes=1,
        disks=(),
        owner=Owner(host_id="host-1", epoch=1, generation=1),
        wanted_on=False,
    )
    scene.put(record)
    other = msgspec.structs.replace(record.owner, host_id="host-2")
    scene.put(msgspec.structs.replace(record, server_id="others", owner=other))
    etcd.put(SERVERS + "broken", b"no json")
    etcd.put(DEFINITIONS + "old", b"<domain/>")
    async with scene.running():
        await scene.settled(lambda: scene.record("old").owner.phase is OwnerPhase.LOST)
        assert etcd.get(DEFINITIONS + "old").value == b"<domain/>"
        assert scene.record("others") is not None
        assert etcd.get(SERVERS + "broken").value == b"no json"


async def test_one_broken_record_does_not_stop_the_others(scene, etcd):
    etcd.put(SERVERS + "s1", b"no json")
    scene.inventory.servers = {"s1": WEB, "s2": having(server_id="s2")}
    async with scene.running():
        await scene.settled(lambda: scene.record("s2"))
    assert etcd.get(SERVERS + "s1").value == b"no json"


async def test_etcd_that_was_away_is_compared_with_again(scene, etcd, server):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
        server.send(signal.SIGSTOP)
        scene.inventory.servers = {"s1": having(vcpu_count=4)}
        scene.register.changed()
        await asyncio.sleep(1.5)
        server.send(signal.SIGCONT)
        etcd.delete(DEFINITIONS + "s1")
        await scene.settled(lambda: scene.record().vcpu_count == 4)
        scene.register.begin_epoch(4)
        await scene.settled(lambda: etcd.get(DEFINITIONS + "s1"))


async def test_generations_from_memory_while_etcd_is_away(scene, etcd, server):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
    owner = Owner(host_id="host-1", epoch=1, generation=4)
    scene.put(msgspec.structs.replace(scene.record(), owner=owner))
    assert (await scene.ownership.require_generation("s1", 4)).owner == owner
    server.send(signal.SIGSTOP)
    with pytest.raises(GodwitError, match="generation 3") as caught:
        await scene.ownership.require_generation("s1", 3)
    assert caught.value.code is ErrorCode.STALE_GENERATION
    assert await scene.ownership.require_generation("s1", 4) is None
    server.send(signal.SIGCONT)


async def test_a_migration_has_to_hold_the_record(scene):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
    for owner, sentence in (
        ({"phase": OwnerPhase.SETTLED}, "'web-1' is held by no migration, not by m1"),
        ({"phase": OwnerPhase.MIGRATING, "migration_id": "m0"}, "'web-1' is held by m0, not by m1"),
        ({"host_id": "host-2"}, "'web-1' belongs to the host host-2, not to host-1"),
    ):
        record = scene.record()
        fresh = msgspec.structs.replace(record.owner, **owner)
        scene.put(msgspec.structs.replace(record, owner=fresh))
        with pytest.raises(GodwitError) as caught:
            await scene.ownership.require_lock("s1", 1, host_id="host-1", migration_id="m1")
        assert (caught.value.code, caught.value.message) == (ErrorCode.CONFLICT, sentence)
        scene.put(record)
    owner = Owner(
        host_id="host-1", epoch=1, generation=1, phase=OwnerPhase.MIGRATING, migration_id="m1"
    )
    scene.put(msgspec.structs.replace(scene.record(), owner=owner))
    await scene.ownership.require_lock("s1", 1, host_id="host-1", migration_id="m1")


async def test_no_migration_begins_while_etcd_is_away(scene, etcd, server):
    scene.inventory.servers = {"s1": WEB}
    async with scene.running():
        await scene.settled(scene.record)
    owner = Owner(
        host_id="host-1", epoch=1, generation=1, phase=OwnerPhase.MIGRATING, migration_id="m1"
    )
    scene.put(msgspec.structs.replace(scene.record(), owner=owner))
    server.send(signal.SIGSTOP)
    with pytest.raises(EtcdUnreachable):
        await scene.ownership.require_lock("s1", 1, host_id="host-1", migration_id="m1")
    server.send(signal.SIGCONT)


async def test_no_migration_begins_of_a_server_without_a_record(scene):
    with pytest.raises(GodwitError, match="the server s1 has no record"):
        await scene.ownership.require_lock("s1", 1, host_id="host-1", migration_id="m1")


def placed(server: Server, **fields: object) -> Server:
    """The server with its disk so."""
    disk = msgspec.structs.replace(server.facts.disks[0], **fields)
    facts = msgspec.structs.replace(server.facts, disks=(disk,))
    return msgspec.structs.replace(server, facts=facts)


async def test_who_is_bound_to_this_host_may_stay_once_its_record_says_so(scene):
    scene.fencing.heard("host-1", 3, sent_s=1.0, ttl_s=10)
    async with scene.running():
        scene.inventory.servers["s1"] = placed(WEB, shared=False)
        scene.register.changed()
        await scene.settled(lambda: scene.fencing.may_stay == {"s1"})
        assert "vda lies on this host alone (/pool/a)" in scene.record().bound_by
        scene.inventory.servers["s1"] = placed(WEB, shared=True)
        scene.register.changed()
        await scene.settled(lambda: scene.record().bound_by == "")
        assert scene.fencing.may_stay == frozenset()


async def test_without_its_own_key_a_host_makes_nothing_rescuable(scene, etcd):
    scene.inventory.servers["s1"] = placed(WEB, shared=False)
    async with scene.running():
        await scene.settled(lambda: scene.fencing.may_stay == {"s1"})
        etcd.delete(HEALTH + "host-1")
        scene.inventory.servers = {"s1": placed(WEB, shared=True), "s2": having(server_id="s2")}
        await scene.settled(lambda: scene.fencing.may_stay == frozenset())
        await asyncio.sleep(0.3)
        assert scene.record().bound_by
        assert scene.record("s2") is None
        scene.inventory.servers = {"s2": having(server_id="s2")}
        scene.register.changed()
        await asyncio.sleep(0.3)
        assert scene.record() is not None
        scene.inventory.servers = {"s1": placed(WEB, shared=True), "s2": having(server_id="s2")}
        scene.take_key()
        await scene.settled(lambda: scene.record("s2") and not scene.record().bound_by)


async def test_nothing_becomes_rescuable_that_the_fence_cannot_kill_in_time(
    etcd, make_facts, tmp_path
):
    long_ago_s = boot_clock_s() - 9
    word = Word(boot_id(), "host-1", 3, armed=True, t_ok_s=long_ago_s, ttl_s=10)
    write(tmp_path / WORD, word)
    scene = Scene(etcd, make_facts(), tmp_path)
    scene.inventory.servers["s1"] = placed(WEB, shared=False)
    async with scene.running():
        await scene.settled(lambda: scene.fencing.may_stay == {"s1"})
        scene.inventory.servers["s1"] = placed(WEB, shared=True)
        await scene.settled(lambda: scene.fencing.may_stay == frozenset())
        await asyncio.sleep(0.3)
        assert scene.record().bound_by
        scene.fencing.heard("host-1", 3, sent_s=boot_clock_s(), ttl_s=10)
        await scene.settled(lambda: not scene.record().bound_by)


async def test_what_is_not_read_again_loses_the_right_to_stay_by_what_is_known(scene):
    scene.inventory.servers["s1"] = placed(WEB, shared=False)
    async with scene.running():
        await scene.settled(lambda: scene.fencing.may_stay == {"s1"})
        scene.inventory.unread_ids = {"s1"}
        scene.inventory.servers["s1"] = placed(WEB, shared=True)
        await scene.settled(lambda: not scene.record().bound_by)
        assert scene.fencing.may_stay == frozenset()


def test_a_right_that_is_withdrawn_during_a_pass_does_not_come_back(tmp_path):
    fencing = Fencing(tmp_path)
    fencing.let_stay({"s1", "s2"})
    fencing.keep_only({"s1", "s2"})
    fencing.withdraw("s1")
    fencing.let_stay({"s1", "s2"})
    assert fencing.may_stay == {"s2"}
    fencing.keep_only({"s1", "s2"})
    fencing.let_stay({"s1", "s2"})
    assert fencing.may_stay == {"s1", "s2"}


async def test_a_migration_takes_the_right_to_stay(scene):
    scene.inventory.servers["s1"] = placed(WEB, shared=False)
    async with scene.running():
        await scene.settled(lambda: scene.fencing.may_stay == {"s1"})
        owner = msgspec.structs.replace(scene.record().owner, phase=OwnerPhase.MIGRATING)
        scene.put(msgspec.structs.replace(scene.record(), owner=owner))
        scene.register.changed()
        await scene.settled(lambda: scene.fencing.may_stay == frozenset())


@pytest.mark.parametrize(
    ("detail", "shuts_down", "wanted_on"),
    [
        ("shutdown", False, False),
        ("destroyed", False, False),
        ("shutdown", True, True),
        ("crashed", False, True),
        ("failed", False, True),
        ("", False, True),
    ],
)
async def test_libvirt_tells_whether_a_server_was_switched_off_while_nobody_listened(
    scene, detail, shuts_down, wanted_on
):
    scene.inventory.servers["s1"] = WEB
    async with scene.running():
        await scene.settled(lambda: scene.record() is not None and scene.record().wanted_on)
        scene.host_shuts_down = shuts_down
        # another field changes with it, so that the write is seen
        off = having(state=PowerState.SHUT_OFF, state_detail=detail, vcpu_count=2)
        scene.inventory.servers["s1"] = off
        scene.register.changed()
        await scene.settled(lambda: scene.record().vcpu_count == 2)
        assert scene.record().wanted_on is wanted_on


async def test_a_shutdown_of_the_host_switches_nobody_off(scene):
    scene.inventory.servers["s1"] = WEB
    async with scene.running():
        await scene.settled(lambda: scene.record() is not None)
        scene.host_shuts_down = True
        scene.register.powered("s1", on=False)
        scene.inventory.servers["s1"] = having(vcpu_count=2)
        await scene.settled(lambda: scene.record().vcpu_count == 2)
        assert scene.record().wanted_on


async def test_who_is_paused_by_a_person_stays_suspended_until_it_runs(scene):
    async with scene.running():
        for state, detail, suspended in (
            (PowerState.PAUSED, "user", True),
            (PowerState.SHUT_OFF, "crashed", True),
            (PowerState.RUNNING, "booted", False),
            (PowerState.PAUSED, "migrating", False),
        ):
            count = 1 if scene.record() is None else scene.record().vcpu_count + 1
            scene.inventory.servers["s1"] = having(
                state=state, state_detail=detail, vcpu_count=count
            )
            scene.register.changed()
            await scene.settled(lambda c=count: scene.record() and scene.record().vcpu_count == c)
            assert scene.record().suspended is suspended
