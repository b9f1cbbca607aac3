"""A fleet in memory to plan for: hosts and servers in a few words."""

from typing import Any

import msgspec

from backend.agents import Agents
from backend.evacuations.planning.planner import Sources, as_server, plan, plan_return, replan
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from wire.agent import AgentSnapshot, CpuComparison, CpuQuestion
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    Plan,
    PlanEdit,
    PlannedMove,
    PlanRequest,
    ReturnRequest,
)
from wire.fleet import (
    Disk,
    HostFacts,
    HostMeters,
    HostPolicy,
    Owner,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
    StoragePool,
)
from wire.forecast import Dirtying, DirtySample
from wire.life import Fence, HealthValue
from wire.migration import Migration, MigrationKind, MigrationState
from wire.rescue import Incident

GIB, MIB = 1 << 30, 1 << 20
LIFE = HealthValue(boot_id="b", epoch=3, fence=Fence.WATCHDOG, ttl_s=10)
DEFINITION = "<domain type='qemu'><os><type arch='x86_64' machine='pc-i440fx-7.2'/></os></domain>"


def pool(name: str, *, free_gib: int = 100) -> StoragePool:
    shared = name != "local"
    return StoragePool(
        pool_id=f"pool-{name}" if shared else "",
        name=name,
        shared=shared,
        path=f"/{name}",
        capacity_bytes=1000 * GIB,
        available_bytes=free_gib * GIB,
    )


def disk(pool_name: str, *, gib: int = 10) -> Disk:
    shared = pool_name != "local"
    return Disk(
        target="vda",
        source=f"/{pool_name}/x.img",
        pool_id=f"pool-{pool_name}",
        pool_name=pool_name,
        shared=shared,
        capacity_bytes=gib * GIB,
        allocation_bytes=gib * GIB // 2,
    )


