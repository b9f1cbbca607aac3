"""Three hosts in a real etcd, of which tests let some die; agents are played.

Real agents cannot be stopped between two given calls; the real ones are in tests/lab.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from backend.agents import Agents
from backend.duties import Faults
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.follow.store import taken
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites
from backend.migrations.drive import Drive
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.rescue import rescuer as rescuer_module
from backend.rescue import starting as starting_module
from backend.rescue import storm_guard as storm_guard_module
from backend.rescue.claims import Claims
from backend.rescue.desk import RescueDesk
from backend.rescue.incidents import Incidents
from backend.rescue.rescuer import Rescuer
from backend.rescue.runner import RescueRunner
from backend.rescue.sight import Sight
from backend.rescue.starting import Starting
from wire import keys
from wire.agent import AgentSnapshot, GuestTruth, ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.fleet import Disk, HostFacts, HostMeters, HostPolicy, Owner, PowerState, ServerRecord
from wire.life import Fence, HealthValue
from wire.migration import Migration
from wire.rescue import Incident, IncidentServer
from wire.storage import DefineCommand, Incoming, PrepareCommand

GIB = 1 << 30
DEFINITION = "<domain type='qemu'><os><type arch='x86_64' machine='pc-i440fx-7.2'/></os></domain>"


class PlayedAgent:
    """One host's agent: the servers that it has, and what it refuses."""

    def __init__(self, scene: "Scene", facts: HostFacts) -> None:
        self.scene, self.facts = scene, facts
        self.away = False
        self.states: dict[str, PowerState] = {}
        self.prepared: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.refuses: dict[str, GodwitError] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        act = object.__getattribute__(self, f"do_{name}")

        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            self.before.get(name, _nothing)()
            if self.away:
                text = f"{self.facts.name} does not answer"
                raise GodwitError(ErrorCode.AGENT_UNREACHABLE, text)
            server_id = next(
                (one.server_id for one in arguments if hasattr(one, "server_id")),
                arguments[0],
            )
            self.calls.append((name, server_id))
            if name in self.refuses:
                raise self.refuses[name]
            answer = act(*arguments)
            self.after.get(name, _nothing)()
            return answer

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def owner(self, server_id: str) -> Owner:
        return self.scene.record(server_id).owner

    def do_truth(self, server_id: str) -> GuestTruth:
        return GuestTruth(server_id=server_id, state=self.states.get(server_id, PowerState.ABSENT))

    def do_prepare(self, command: PrepareCommand) -> Incoming:
        assert self.owner(command.server_id).migration_id == command.migration_id
        self.prepared.add(command.migration_id)
        return Incoming(migration_id=command.migration_id, server_id=command.server_id, files=())

    def do_define(self, migration_id: str, command: DefineCommand) -> GuestTruth:
        assert migration_id in self.prepared
        assert command.definition == DEFINITION
        self.states.setdefault(command.server_id, PowerState.SHUT_OFF)
        return self.do_truth(command.server_id)

    def do_start(self, server_id: str, command: ServerCommand) -> GuestTruth:
        owner = self.owner(server_id)
        assert (owner.host_id, owner.generation) == (self.facts.host_id, command.generation)
        running = [
            one.facts.name
            for one in self.scene.agents.values()
            if one.states.get(server_id) is PowerState.RUNNING and one is not self
        ]
        assert not running, f"{server_id} runs on {running} already"
        self.states[server_id] = PowerState.RUNNING
        return self.do_truth(server_id)

    def do_remove(self, server_id: str, command: ServerCommand) -> GuestTruth:
        owner = self.owner(server_id)
        assert owner.host_id != self.facts.host_id
        assert command.generation >= owner.generation
        self.states.pop(server_id, None)
        return self.do_truth(server_id)

    def do_complete(self, migration_id: str) -> None:
        self.prepared.discard(migration_id)


class PlayedAgents(Agents):
    def __init__(self, by_id: dict[str, PlayedAgent]) -> None:
        self.by_id = by_id

    def of(self, host_id: str, *_: object) -> Any:
        return self.by_id[host_id]


class PlayedLeases:
    """Tells when leases cannot live any more; the real reading has tests of its own."""

    def __init__(self) -> None:
        self.bounds_s: dict[str, float | None] = {}

    def cannot_live_before(self, host_id: str) -> float | None:
        return self.bounds_s.get(host_id, 0.0)

    def left_s(self, _: str) -> int | None:
        return 7


