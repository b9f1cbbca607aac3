"""Three hosts in a real etcd, and moves whose ends tests decide: no agent is needed for them."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from backend.agents import Agents
from backend.duties import Faults
from backend.evacuations.desk import EvacuationDesk
from backend.evacuations.means import Means
from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations
from backend.evacuations.running.evacuator import Evacuator
from backend.evacuations.running.setting_out import SettingOut
from backend.evacuations.steering import Steering
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.health.policies import Policies
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites
from backend.migrations.acts import Acts
from backend.migrations.desk import Desk
from backend.migrations.drive import Drive
from backend.migrations.ending import owner_after, unlocked
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.outcome import Judgement, Verdict
from backend.moments import now_ms
from wire import keys
from wire.agent import AgentSnapshot, Job, JobState
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    MoveState,
    PlanRequest,
    ReturnRequest,
)
from wire.fleet import (
    HostFacts,
    HostMeters,
    HostPolicy,
    Owner,
    PowerState,
    ServerFacts,
    ServerRecord,
)
from wire.life import HealthValue
from wire.migration import Migration, MigrationState, Pass, Statistics
from wire.rescue import RescueOptions

GIB = 1 << 30


class PlayedAgents(Agents):
    """Agents that take what they are told about running jobs."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def of(self, *_: object) -> Any:
        return self

    async def set_parameters(self, migration_id: str, command: Any) -> Job:
        self.told.append((migration_id, command.parameters))
        return Job(
            migration_id=migration_id,
            server_id=command.server_id,
            state=JobState.COPYING_MEMORY,
        )


class PlayedRescueDesk:
    """Where rescues are asked for: it begins them, or refuses as it is told."""

    def __init__(self, scene: "Scene") -> None:
        self.scene = scene
        self.refusal: GodwitError | None = None
        self.asked: list[tuple[str, RescueOptions]] = []

    async def rescue(
        self, server: str, options: RescueOptions, *, requested_by: str, evacuation_id: str
    ) -> Migration:
        self.asked.append((server, options))
        if self.refusal is not None:
            raise self.refusal
        record = self.scene.fleet.records[server]
        migration = Migration(
            migration_id=f"rescue-of-{record.name}",
            kind="rescue",
            server_id=server,
            server_name=record.name,
            source_host_id=record.owner.host_id,
            source_host_name=self.scene.fleet.facts[record.owner.host_id].name,
            target_host_id=options.prefer_host,
            state=MigrationState.PREPARING,
            requested_by=requested_by,
            evacuation_id=evacuation_id,
            created_at_ms=1,
        )
        return await self.scene.journal.begin(migration)


