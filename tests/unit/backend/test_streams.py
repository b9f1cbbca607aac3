"""What an agent's events do to the fleet model."""

import msgspec
import pytest

from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.follow.streams import Streams
from backend.migrations.jobs import Jobs
from wire.agent import AgentSnapshot, Job, JobDetail, JobSample, JobState, ServerGone
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostMeters, HostStatus, PowerState
from wire.forecast import Dirtying, DirtySample
from wire.life import HealthValue
from wire.migration import Migration, MigrationState, Sample
from wire.stream import StreamDown, StreamEvent

SAMPLE = Sample(
    elapsed_ms=10,
    pass_number=1,
    memory_total_bytes=1,
    memory_processed_bytes=0,
    memory_remaining_bytes=1,
    bandwidth_bytes_per_s=0,
    dirty_bytes_per_s=0,
    expected_downtime_ms=0,
    downtime_limit_ms=300,
    throttle_percent=0,
)


class ForgetfulAgent:
    """Knows one earlier point of a curve, or nothing."""

    def __init__(self) -> None:
        self.samples: tuple[Sample, ...] = ()

    async def job(self, *_: object) -> JobDetail:
        if not self.samples:
            raise GodwitError(ErrorCode.NOT_FOUND, "no such job")
        return JobDetail(job=job(), samples=self.samples)


def job(state: JobState = JobState.COPYING_MEMORY) -> Job:
    return Job(migration_id="m", server_id="id-web-1", state=state)


def migration(state: MigrationState) -> Migration:
    return Migration(
        migration_id="m",
        server_id="id-web-1",
        server_name="web-1",
        source_host_id="host-1",
        source_host_name="kvm-01",
        state=state,
    )


class Wire:
    """Feeds events of kvm-01's agent to a fleet that knows the host."""

    def __init__(self, make_host, make_server) -> None:
        self.host, self.server = make_host(1), make_server()
        self.fleet, self.jobs = Fleet(), Jobs()
        self.agent = ForgetfulAgent()
        self.samples: list[tuple[str, Sample]] = []
        self.fleet.put_facts("host-1", self.host)
        self.fleet.put_health("host-1", HealthValue(boot_id="b", epoch=1))
        self._streams = Streams(
            None, self.fleet, self.jobs, lambda *sample: self.samples.append(sample)
        )

    async def send(self, name: str, payload: object) -> None:
        event = StreamEvent(name=name, event_id="", data=msgspec.json.encode(payload).decode())
        await self._streams._take("host-1", self.agent, event)

    async def snapshot(self, *jobs: Job, **changes: object) -> None:
        facts = msgspec.structs.replace(self.host, **changes)
        await self.send("snapshot", AgentSnapshot(facts=facts, servers=(self.server,), jobs=jobs))

    @property
    def status(self) -> tuple[HostStatus, str]:
        return host_status(self.fleet, self.host)


@pytest.fixture
def wire(make_host, make_server) -> Wire:
    return Wire(make_host, make_server)


async def test_a_snapshot_connects_the_host(wire):
    assert wire.status[0] is HostStatus.UNREACHABLE
    await wire.snapshot()
    assert wire.status[0] is HostStatus.ONLINE
    assert set(wire.fleet.reports["host-1"]) == {"id-web-1"}
    assert wire.fleet.link("host-1").seen_at_ms > 0


async def test_each_change_is_taken_over(wire):
    await wire.snapshot()
    meters = HostMeters(cpu_percent=7.0, memory_used_bytes=9)
    await wire.send("meters", meters)
    assert wire.fleet.link("host-1").meters == meters
    paused = msgspec.structs.replace(wire.server, state=PowerState.PAUSED)
    await wire.send("server", paused)
    assert wire.fleet.reports["host-1"]["id-web-1"] == paused
    await wire.send("server_gone", ServerGone(server_id="id-web-1"))
    assert wire.fleet.reports["host-1"] == {}
    await wire.send("job", job())
    assert wire.jobs.latest("m") == job()
    await wire.send("sample", JobSample(migration_id="m", server_id="id-web-1", sample=SAMPLE))
    assert wire.samples == [("m", SAMPLE)]
    assert wire.jobs.samples("m") == (SAMPLE,)


async def test_what_guests_dirty_and_what_moves_send_is_noted(wire):
    await wire.snapshot()
    told = Dirtying(
        server_id="id-web-1",
        samples=(DirtySample(window_ms=1000, dirtied_bytes=5, at_ms=7),),
    )
    await wire.send("dirtying", told)
    assert wire.fleet.dirtying == {"id-web-1": told}
    wire.fleet.put_migration("m", migration(MigrationState.COPYING_MEMORY))
    sample = msgspec.structs.replace(SAMPLE, bandwidth_bytes_per_s=9)
    await wire.send("sample", JobSample(migration_id="m", server_id="id-web-1", sample=sample))
    assert wire.fleet.traffic.sending("host-1") == 9


async def test_the_agent_of_another_host_is_not_believed(wire):
    await wire.snapshot(host_id="host-9")
    assert wire.status[0] is HostStatus.UNREACHABLE
    assert "host-9, not host-1" in wire.status[1]
    await wire.send("server", wire.server)
    assert wire.fleet.reports == {}


async def test_what_cannot_be_read_and_what_is_not_known_changes_nothing(wire):
    await wire.snapshot()
    await wire.send("meters", {"cpu_percent": "much"})
    await wire.send("weather", {"sun": True})
    assert wire.fleet.link("host-1").meters is None
    assert wire.status[0] is HostStatus.ONLINE


async def test_a_running_jobs_curve_is_fetched_with_the_snapshot(wire):
    wire.agent.samples = (SAMPLE,)
    await wire.snapshot(job())
    assert wire.jobs.samples("m") == (SAMPLE,)


async def test_a_curve_that_the_agent_does_not_have_is_no_obstacle(wire):
    await wire.snapshot(job())
    assert wire.jobs.latest("m") == job()
    assert wire.jobs.samples("m") == ()


async def test_an_ended_job_stays_ended_whatever_arrives_late(wire):
    await wire.snapshot()
    await wire.send("job", job(JobState.ENDED))
    await wire.send("job", job(JobState.COPYING_MEMORY))
    assert wire.jobs.latest("m") == job(JobState.ENDED)


async def test_jobs_of_ended_migrations_are_not_kept(wire):
    wire.fleet.put_migration("m", migration(MigrationState.SUCCEEDED))
    await wire.snapshot(job(JobState.ENDED))
    assert wire.jobs.latest("m") is None


async def test_how_a_connection_broke_is_for_the_log_and_why_none_is_made_for_the_operator(
    wire, caplog
):
    await wire.snapshot()
    broken = "https://10.77.4.14:8600/v1/events: the connection broke: incomplete chunked read"
    wire._streams._lost("host-1", StreamDown(reason=broken, broke=True))
    assert host_status(wire.fleet, wire.host) == (
        HostStatus.UNREACHABLE,
        "kvm-01 does not answer",
    )
    assert broken in caplog.text
    refused = "https://10.77.4.14:8600/v1/events cannot be reached: Connection refused"
    wire._streams._lost("host-1", StreamDown(reason=refused))
    assert host_status(wire.fleet, wire.host) == (HostStatus.UNREACHABLE, refused)