class Scene:
    """kvm-01 to kvm-03, fenced and with rescue asked for; servers are added by tests."""

    def __init__(
        self, etcd: Etcd, leadership: Leadership, make_host: Callable[..., HostFacts]
    ) -> None:
        self.etcd, self.leadership = etcd, leadership
        self.now_s = 1_000.0
        self.leases = PlayedLeases()
        self.hosts = [make_host(number) for number in (1, 2, 3)]
        self.agents: dict[str, PlayedAgent] = {}
        for host in self.hosts:
            self.agents[host.host_id] = PlayedAgent(self, host)
            self.etcd.put(keys.FACTS + host.host_id, msgspec.json.encode(host))
            self.put_life(host.name)
            self.put_policy(host.name, down=True)
        self.lead()

    def lead(self) -> None:
        """A backend that has just begun to lead, with nothing in its memory."""
        self.fleet = Fleet()
        writes = self.writes = LeaderWrites(self.etcd, self.leadership)
        agents = PlayedAgents(self.agents)
        journal = Journal(self.etcd, self.leadership, self.fleet)
        self.drive = Drive(
            fleet=self.fleet,
            agents=agents,
            jobs=Jobs(),
            journal=journal,
            comparisons=Comparisons(agents),
        )
        self.claims = Claims(writes, journal, self.fleet)
        self.incidents = Incidents(writes, self.fleet)
        self.starting = Starting(self.drive, self.claims, asyncio.Event())
        self.faults = Faults(lambda: None)
        self.rescuer = Rescuer(
            self.drive,
            self.incidents,
            self.claims,
            Sight(self.leases),
            self.starting,
            faults=self.faults,
        )
        self.rescuer._sight.begin(self.now_s)
        self.desk = RescueDesk(
            self.drive, self.leadership, self.rescuer, self.incidents, self.starting
        )
        self.sync()
        for host in self.hosts:
            self.report(host)

    def sync(self) -> None:
        """Let the fleet model follow etcd, as its watches do."""
        fleet = self.fleet
        for prefix, kind, known, put in (
            (keys.FACTS, HostFacts, fleet.facts, fleet.put_facts),
            (keys.LIVES, HealthValue, fleet.lives, fleet.put_life),
            (keys.HEALTH, HealthValue, fleet.health, fleet.put_health),
            (keys.POLICIES, HostPolicy, fleet.policies, fleet.put_policy),
            (keys.SERVERS, ServerRecord, fleet.records, fleet.put_record),
            (keys.MIGRATIONS, Migration, fleet.migrations, fleet.put_migration),
            (keys.INCIDENTS, Incident, fleet.incidents, fleet.put_incident),
        ):
            listed = {
                item.key.removeprefix(prefix): taken(item, kind)
                for item in self.etcd.list(prefix).items
            }
            for key in [*known.keys() - listed.keys()]:
                put(key, None)  # type: ignore[operator]  # one put for each kind
            for key, value in listed.items():
                put(key, value)  # type: ignore[operator]  # one put for each kind

    def report(self, host: HostFacts, *, used_bytes: int = GIB) -> None:
        if host.host_id in self.fleet.health:
            meters = HostMeters(cpu_percent=1.0, memory_used_bytes=used_bytes)
            snapshot = AgentSnapshot(facts=host, servers=(), jobs=(), meters=meters)
            self.fleet.put_snapshot(host.host_id, snapshot)

    def host_id(self, name: str) -> str:
        return next(one.host_id for one in self.hosts if one.name == name)

    def put_life(self, host: str, *, epoch: int = 3, fence: Fence = Fence.WATCHDOG) -> None:
        """Have a host hold its health key."""
        life = HealthValue(boot_id="b", epoch=epoch, fence=fence, ttl_s=10)
        host_id = self.host_id(host)
        for prefix in (keys.LIVES, keys.HEALTH):
            self.etcd.put(prefix + host_id, msgspec.json.encode(life))

    def put_policy(self, host: str, *, down: bool, shutdown: bool = False) -> None:
        policy = HostPolicy(auto_migrate_on_host_down=down, auto_migrate_on_host_shutdown=shutdown)
        self.etcd.put(keys.POLICIES + self.host_id(host), msgspec.json.encode(policy))

    def add(
        self,
        name: str,
        host: str = "kvm-01",
        *,
        disks: tuple[Disk, ...] | None = None,
        wanted_on: bool = True,
        suspended: bool = False,
        memory_bytes: int = GIB,
        definition: str = DEFINITION,
        bound_by: str = "",
        **owner: Any,
    ) -> ServerRecord:
        server_id, host_id = f"id-{name}", self.host_id(host)
        shared = Disk(
            target="vda",
            source=f"/shared/{name}.img",
            pool_id="pool-shared",
            pool_name="shared",
            shared=True,
        )
        record = ServerRecord(
            server_id=server_id,
            name=name,
            vcpu_count=1,
            memory_bytes=memory_bytes,
            disks=(shared,) if disks is None else disks,
            owner=Owner(**({"host_id": host_id, "epoch": 3, "generation": 1} | owner)),
            wanted_on=wanted_on,
            suspended=suspended,
            bound_by=bound_by,
        )
        self.put_record(record)
        self.etcd.put(keys.DEFINITIONS + server_id, definition.encode())
        if wanted_on:
            self.agents[host_id].states[server_id] = PowerState.RUNNING
        return record

    def put_record(self, record: ServerRecord) -> None:
        self.etcd.put(keys.SERVERS + record.server_id, msgspec.json.encode(record))
        self.sync()

    def cut(self, *hosts: str) -> None:
        """Power cut: the guests are dead, the agent is away, and the lease has run out."""
        for host in hosts:
            agent = self.agents[self.host_id(host)]
            agent.away = True
            for server_id, state in agent.states.items():
                if state is PowerState.RUNNING:
                    agent.states[server_id] = PowerState.SHUT_OFF
            self.etcd.delete(keys.HEALTH + self.host_id(host))
            self.fleet.agent_lost(self.host_id(host), "no answer", silent=True)
        self.sync()

    async def look(self) -> None:
        async with self.rescuer.lock:
            await self.rescuer.look()

    async def pass_(self, seconds: float) -> None:
        """Look before and after so much time has passed."""
        await self.look()
        self.now_s += seconds
        await self.look()

    async def run_rescues(self) -> None:
        """Run every rescue under way, and those that follow from them, to its end."""
        while under_way := self.under_way():
            runs = (RescueRunner(self.drive, self.claims, one).run() for one in under_way)
            for ended in await asyncio.gather(*runs, return_exceptions=True):
                if ended is not None:
                    raise ended
            self.sync()

    def under_way(self) -> list[str]:
        migrations = self.fleet.migrations.values()
        return [one.migration_id for one in migrations if not one.state.ended]

    async def settle(self) -> None:
        """Go on until nothing more happens."""
        for _ in range(12):
            await self.pass_(4.0)
            await self.run_rescues()
        await self.look()

    def record(self, server: str) -> ServerRecord:
        item = self.etcd.get(
            keys.SERVERS + (server if server.startswith("id-") else f"id-{server}")
        )
        assert item is not None
        return msgspec.json.decode(item.value, type=ServerRecord)

    def incident(self, host: str = "kvm-01") -> Incident:
        """The latest incident of a host, as etcd has it."""
        found = [
            msgspec.json.decode(item.value, type=Incident)
            for item in self.etcd.list(keys.INCIDENTS).items
        ]
        mine = [one for one in found if one.host_name == host]
        return max(mine, key=lambda one: (one.open, one.lost_at_ms))

    def line(self, server: str, host: str = "kvm-01") -> IncidentServer:
        return next(one for one in self.incident(host).servers if one.server_name == server)

    def migrations(self) -> list[Migration]:
        """As etcd has them, by generation."""
        found = [
            msgspec.json.decode(item.value, type=Migration)
            for item in self.etcd.list(keys.MIGRATIONS).items
        ]
        return sorted(found, key=lambda one: one.generation)

    def running(self, server: str) -> list[str]:
        """Names of the hosts that run a server."""
        return [
            one.facts.name
            for one in self.agents.values()
            if one.states.get(f"id-{server}") is PowerState.RUNNING
        ]


def _nothing() -> None:
    pass


@pytest.fixture
def scene(
    etcd: Etcd,
    leads: Leadership,
    make_host: Callable[..., HostFacts],
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    scene = Scene(etcd, leads, make_host)
    for module in (rescuer_module, starting_module, storm_guard_module):
        monkeypatch.setattr(module, "boot_clock_s", lambda: scene.now_s)
    return scene
