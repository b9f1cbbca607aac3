"""What the agent says of its jobs at moments that a real libvirt passes too quickly."""

import asyncio
from types import SimpleNamespace

import pytest

from hostagent.jobs import Jobs
from hostagent.journal import Entry, Journal
from wire.agent import Job, JobCommand, JobState, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.migration import MigrationOptions

COMMAND = MigrateCommand(
    migration_id="m1",
    server_id="s1",
    generation=1,
    target_host_id="host-2",
    target_host_name="kvm-02",
    target_libvirt_uri="qemu+tls://kvm-02/system",
    target_address="10.0.0.2",
    options=MigrationOptions(),
)


async def nothing(_: MigrateCommand) -> None:
    """No files are left behind."""


class SlowDriver:
    """A libvirt that takes its time to describe a domain, and then has none."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def guest(self, _: str) -> None:
        self.asked.set()
        await self.answer.wait()


@pytest.fixture
def driver() -> SlowDriver:
    return SlowDriver()


@pytest.fixture
def jobs(driver: SlowDriver, make_facts, tmp_path) -> Jobs:
    inventory = SimpleNamespace(facts=make_facts())
    return Jobs(
        driver,
        inventory,
        None,
        Journal(tmp_path),
        publish=lambda _: None,
        on_broken=lambda _: None,
    )


async def test_a_job_that_is_being_begun_is_not_called_unknown(jobs: Jobs, driver: SlowDriver):
    living = asyncio.create_task(jobs.run())
    await asyncio.sleep(0)
    starting = asyncio.create_task(jobs.start(COMMAND, before=nothing))
    await driver.asked.wait()
    with pytest.raises(GodwitError, match="only just being begun") as caught:
        jobs.detail("m1")
    assert caught.value.code is ErrorCode.CONFLICT
    driver.answer.set()
    with pytest.raises(GodwitError) as refused:
        await starting
    assert refused.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(GodwitError) as unknown:
        jobs.detail("m1")
    assert unknown.value.code is ErrorCode.NOT_FOUND
    living.cancel()


async def test_a_cancel_that_names_another_server_is_refused(jobs: Jobs, tmp_path):
    job = Job(migration_id="m1", server_id="s1", state=JobState.COPYING_MEMORY)
    await Journal(tmp_path).write(Entry(command=COMMAND, job=job))
    await jobs.load()
    with pytest.raises(GodwitError, match="moves the server s1, not 's2'") as caught:
        await jobs.cancel("m1", JobCommand(server_id="s2", generation=9))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert not jobs.detail("m1").job.cancel_requested
