"""A large fleet in the backend's own model, for benchmarks: its hosts and servers are simulated.

Nothing of it is a process. Agents answer questions about CPUs at once, and say yes.
"""

import random
import time
from typing import Any

from backend.agents import Agents
from backend.fleet.known import Fleet
from wire.agent import AgentSnapshot, CpuComparison, CpuQuestion
from wire.fleet import (
    Disk,
    HostFacts,
    HostMeters,
    Owner,
    PowerState,
    ServerFacts,
    ServerRecord,
    StoragePool,
)
from wire.forecast import Dirtying, DirtySample
from wire.life import HealthValue
from wire.migration import Migration, MigrationState, Statistics

HOSTS, SERVERS, OF_THE_FIRST = 1_000, 20_000, 40
GIB, MIB = 1 << 30, 1 << 20
HOST_BYTES = 512 * GIB
LINK_BYTES_PER_S = 1_250_000_000
SIZES_GIB = (1, 2, 4, 8, 16, 32)
CPUS = (
    ("Intel Xeon Gold 6248R", "0x5003604", "6.1.0-37-amd64"),
    ("Intel Xeon Gold 6248R", "0x5003604", "6.1.0-38-amd64"),
    ("Intel Xeon Gold 6348", "0xd0003e7", "6.1.0-38-amd64"),
    ("AMD EPYC 7763", "0xa0011d5", "6.1.0-38-amd64"),
)
MACHINES = tuple(
    f"pc-{chipset}-{major}.{minor}"
    for chipset in ("i440fx", "q35")
    for major in range(2, 8)
    for minor in range(10)
)
SHARED_POOLS = ("pool-a", "pool-b", "pool-c")


class SimulatedAgents(Agents):
    """Agents of hosts that do not exist: each has the CPU that every guest asks for."""

    def __init__(self) -> None:
        self.asked = 0

    def of(self, *_: str) -> Any:
        """Any host's agent."""
        return self

    async def compare_cpu(self, _: CpuQuestion) -> CpuComparison:
        """Say yes."""
        self.asked += 1
        return CpuComparison(compatible=True)


def host_facts(number: int) -> HostFacts:
    """One of four kinds of hosts, with three shared pools and a local one."""
    model, microcode, kernel = CPUS[number % len(CPUS)]
    pools = [
        StoragePool(
            pool_id=name if name != "local" else f"local-{number}",
            name=name,
            shared=name != "local",
            path=f"/{name}",
            capacity_bytes=4096 * GIB,
            available_bytes=(1024 + number) * GIB,
            kind="netfs" if name != "local" else "dir",
        )
        for name in (*SHARED_POOLS, "local")
    ]
    return HostFacts(
        host_id=f"00000000-0000-4000-8000-{number:012}",
        name=f"kvm-{number:04}",
        address=f"10.0.{number // 250}.{number % 250}",
        agent_url=f"https://10.0.{number // 250}.{number % 250}:8600",
        cpu_architecture="x86_64",
        cpu_model_name=model,
        microcode=microcode,
        kernel=kernel,
        cpu_count=64,
        page_size_bytes=4096,
        memory_total_bytes=HOST_BYTES,
        libvirt_cpu_model="Cascadelake-Server",
        cpu_features=("avx512vnni", "md-clear"),
        machine_types=MACHINES,
        virt_types=("kvm", "qemu"),
        qemu_version="7.2.0",
        libvirt_version="9.0.0",
        agent_version="0.1.0",
        pools=tuple(pools),
        guest_cpus=(f"kvm:{model}{microcode}",),
        link_bytes_per_s=LINK_BYTES_PER_S,
    )


def server_facts(number: int, dice: random.Random) -> ServerFacts:
    """A server of mixed kind: of each ten seven run, two are stopped, one is paused."""
    state = (PowerState.SHUT_OFF, PowerState.SHUT_OFF, PowerState.PAUSED)[dice.randrange(3)]
    if dice.random() < 0.7:
        state = PowerState.RUNNING
    local = dice.random() < 0.15
    pool = "local" if local else dice.choice(SHARED_POOLS)
    disk = Disk(
        target="vda",
        source=f"/{pool}/{number}.qcow2",
        format="qcow2",
        pool_id=pool,
        pool_name=pool,
        shared=not local,
        capacity_bytes=40 * GIB,
        allocation_bytes=dice.randrange(1, 20) * GIB,
    )
    return ServerFacts(
        server_id=f"10000000-0000-4000-8000-{number:012}",
        name=f"server-{number:05}",
        vcpu_count=4,
        memory_bytes=dice.choice(SIZES_GIB) * GIB,
        disks=(disk,),
        cpu_model="Cascadelake-Server",
        cpu_xml="<cpu><model>Cascadelake-Server</model></cpu>" if dice.random() < 0.6 else "",
        architecture="x86_64",
        machine=dice.choice(("pc-q35-7.2", "pc-i440fx-7.2", "pc-q35-6.0")),
        virt_type="kvm",
        state=state,
        passthrough=("PCI device 0000:3b:00.0",) if dice.random() < 0.03 else (),
        snapshot_names=("before",) if dice.random() < 0.03 else (),
    )


