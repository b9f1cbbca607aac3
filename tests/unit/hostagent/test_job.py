"""One job's life where libvirt's side has to be scripted: counts that begin late, words that come
late, a disk that is full."""

import asyncio

import pytest

from hostagent.calls import LibvirtRefused, LibvirtSilent
from hostagent.departure import Departure
from hostagent.domain import State
from hostagent.driver import JobReading
from hostagent.job import MigrationJob
from hostagent.journal import Entry, Journal, check_migration_id
from hostagent.statistics import final_statistics
from wire.agent import GuestTruth, Job, JobSample, JobState, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.migration import MigrationOptions, PostcopyState

COMMAND = MigrateCommand(
    migration_id="m1",
    server_id="s1",
    generation=1,
    target_host_id="host-2",
    target_host_name="kvm-02",
    target_libvirt_uri="qemu+tls://kvm-02/system",
    target_address="10.0.0.2",
    options=MigrationOptions(downtime_limit_ms=250),
)
RUNS = State(power=PowerState.RUNNING, detail="booted")
SENT = State(power=PowerState.PAUSED, detail="post-copy")
CUT = State(power=PowerState.PAUSED, detail="post-copy failed")


def stats(elapsed_ms: int, iteration: int, sent: int) -> dict[str, int]:
    return {
        "type": 2,
        "operation": 5,
        "time_elapsed": elapsed_ms,
        "memory_iteration": iteration,
        "memory_total": 1 << 20,
        "memory_processed": sent,
        "memory_remaining": 4096,
        "memory_dirty_rate": 10,
        "memory_page_size": 4096,
        "downtime": 200,
        "auto_converge_throttle": 20,
    }


class ScriptedDriver:
    """Answers as libvirt might; each answer once, the last for ever."""

    def __init__(self, *answers: object, stays: bool = False) -> None:
        self.answers = list(answers)
        self.stays = stays
        self.aborts: list[object] = []
        self.aborted = 0
        self.resumed: list[asyncio.Future[None]] = []
        self.postcopies = 0
        self.taken_back = 0

    async def take_disks_back(self, server_id: str) -> None:
        assert server_id == "s1"
        self.taken_back += 1

    async def read_job(self, server_id: str) -> JobReading | None:
        assert server_id == "s1"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None or isinstance(answer, JobReading):
            return answer
        return JobReading(state=RUNS, statistics=answer)

    async def truth(self, server_id: str) -> GuestTruth:
        state = PowerState.RUNNING if self.stays else PowerState.ABSENT
        return GuestTruth(server_id=server_id, state=state)

    async def abort_job(self, server_id: str) -> object:
        assert server_id == "s1"
        answer = self.aborts.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.aborted += answer is True
        return answer

    async def start_postcopy(self, server_id: str) -> None:
        assert server_id == "s1"
        self.postcopies += 1

    async def break_off_postcopy(self, server_id: str) -> None:
        assert server_id == "s1"

    def migrate(self, departure: Departure) -> asyncio.Future[None]:
        assert departure.resumes_postcopy
        self.resumed.append(asyncio.get_running_loop().create_future())
        return self.resumed[-1]


@pytest.fixture
def told() -> list[object]:
    return []


@pytest.fixture
def start(tmp_path, told):
    """A job of this process, with its driver and the future of its call."""

    def make(driver: ScriptedDriver) -> tuple[MigrationJob, asyncio.Future[None], asyncio.Task]:
        entry = Entry(
            command=COMMAND,
            job=Job(migration_id="m1", server_id="s1", state=JobState.STARTING),
            downtime_limit_ms=250,
        )
        job = MigrationJob(entry, driver, Journal(tmp_path), publish=told.append)
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return job, call, asyncio.create_task(job.run(call))

    return make


async def until(found) -> None:
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.01)


async def test_a_count_that_went_on_from_an_earlier_job_begins_at_one(start, told, tmp_path):
    driver = ScriptedDriver(stats(0, 0, 0), stats(10, 7, 10), stats(500, 8, 500))
    job, call, task = start(driver)
    await until(lambda: len(job.job.passes) == 2)
    job.completed(final_statistics({**stats(900, 9, 900), "downtime": 40}))
    call.set_result(None)
    await task
    assert [each.number for each in job.job.passes] == [1, 2]
    assert job.job.statistics.pass_count == 3
    assert job.job.statistics.throttle_max_percent == 20
    samples = [event.sample for event in told if isinstance(event, JobSample)]
    assert [sample.pass_number for sample in samples][:2] == [1, 2]
    assert samples[0].dirty_bytes_per_s == 40960
    assert samples[0].downtime_limit_ms == 250
    (kept,) = await Journal(tmp_path).read_all()
    assert kept.job == job.job


async def test_the_end_is_told_although_libvirts_event_comes_after_its_call(start):
    job, call, task = start(ScriptedDriver(stats(10, 1, 10)))
    await until(lambda: job.job.state is JobState.COPYING_MEMORY)
    call.set_result(None)
    asyncio.get_running_loop().call_later(
        0.4, job.completed, final_statistics({**stats(900, 3, 900), "downtime": 40})
    )
    await task
    assert job.job.statistics.downtime_ms == 40