class AskedAgents(Agents):
    """Stands for every host's agent: says yes, or lacks what it is told to lack."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lacking: dict[str, tuple[str, ...]] = {}

    def of(self, host_id: str, *_: str) -> Any:
        return _Asked(self, host_id)


class _Asked:
    def __init__(self, agents: AskedAgents, host_id: str) -> None:
        self.agents, self.host_id = agents, host_id

    async def compare_cpu(self, _: CpuQuestion) -> CpuComparison:
        self.agents.asked.append(self.host_id)
        missing = self.agents.lacking.get(self.host_id, ())
        return CpuComparison(compatible=not missing, missing_features=missing)


class Planned:
    """Hosts are ``kvm-01`` and so on, by their numbers; each reports what it has."""

    def __init__(self, hosts: int = 3, *, free_gib: int = 32, link: int = 100 * MIB) -> None:
        self.fleet = Fleet()
        self.agents = AskedAgents()
        self.jobs = Jobs()
        self.definitions: dict[str, str] = {}
        self._servers: dict[str, list[ServerFacts]] = {}
        for number in range(1, hosts + 1):
            self.host(number, free_gib=free_gib, link=link)

    def host(
        self, number: int, *, free_gib: float = 32, link: int = 100 * MIB, **changes: Any
    ) -> HostFacts:
        """A host that is up, with so much memory free, or the same with something changed."""
        values: dict[str, Any] = {
            "host_id": f"host-{number}",
            "name": f"kvm-{number:02}",
            "address": f"10.77.1.{number}",
            "agent_url": f"https://10.77.1.{number}:8600",
            "cpu_architecture": "x86_64",
            "cpu_model_name": "Intel Xeon E5-2650 v2",
            "microcode": "0x42e",
            "kernel": "6.1.0-1-amd64",
            "cpu_count": 8,
            "page_size_bytes": 4096,
            "memory_total_bytes": 64 * GIB,
            "libvirt_cpu_model": "IvyBridge",
            "cpu_features": (),
            "machine_types": ("pc-i440fx-7.2",),
            "virt_types": ("qemu",),
            "qemu_version": "7.2.0",
            "libvirt_version": "9.0.0",
            "agent_version": "0.1.0",
            "pools": (pool("shared"), pool("local")),
            "link_bytes_per_s": link,
        }
        facts = HostFacts(**(values | changes))
        used_bytes = facts.memory_total_bytes - int(free_gib * GIB)
        self.fleet.put_facts(facts.host_id, facts)
        self.fleet.put_health(facts.host_id, LIFE)
        self.fleet.put_life(facts.host_id, LIFE)
        self._report(facts, HostMeters(cpu_percent=10.0, memory_used_bytes=used_bytes))
        return facts

    def server(
        self,
        name: str,
        *,
        on: int = 1,
        gib: float = 1,
        state: PowerState = PowerState.RUNNING,
        pool_name: str = "shared",
        dirties_mib_per_s: float | None = 0,
        hot_mib: float = 256,
        phase: OwnerPhase = OwnerPhase.SETTLED,
        migration_id: str = "",
        bound_by: str = "",
        **changes: Any,
    ) -> ServerRecord:
        """A server on a host; None for how much it dirties if nobody has measured that."""
        facts = ServerFacts(
            server_id=f"id-{name}",
            name=name,
            vcpu_count=1,
            memory_bytes=int(gib * GIB),
            disks=(disk(pool_name),),
            machine="pc-i440fx-7.2",
            virt_type="qemu",
            state=state,
        )
        facts = msgspec.structs.replace(facts, **changes)
        record = ServerRecord(
            server_id=facts.server_id,
            name=name,
            vcpu_count=1,
            memory_bytes=facts.memory_bytes,
            disks=facts.disks,
            owner=Owner(
                host_id=f"host-{on}", epoch=3, generation=1, phase=phase, migration_id=migration_id
            ),
            wanted_on=state is not PowerState.SHUT_OFF,
            suspended=state is PowerState.PAUSED,
            bound_by=bound_by,
        )
        self.definitions[facts.server_id] = DEFINITION
        self.fleet.put_record(facts.server_id, record)
        self._servers.setdefault(f"host-{on}", []).append(facts)
        host = self.fleet.facts[f"host-{on}"]
        self._report(host, self.fleet.link(host.host_id).meters)
        if dirties_mib_per_s is not None and state is not PowerState.SHUT_OFF:
            self.fleet.put_dirtying(_dirtying(facts, dirties_mib_per_s, hot_mib))
        return record

    def moved(self, name: str, *, to: int) -> None:
        """The server has gone to another host."""
        before = self.fleet.records[f"id-{name}"]
        old, new = before.owner.host_id, f"host-{to}"
        owner = msgspec.structs.replace(before.owner, host_id=new, generation=2)
        facts = next(one for one in self._servers[old] if one.name == name)
        self._servers[old].remove(facts)
        self._servers.setdefault(new, []).append(facts)
        self.fleet.put_record(before.server_id, msgspec.structs.replace(before, owner=owner))
        for host_id in (old, new):
            host = self.fleet.facts[host_id]
            self._report(host, self.fleet.link(host_id).meters)

    def maintenance(self, number: int) -> None:
        self.fleet.put_policy(f"host-{number}", HostPolicy(maintenance=True))

    def dies(self, number: int, *, proven: bool, held_reason: str = "") -> None:
        """A host's key is gone; its death is proven or not."""
        name = f"kvm-{number:02}"
        self.fleet.put_health(f"host-{number}", None)
        self.fleet.put_incident(
            f"incident-{number}",
            Incident(
                incident_id=f"incident-{number}",
                host_id=f"host-{number}",
                host_name=name,
                life=LIFE,
                lost_at_ms=1,
                dead_at_ms=2 if proven else 0,
                held_reason=held_reason,
            ),
        )

    def moving(
        self, name: str, *, source: int, target: int, kind: MigrationKind = "live"
    ) -> Migration:
        """A migration under way."""
        migration = Migration(
            migration_id=f"move-{name}",
            kind=kind,
            server_id=f"id-{name}",
            server_name=name,
            source_host_id=f"host-{source}",
            source_host_name=f"kvm-{source:02}",
            target_host_id=f"host-{target}",
            target_host_name=f"kvm-{target:02}",
            state=MigrationState.COPYING_MEMORY,
        )
        self.fleet.put_migration(migration.migration_id, migration)
        return migration

    def evacuation(
        self,
        number: int,
        servers: tuple[EvacuatedServer, ...] = (),
        *,
        kind: EvacuationKind = EvacuationKind.EVACUATE,
        evacuation_id: str = "e-1",
        **changes: Any,
    ) -> Evacuation:
        """An evacuation that etcd keeps."""
        evacuation = Evacuation(
            evacuation_id=evacuation_id,
            kind=kind,
            host_id=f"host-{number}",
            host_name=f"kvm-{number:02}",
            servers=servers,
            requested_by="anna",
            created_at_ms=1_795_000_000_000,
        )
        evacuation = msgspec.structs.replace(evacuation, **changes)
        self.fleet.put_evacuation(evacuation_id, evacuation)
        return evacuation

    @property
    def sources(self) -> Sources:
        async def definition(server_id: str) -> str:
            return self.definitions.get(server_id, "")

        return Sources(
            fleet=self.fleet,
            comparisons=Comparisons(self.agents),
            jobs=self.jobs,
            definition=definition,
        )

    async def plan(self, *numbers: int, **request: Any) -> Plan:
        """The plan of the first host."""
        return (await self.plans(*numbers, **request))[0]

    async def plans(self, *numbers: int, **request: Any) -> tuple[Plan, ...]:
        hosts = tuple(f"kvm-{number:02}" for number in numbers or (1,))
        return await plan(self.sources, PlanRequest(hosts=hosts, **request))

    async def returns(self, number: int = 1, **request: Any) -> Plan:
        return await plan_return(self.sources, f"kvm-{number:02}", ReturnRequest(**request))

    async def again(self, evacuation: Evacuation, *edits: PlanEdit) -> Evacuation:
        return await replan(self.sources, evacuation, edits)

    async def begun(self, number: int = 1, **request: Any) -> Evacuation:
        """An evacuation as it begins with its plan, which the fleet knows."""
        made = await self.plan(number, **request)
        return self.evacuation(number, tuple(as_server(one) for one in made.moves))

    def _report(self, facts: HostFacts, meters: HostMeters | None) -> None:
        servers = tuple(self._servers.get(facts.host_id, ()))
        self.fleet.put_snapshot(
            facts.host_id,
            AgentSnapshot(facts=facts, servers=servers, jobs=(), meters=meters),
        )


def line(made: Plan, name: str) -> PlannedMove:
    (found,) = [one for one in made.moves if one.server_name == name]
    return found


def order(made: Plan) -> list[str]:
    return [one.server_name for one in made.moves]


def routes(made: Plan) -> dict[str, str]:
    return {one.server_name: one.target_host_name for one in made.moves}


def _dirtying(facts: ServerFacts, mib_per_s: float, hot_mib: float) -> Dirtying:
    now_ms = 1_795_000_000_000
    return Dirtying(
        server_id=facts.server_id,
        samples=tuple(
            DirtySample(
                window_ms=window_ms,
                dirtied_bytes=int(min(hot_mib, mib_per_s * window_ms / 1000) * MIB),
                at_ms=now_ms,
            )
            for window_ms in (1000, 3000)
        ),
        resident_bytes=facts.memory_bytes,
    )