class Scene:
    """kvm-01, kvm-02 and kvm-03, online and empty; tests put servers on them."""

    def __init__(
        self,
        etcd: Etcd,
        leadership: Leadership,
        make_host: Callable[..., HostFacts],
        make_server: Callable[..., ServerFacts],
    ) -> None:
        self.etcd, self.leadership = etcd, leadership
        self.fleet, self.jobs, self.agents = Fleet(), Jobs(), PlayedAgents()
        self._make_server = make_server
        self.hosts = {f"kvm-{number:02}": make_host(number) for number in (1, 2, 3)}
        for host in self.hosts.values():
            self.fleet.put_facts(host.host_id, host)
            self.fleet.put_health(host.host_id, HealthValue(boot_id="b", epoch=3))
            self.report(host.name)
        self.restart()

    def restart(self) -> None:
        """Put a backend together that knows what the fleet model holds, and nothing else."""
        comparisons = Comparisons(self.agents)
        writes = LeaderWrites(self.etcd, self.leadership)
        self.journal = Journal(self.etcd, self.leadership, self.fleet)
        drive = Drive(
            fleet=self.fleet,
            agents=self.agents,
            jobs=self.jobs,
            journal=self.journal,
            comparisons=comparisons,
        )
        self.sources = Sources(
            fleet=self.fleet,
            comparisons=comparisons,
            jobs=self.jobs,
            definition=self.journal.definition,
        )
        self.acts = Acts(drive, self.leadership)
        self.migrations = Desk(drive, self.leadership, asyncio.Event())
        self.records = Evacuations(writes, self.fleet)
        self.rescue_desk = PlayedRescueDesk(self)
        setting_out = SettingOut(drive, self.migrations, self.rescue_desk)
        self.faults = Faults(lambda: None)
        self.evacuator = Evacuator(
            drive, self.sources, self.records, self.acts, setting_out, faults=self.faults
        )
        means = Means(
            fleet=self.fleet,
            leadership=self.leadership,
            sources=self.sources,
            records=self.records,
            evacuator=self.evacuator,
        )
        self.policies = Policies(writes, self.fleet, self.leadership)
        self.desk = EvacuationDesk(means, self.policies)
        self.steering = Steering(means, self.acts)

    def host_id(self, name: str) -> str:
        return self.hosts[name].host_id

    def add(self, name: str, host: str = "kvm-01", **changes: object) -> ServerRecord:
        """Put a server on a host, running unless told otherwise."""
        server = self._make_server(name, **changes)
        record = ServerRecord(
            server_id=server.server_id,
            name=name,
            vcpu_count=1,
            memory_bytes=server.memory_bytes,
            disks=server.disks,
            owner=Owner(host_id=self.host_id(host), epoch=3, generation=1),
            wanted_on=server.state is PowerState.RUNNING,
        )
        self.put(record)
        self.fleet.put_report(record.owner.host_id, server)
        return record

    def put(self, record: ServerRecord) -> None:
        self.etcd.put(keys.SERVERS + record.server_id, msgspec.json.encode(record))
        self.fleet.put_record(record.server_id, record)

    def report(self, host: str, *servers: ServerFacts) -> None:
        facts = self.hosts[host]
        meters = HostMeters(cpu_percent=1.0, memory_used_bytes=GIB)
        snapshot = AgentSnapshot(facts=facts, servers=servers, jobs=(), meters=meters)
        self.fleet.put_snapshot(facts.host_id, snapshot)

    def show_links(self) -> None:
        """Have a move shown that every link carries 50 MB/s, which is what one stream gets."""
        shown = Pass(
            number=1,
            started_ms=0,
            duration_ms=1_000,
            remaining_at_start_bytes=50_000_000,
            transferred_bytes=50_000_000,
            dirty_bytes_per_s=0,
            bandwidth_bytes_per_s=50_000_000,
            throttle_percent=0,
        )
        for host in self.hosts.values():
            move = Migration(
                migration_id=f"over {host.name}",
                server_id="other",
                server_name="other",
                source_host_id=host.host_id,
                source_host_name=host.name,
                target_host_id=host.host_id,
                state=MigrationState.SUCCEEDED,
                passes=(shown,),
                finished_at_ms=now_ms(),
            )
            self.fleet.traffic.ended(move)

    def carry(self, name: str, host: str) -> None:
        """Have a host report a server that has come to it."""
        server_id = f"id-{name}"
        old = next(
            reports[server_id] for reports in self.fleet.reports.values() if server_id in reports
        )
        for host_id in tuple(self.fleet.reports):
            self.fleet.drop_report(host_id, server_id)
        self.fleet.put_report(self.host_id(host), old)

    def drop_host(self, name: str) -> None:
        self.fleet.put_health(self.host_id(name), None)

    async def start(self, *hosts: str, by: str = "alice", **changes: Any) -> Evacuation:
        names = hosts or ("kvm-01",)
        request = PlanRequest(hosts=names, confirmed=names, **changes)
        return (await self.desk.start(request, requested_by=by))[0]

    async def bring_back(self, host: str = "kvm-01") -> Evacuation:
        return await self.desk.bring_back(host, ReturnRequest(), requested_by="alice")

    async def look(self) -> None:
        async with self.evacuator.lock:
            await self.evacuator.look()

    def under_way(self) -> dict[str, Migration]:
        """The moves that have begun and not ended, by server name."""
        return {
            one.server_name: one for one in self.fleet.migrations.values() if not one.state.ended
        }

    def known(self, evacuation: Evacuation) -> Evacuation:
        """An evacuation as etcd has it now."""
        item = self.etcd.get(keys.EVACUATIONS + evacuation.evacuation_id)
        assert item is not None
        return msgspec.json.decode(item.value, type=Evacuation)

    def line(self, evacuation: Evacuation, name: str) -> EvacuatedServer:
        """One server of an evacuation as etcd has it now."""
        servers = self.known(evacuation).servers
        return next(one for one in servers if one.plan.server_name == name)

    def states(self, evacuation: Evacuation) -> dict[str, MoveState]:
        return {one.plan.server_name: one.state for one in self.known(evacuation).servers}

    async def end(
        self, name: str, state: MigrationState = MigrationState.SUCCEEDED, **changes: object
    ) -> Migration:
        """End the move of a server: it is on its target then, or where it was."""
        migration = self.under_way()[name]
        target = migration.target_host_id or migration.options.prefer_host
        final = msgspec.structs.replace(
            migration,
            state=state,
            target_host_id=target,
            target_host_name=self.fleet.facts[target].name,
            finished_at_ms=migration.created_at_ms + 4_000,
            statistics=Statistics(downtime_ms=87, memory_transferred_bytes=9_000),
            **changes,
        )
        if state is MigrationState.SUCCEEDED:
            moved = Judgement(verdict=Verdict.MOVED)
            await self.journal.advance_with_owner(
                final, lambda owner: owner_after(owner, final, moved, 3)
            )
            self.carry(name, self.fleet.facts[target].name)
        else:
            await self.journal.advance_with_owner(final, unlocked)
        return final


@pytest.fixture
def scene(etcd, leads, make_host, make_server) -> Scene:
    return Scene(etcd, leads, make_host, make_server)


@pytest.fixture
def set_maintenance(scene) -> Callable[..., None]:
    def put(host: str, *, on: bool = True) -> None:
        scene.fleet.put_policy(scene.host_id(host), HostPolicy(maintenance=on))

    return put


async def refused(asking: Any, code: ErrorCode = ErrorCode.CONFLICT) -> str:
    """The sentence with which something is refused."""
    with pytest.raises(GodwitError) as caught:
        await asking
    assert caught.value.code is code, caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message
