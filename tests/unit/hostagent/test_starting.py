"""Who may be started, and that nothing of it outlives the right to do so; on a real etcd."""

import asyncio
import sys
import threading

import msgspec
import pytest

from hostagent.autostart import is_wanted
from hostagent.fence.guests import find_guests
from hostagent.fence.word import STATUS, WORD, Status, Word, boot_id, write
from hostagent.fencing import Fencing
from hostagent.ownership import Ownership
from hostagent.starting import Starts
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner, OwnerPhase, ServerRecord
from wire.keys import SERVERS
from wire.lease import boot_clock_s

OWNER = Owner(host_id="host-1", epoch=1, generation=3)
RECORD = ServerRecord(
    server_id="s1",
    name="web-1",
    vcpu_count=1,
    memory_bytes=1,
    disks=(),
    owner=OWNER,
    wanted_on=True,
)


class Domain:
    """A stopped domain that notes what is done to it; ``gate`` holds it up in the middle."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return False

    def create(self) -> None:
        self.done.append("create")
        self.entered.set()
        assert self.gate.wait(20)
        self.done.append("created")

    def undefineFlags(self, _flags: int) -> None:  # noqa: N802
        self.done.append("undefine")


class Driver:
    """Lends one connection, which has one domain."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def lookupByUUIDString(self, _server_id: str) -> Domain:  # noqa: N802
        return self.domain

    async def call(self, _what, function, **_time_out: float):
        return await asyncio.to_thread(function, self)


class Scene:
    def __init__(self, etcd, folder) -> None:
        self.etcd = etcd
        self.domain = Domain()
        self.fencing = Fencing(folder)
        self.folder = folder
        self.ready = True
        self.starts = self.make_starts()

    def make_starts(self) -> Starts:
        return Starts(
            Driver(self.domain),  # type: ignore[arg-type]
            Ownership(self.etcd),
            self.fencing,
            self.require_ready,
        )

    def require_ready(self) -> None:
        if not self.ready:
            raise GodwitError(ErrorCode.NOT_READY, "not now")

    def put(self, **fields: object) -> None:
        record = msgspec.structs.replace(RECORD, **fields)
        self.etcd.put(SERVERS + "s1", msgspec.json.encode(record))

    async def start(self, generation: int | None = 3) -> bool:
        return await self.starts.start(
            "s1", host_id="host-1", generation=generation, if_so=is_wanted
        )

    async def refused(self, code: ErrorCode, generation: int | None = 3) -> None:
        with pytest.raises(GodwitError) as caught:
            await self.start(generation)
        assert caught.value.code is code
        assert self.domain.done == []

    def armed(self, *, heard_ago_s: float, fired_epoch: int = 0) -> None:
        """The fence counts, and etcd was heard so long ago."""
        status = Status(
            at_s=boot_clock_s(),
            pid=1,
            armed=True,
            watchdog_timeout_s=1,
            fired_epoch=fired_epoch,
        )
        write(self.folder / STATUS, status)
        word = Word(boot_id(), "host-1", 1, armed=True, t_ok_s=status.at_s - heard_ago_s, ttl_s=10)
        write(self.folder / WORD, word)
        self.fencing = Fencing(self.folder)
        self.starts = self.make_starts()


@pytest.fixture
def scene(etcd, tmp_path) -> Scene:
    return Scene(etcd, tmp_path)


async def test_the_owner_starts_what_is_wanted_on(scene):
    scene.put()
    assert await scene.start()
    assert scene.domain.done == ["create", "created"]


@pytest.mark.parametrize(
    "fields",
    [
        {"wanted_on": False},
        {"suspended": True},
        {"owner": msgspec.structs.replace(OWNER, phase=OwnerPhase.MIGRATING)},
        {"owner": msgspec.structs.replace(OWNER, phase=OwnerPhase.LOST)},
    ],
)
async def test_nothing_else_is_started_unasked(scene, fields):
    scene.put(**fields)
    assert not await scene.start(generation=None)
    assert scene.domain.done == []


async def test_nobody_starts_what_another_owns_or_what_has_moved_on(scene):
    await scene.refused(ErrorCode.CONFLICT)
    scene.put(owner=msgspec.structs.replace(OWNER, host_id="host-2"))
    await scene.refused(ErrorCode.CONFLICT)
    scene.put()
    await scene.refused(ErrorCode.STALE_GENERATION, generation=2)


async def test_a_host_that_may_not_act_starts_nothing(scene):
    scene.put()
    scene.ready = False
    await scene.refused(ErrorCode.NOT_READY)


async def test_nothing_is_started_that_the_fence_is_about_to_kill(scene):
    scene.put()
    scene.armed(heard_ago_s=9.0)
    await scene.refused(ErrorCode.NOT_READY)


async def test_nothing_is_started_in_a_life_whose_guests_were_killed(scene):
    scene.put()
    scene.armed(heard_ago_s=0.0, fired_epoch=1)
    await scene.refused(ErrorCode.NOT_READY)


async def test_a_fence_that_has_time_left_is_no_hindrance(scene):
    scene.put()
    scene.armed(heard_ago_s=0.0)
    assert await scene.start()


async def test_nothing_is_started_beside_its_own_process_that_still_dies(scene):
    server_id = "10000000-0000-0000-0000-00000000002a"
    record = msgspec.structs.replace(RECORD, server_id=server_id)
    scene.etcd.put(SERVERS + server_id, msgspec.json.encode(record))
    dummy = [sys.executable, "-c", "import time; time.sleep(600)", "-uuid", server_id]
    process = await asyncio.create_subprocess_exec(*dummy)
    try:
        async with asyncio.timeout(20):
            while server_id not in {one.server_id for one in find_guests()}:
                await asyncio.sleep(0.02)
        with pytest.raises(GodwitError, match=f"process {process.pid} was ended and is not gone"):
            await scene.starts.start(server_id, host_id="host-1")
        assert scene.domain.done == []
    finally:
        process.kill()
        await process.wait()
    assert await scene.starts.start(server_id, host_id="host-1")


async def test_a_removal_waits_for_the_start_before_it_and_the_return_for_both(scene):
    scene.put()
    scene.domain.gate.clear()
    starting = asyncio.create_task(scene.start())
    await asyncio.to_thread(scene.domain.entered.wait, 20)
    removing = asyncio.create_task(scene.starts.end("s1", lambda _: None))
    all_over = asyncio.create_task(asyncio.to_thread(scene.starts.wait_for_all))
    await asyncio.sleep(0.3)
    assert not removing.done()
    assert not all_over.done()
    assert scene.domain.done == ["create"]
    scene.domain.gate.set()
    await asyncio.gather(starting, removing, all_over)
    assert scene.domain.done == ["create", "created", "undefine"]


async def test_what_was_given_back_meanwhile_is_not_removed(scene):
    def check(_handle: object) -> None:
        raise GodwitError(ErrorCode.CONFLICT, "it belongs to this host")

    with pytest.raises(GodwitError, match="belongs to this host"):
        await scene.starts.end("s1", check)
    assert scene.domain.done == []