def build() -> Fleet:
    """The simulated fleet: host 0 has forty servers, the others share the rest alike."""
    dice = random.Random(1)  # noqa: S311 - the same fleet in every run
    fleet = Fleet()
    others = [1 + number % (HOSTS - 1) for number in range(SERVERS - OF_THE_FIRST)]
    homes = [0] * OF_THE_FIRST + others
    of_host: dict[int, list[ServerFacts]] = {}
    for number, home in enumerate(homes):
        of_host.setdefault(home, []).append(server_facts(number, dice))
    for number in range(HOSTS):
        add_host(fleet, host_facts(number), of_host.get(number, []), dice)
    add_history(fleet)
    return fleet


def add_host(
    fleet: Fleet, facts: HostFacts, servers: list[ServerFacts], dice: random.Random
) -> None:
    """One host that is up, and what its agent says of its servers."""
    fleet.put_facts(facts.host_id, facts)
    fleet.put_health(facts.host_id, HealthValue(boot_id="b", epoch=1))
    used_bytes = 8 * GIB
    for server in servers:
        on = server.state is not PowerState.SHUT_OFF
        used_bytes += server.memory_bytes if on else 0
        fleet.put_record(
            server.server_id,
            ServerRecord(
                server_id=server.server_id,
                name=server.name,
                vcpu_count=server.vcpu_count,
                memory_bytes=server.memory_bytes,
                disks=server.disks,
                owner=Owner(host_id=facts.host_id, epoch=1, generation=1),
                wanted_on=on,
                suspended=server.state is PowerState.PAUSED,
            ),
        )
    fleet.put_snapshot(
        facts.host_id,
        AgentSnapshot(
            facts=facts,
            servers=tuple(servers),
            jobs=(),
            meters=HostMeters(
                cpu_percent=dice.uniform(5, 80), memory_used_bytes=min(used_bytes, HOST_BYTES)
            ),
            dirtying=tuple(
                dirtying(server, dice) for server in servers if server.state is PowerState.RUNNING
            ),
        ),
    )


def dirtying(server: ServerFacts, dice: random.Random) -> Dirtying:
    """What a host samples of a guest that is idle, warm or hot."""
    rate = dice.choice((1, 1, 1, 50, 200, 900)) * MIB
    hot = min(server.memory_bytes // 2, 40 * rate)
    now_ms = time.time_ns() // 1_000_000
    return Dirtying(
        server_id=server.server_id,
        samples=tuple(
            DirtySample(
                window_ms=window_ms,
                dirtied_bytes=min(hot, rate * window_ms // 1000),
                at_ms=now_ms,
            )
            for window_ms in (1000, 3000)
        ),
        resident_bytes=server.memory_bytes,
    )


def add_history(fleet: Fleet) -> None:
    """Two hundred moves that have ended: what links and overheads are measured by."""
    hosts = list(fleet.facts.values())
    records = list(fleet.records.values())
    now_ms = time.time_ns() // 1_000_000
    for number in range(200):
        record, source, target = records[number], hosts[number % 50], hosts[100 + number]
        began_ms = now_ms - (number + 1) * 60_000
        fleet.put_migration(
            f"past-{number}",
            Migration(
                migration_id=f"past-{number}",
                server_id=record.server_id,
                server_name=record.name,
                source_host_id=source.host_id,
                source_host_name=source.name,
                target_host_id=target.host_id,
                target_host_name=target.name,
                state=MigrationState.SUCCEEDED,
                created_at_ms=began_ms,
                started_at_ms=began_ms,
                finished_at_ms=began_ms + 12_000,
                statistics=Statistics(
                    total_ms=10_000,
                    downtime_ms=90,
                    memory_total_bytes=record.memory_bytes,
                    memory_transferred_bytes=9 * GIB,
                    memory_bandwidth_bytes_per_s=LINK_BYTES_PER_S * 9 // 10,
                    pass_count=3,
                ),
            ),
        )