async def test_a_failure_keeps_libvirts_text_and_what_was_measured(start):
    driver = ScriptedDriver(stats(10, 1, 10), stats(700, 2, 700), stays=True)
    job, call, task = start(driver)
    await until(lambda: len(job.job.passes) == 2)
    driver.answers = [None]
    call.set_exception(LibvirtRefused("operation failed: unexpectedly so", 9))
    await task
    assert job.job.error == "operation failed: unexpectedly so"
    assert job.job.statistics.downtime_ms is None
    assert job.job.statistics.memory_transferred_bytes == 700


async def test_a_cancel_is_repeated_until_libvirt_has_heard_it(start):
    driver = ScriptedDriver(None, stays=True)
    driver.aborts = [False, LibvirtSilent("libvirt hangs"), False, True]
    job, call, task = start(driver)
    job.cancel()
    job.cancel()
    assert job.job.cancel_requested
    await until(lambda: driver.aborted)
    call.set_exception(LibvirtRefused("operation aborted", 78))
    await task
    assert (job.job.state, job.job.error) == (JobState.ENDED, "operation aborted")
    assert driver.aborts == []


async def test_states_only_go_forward(start, told):
    driver = ScriptedDriver(stats(10, 1, 10))
    job, call, task = start(driver)
    await until(lambda: job.job.state is JobState.COPYING_MEMORY)
    job.switching_over()
    await until(lambda: len(job.detail.samples) >= 3)
    assert job.job.state is JobState.SWITCHING_OVER
    call.set_result(None)
    await task
    states = [event.state for event in told if isinstance(event, Job)]
    order = list(JobState)
    assert states == sorted(states, key=order.index)


@pytest.mark.parametrize("in_switchover", [True, False])
async def test_disks_are_taken_back_when_the_connection_breaks_in_the_switchover(
    start, in_switchover
):
    driver = ScriptedDriver(stats(10, 1, 10), stays=True)
    job, call, task = start(driver)
    await until(lambda: job.job.state is JobState.COPYING_MEMORY)
    if in_switchover:
        job.switching_over()
    driver.answers = [None]
    call.set_exception(LibvirtRefused("internal error: client socket is closed", 1))
    await task
    assert job.job.error == "internal error: client socket is closed"
    assert driver.taken_back == in_switchover


def in_postcopy(state: State) -> JobReading:
    return JobReading(state=state, statistics=stats(900, 2, 900))


async def test_a_post_copy_that_broke_is_recovered_as_often_as_it_takes(start, tmp_path):
    driver = ScriptedDriver(stats(10, 1, 10), stays=True)
    job, call, task = start(driver)
    await until(lambda: job.job.state is JobState.COPYING_MEMORY)
    await job.switch_to_postcopy()
    await job.switch_to_postcopy()
    assert (driver.postcopies, job.job.postcopy) == (1, PostcopyState.ASKED)
    driver.answers = [in_postcopy(SENT)]
    await until(lambda: job.job.postcopy is PostcopyState.ACTIVE)
    await job.recover()
    assert driver.resumed == []

    driver.answers = [in_postcopy(CUT)]
    call.set_exception(LibvirtRefused("internal error: client socket is closed", 1))
    await until(lambda: job.job.postcopy is PostcopyState.PAUSED)
    # no job of libvirt's does not end it either
    driver.answers = [JobReading(state=CUT, statistics=None)]
    await job.recover()
    await job.recover()
    (first,) = driver.resumed
    assert job.job.recovering
    first.set_exception(LibvirtRefused("no route to host", 38))
    await until(lambda: job.job.notes[-1].text == "post-copy not recovered: no route to host")
    assert not job.job.recovering
    await job.recover()
    driver.resumed.pop().set_exception(LibvirtRefused("no route to host", 38))
    await until(lambda: not job.job.recovering)
    assert job.job.state is JobState.COPYING_MEMORY
    (kept,) = await Journal(tmp_path).read_all()
    assert kept.job.postcopy is PostcopyState.PAUSED

    await job.recover()
    driver.answers, driver.stays = [in_postcopy(SENT)], False
    await until(lambda: job.job.postcopy is PostcopyState.ACTIVE)
    driver.resumed[1].set_result(None)
    job.completed(final_statistics({**stats(9_000, 2, 9_000), "downtime": 40}))
    await task
    assert (job.job.state, job.job.error) == (JobState.ENDED, "")
    assert [note.text for note in job.job.notes] == [
        "the guest runs on kvm-02 by post-copy",
        "post-copy broke off: internal error: client socket is closed",
        "post-copy not recovered: no route to host",
        "post-copy goes on",
    ]


async def test_a_full_disk_does_not_stop_a_migration(start, tmp_path):
    (tmp_path / "migrations").write_text("a file where the folder should be")
    job, call, task = start(ScriptedDriver(stats(10, 1, 10)))
    await until(lambda: job.job.state is JobState.COPYING_MEMORY)
    call.set_result(None)
    await task
    assert job.ended


async def test_what_cannot_be_read_is_left_out(tmp_path):
    journal = Journal(tmp_path)
    entry = Entry(command=COMMAND, job=Job(migration_id="m1", server_id="s1", state=JobState.ENDED))
    await journal.write(entry)
    (tmp_path / "migrations" / "broken.json").write_text("{")
    assert await journal.read_all() == (entry,)
    await journal.remove("m1")
    assert await journal.read_all() == ()


@pytest.mark.parametrize("migration_id", ["", "../m", "a/b", "x" * 65, "m\n"])
def test_ids_that_cannot_name_a_file(migration_id):
    with pytest.raises(GodwitError) as caught:
        check_migration_id(migration_id)
    assert caught.value.code is ErrorCode.BAD_REQUEST
