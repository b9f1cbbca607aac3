"""In what order limits are set, and who has the last word about the downtime limit."""

import asyncio

import msgspec
import pytest

from hostagent.bandwidth import MIB, NO_LIMIT_MIB_PER_S, Mirror
from hostagent.calls import LibvirtSilent
from hostagent.journal import Entry, Journal
from hostagent.ledger import Ledger
from hostagent.passes import PassLog
from hostagent.steering import Steering
from wire.agent import Job, JobState, MigrateCommand
from wire.migration import MigrationOptions, Pass, PostcopyState, Sample
from wire.storage import FileRole, IncomingFile

DISK = IncomingFile(source_path="/a", path="/b", role=FileRole.DISK, disk_target="vda")
SAMPLE = Sample(
    elapsed_ms=9_000,
    pass_number=4,
    memory_total_bytes=200 * MIB,
    memory_processed_bytes=200 * MIB,
    memory_remaining_bytes=40 * MIB,
    bandwidth_bytes_per_s=40 * MIB,
    dirty_bytes_per_s=80 * MIB,
    expected_downtime_ms=1_000,
    downtime_limit_ms=300,
    throttle_percent=20,
)
DISKS_ONLY = msgspec.structs.replace(SAMPLE, pass_number=0)
PASSES = tuple(
    Pass(
        number=number,
        started_ms=number * 1_000,
        duration_ms=1_000,
        remaining_at_start_bytes=40 * MIB,
        transferred_bytes=40 * MIB,
        dirty_bytes_per_s=80 * MIB,
        bandwidth_bytes_per_s=40 * MIB,
        throttle_percent=20,
    )
    for number in range(1, 5)
)


class Recorder:
    """A libvirt with one mirror that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.mirror = Mirror(device="drive-a", speed_bytes_per_s=10 * MIB, ready=False)
        self.silent = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def mirrors(self, _: str) -> tuple[Mirror, ...]:
        return (self.mirror,)

    async def limit_mirror(self, _: str, device: str, bytes_per_s: int) -> None:
        assert device == "drive-a"
        self.told.append(("disk", bytes_per_s))
        self.mirror = msgspec.structs.replace(self.mirror, speed_bytes_per_s=bytes_per_s)

    async def limit_memory(self, _: str, mib_per_s: int, *, postcopy: bool) -> None:
        if self.silent:
            raise LibvirtSilent("libvirt hangs")
        self.told.append(("postcopy" if postcopy else "memory", mib_per_s * MIB))

    async def limit_downtime(self, _: str, limit_ms: int) -> int:
        await self.gate.wait()
        self.told.append(("downtime", limit_ms))
        return limit_ms


@pytest.fixture
def libvirt() -> Recorder:
    return Recorder()


@pytest.fixture
def steered(libvirt, tmp_path):
    """A job's steering and its ledger."""

    def make(
        *, disks: bool = True, cap: int | None = None, postcopy: PostcopyState = PostcopyState.NOT
    ):
        entry = Entry(
            command=MigrateCommand(
                migration_id="m1",
                server_id="s1",
                generation=1,
                target_host_id="host-2",
                target_host_name="kvm-02",
                target_libvirt_uri="qemu+tls://kvm-02/system",
                target_address="10.0.0.2",
                options=MigrationOptions(quickly_finish=True),
                disks=(DISK,) if disks else (),
            ),
            job=Job(
                migration_id="m1",
                server_id="s1",
                state=JobState.COPYING_MEMORY,
                postcopy=postcopy,
            ),
            log=PassLog(passes=PASSES),
            max_bandwidth_bytes_per_s=cap,
            downtime_limit_ms=300,
        )
        ledger = Ledger(entry, Journal(tmp_path), lambda _: None)
        return Steering(libvirt, ledger), ledger

    return make


async def test_who_gets_less_is_told_first(libvirt, steered):
    steering, ledger = steered(cap=160 * MIB)
    await steering.steer(DISKS_ONLY, new_pass=False)
    assert libvirt.told == [
        ("memory", 10 * MIB),
        ("postcopy", 160 * MIB),
        ("disk", 150 * MIB),
    ]
    libvirt.told.clear()
    await steering.steer(DISKS_ONLY, new_pass=False)
    assert libvirt.told == []
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == [("disk", 40 * MIB), ("memory", 120 * MIB)]
    libvirt.told.clear()
    ledger.put(max_bandwidth_bytes_per_s=16 * MIB)
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == [("disk", 4 * MIB), ("memory", 12 * MIB), ("postcopy", 16 * MIB)]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_cap_that_is_taken_away_is_told_once(libvirt, steered, restarted):
    steering, ledger = steered(cap=160 * MIB)
    await steering.steer(SAMPLE, new_pass=False)
    libvirt.told.clear()
    steering.cap(None)
    if restarted:
        steering = Steering(libvirt, ledger)
    for _ in range(2):
        await steering.steer(SAMPLE, new_pass=False)
    no_limit = NO_LIMIT_MIB_PER_S * MIB
    assert libvirt.told == [("memory", no_limit), ("postcopy", no_limit), ("disk", 0)]
    libvirt.told.clear()
    steering.cap(16 * MIB)
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == [("disk", 4 * MIB), ("memory", 12 * MIB), ("postcopy", 16 * MIB)]


async def test_what_libvirt_did_not_hear_is_told_again(libvirt, steered):
    steering, _ = steered(disks=False, cap=8 * MIB)
    libvirt.silent = True
    await steering.steer(SAMPLE, new_pass=False)
    libvirt.silent = False
    await steering.steer(SAMPLE, new_pass=False)
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == [("memory", 8 * MIB), ("postcopy", 8 * MIB)]


async def test_the_limit_is_raised_at_a_pass_boundary_and_noted(libvirt, steered):
    steering, ledger = steered(disks=False)
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == []
    await steering.steer(SAMPLE, new_pass=True)
    assert libvirt.told == [("downtime", 1_250)]
    assert ledger.entry.downtime_limit_ms == 1_250
    (note,) = ledger.job.notes
    assert note.text == "downtime limit raised from 300 to 1250 ms"
    await steering.steer(SAMPLE, new_pass=True)
    assert len(ledger.job.notes) == 1


async def test_a_persons_limit_is_the_new_base_even_while_it_is_raised(libvirt, steered):
    steering, ledger = steered(disks=False)
    libvirt.gate.clear()
    raising = asyncio.create_task(steering.steer(SAMPLE, new_pass=True))
    await asyncio.sleep(0)
    wanted = asyncio.create_task(steering.limit_downtime(500))
    await asyncio.sleep(0)
    libvirt.gate.set()
    await asyncio.gather(raising, wanted)
    assert libvirt.told[-1] == ("downtime", 500)
    assert ledger.entry.downtime_limit_ms == 500


async def test_no_pause_is_limited_in_post_copy(libvirt, steered):
    steering, ledger = steered(disks=False, postcopy=PostcopyState.ACTIVE)
    await steering.steer(SAMPLE, new_pass=True)
    assert libvirt.told == []
    assert ledger.job.notes == ()


async def test_a_cap_that_libvirt_cannot_hold_is_noted(libvirt, steered):
    steering, ledger = steered(disks=False)
    steering.say_what_holds()
    steering.cap(5 * MIB)
    assert ledger.job.notes == ()
    steering.cap(MIB // 2)
    (note,) = ledger.job.notes
    assert note.text.startswith("memory may take 1.0 MiB/s although the cap is 0.5 MiB/s")
    await steering.steer(SAMPLE, new_pass=False)
    assert libvirt.told == [("memory", MIB), ("postcopy", MIB)]
