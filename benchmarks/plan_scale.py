"""How long a plan takes in a large fleet: for one host of 40 servers, and for a rack of 20 hosts.

    .venv/bin/python benchmarks/plan_scale.py [--runs 20] [--write]

A fleet of 1,000 hosts and 20,000 servers is built in memory: the model is the real one, the hosts
in it are simulated, and so are their agents, which answer questions about CPUs at once. The host of
40 servers has running, paused and stopped ones of six sizes, on shared and on local disks, with and
without CPUs of their own, busy and idle, and some that cannot move. Prints the median and the
spread of N plans, each from the request to the whole answer, with the ratio to the limit of 300 ms
for the host, and without one for the rack; and how long the event loop stood still at most while
they were made: one that has nothing else to do wakes every few ms. --write puts the page into
results/.
"""

import argparse
import asyncio
import gc
import os
import platform
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from backend.agents import Agents
from backend.evacuations.planning.planner import Sources, plan
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.freezing import freeze_first_state
from backend.migrations.jobs import Jobs
from wire.agent import AgentSnapshot, CpuComparison, CpuQuestion
from wire.evacuation import Plan, PlanRequest, Way
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

RESULT = Path(__file__).parent / "results" / "plan_scale.md"
LIMIT_S = 0.3
WAKES_S = 0.002
HOSTS, SERVERS, OF_THE_HOST, RACK = 1_000, 20_000, 40, 20
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
    others = [1 + number % (HOSTS - 1) for number in range(SERVERS - OF_THE_HOST)]
    homes = [0] * OF_THE_HOST + others
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


async def timed(
    sources: Sources, request: PlanRequest, runs: int
) -> tuple[list[float], float, tuple[Plan, ...]]:
    """Seconds of each run, the longest in which the loop stood still, and the last answer."""
    took: list[float] = []
    plans: tuple[Plan, ...] = ()
    stood_still_s = [0.0]
    watching = asyncio.create_task(watch(stood_still_s))
    for _ in range(runs):
        began = time.perf_counter()
        plans = await plan(sources, request)
        took.append(time.perf_counter() - began)
    watching.cancel()
    return took, max(stood_still_s), plans


async def watch(stood_still_s: list[float]) -> None:
    """Note by how much the loop wakes too late, for ever."""
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(WAKES_S)
        stood_still_s.append(time.perf_counter() - asleep - WAKES_S)


def said(took: list[float]) -> str:
    """Median and spread in ms."""
    median, least, most = statistics.median(took), min(took), max(took)
    return f"{median * 1000:.0f} ms ({least * 1000:.0f} to {most * 1000:.0f})"


def content(plans: tuple[Plan, ...]) -> str:
    """What was planned, in words."""
    moves = [move for one in plans for move in one.moves]
    counts = {way: sum(1 for one in moves if one.way is way) for way in Way}
    targets = {one.target_host_id for one in moves if one.target_host_id}
    return (
        f"{len(moves)} servers: {counts[Way.LIVE]} live, {counts[Way.COLD]} cold, "
        f"{counts[Way.STAYS]} stay; {len(targets)} targets"
    )


async def measure(runs: int) -> tuple[str, float]:
    """Plan again and again; the page, and the worst ratio to the limit."""
    fleet, agents = build(), SimulatedAgents()
    collecting = [full_collection_s()]
    await freeze_first_state(fleet)
    collecting.append(full_collection_s())

    async def no_definition(_: str) -> str:
        return ""

    def fresh() -> Sources:
        return Sources(
            fleet=fleet,
            comparisons=Comparisons(agents),
            jobs=Jobs(),
            definition=no_definition,
        )

    first = next(iter(fleet.facts.values())).name
    rack = tuple(one.name for one in list(fleet.facts.values())[:RACK])
    host, spared = PlanRequest(hosts=(first,)), PlanRequest(hosts=(first,), keep_spare=True)
    soon_ms = time.time_ns() // 1_000_000 + 60_000
    late = PlanRequest(hosts=rack, max_bandwidth_bytes_per_s=5 * MIB, empty_by_ms=soon_ms)
    rows, ratios = [], []
    for title, request, limited in (
        ("a host of 40 servers", host, True),
        ("the same, `keep_spare`", spared, True),
        (f"a rack of {RACK} hosts", PlanRequest(hosts=rack), False),
        ("the same, with a deadline that no lever makes", late, False),
    ):
        cold: list[float] = []
        for _ in range(max(1, runs // 4)):
            sources, before = fresh(), agents.asked
            cold += (await timed(sources, request, 1))[0]
            asked = agents.asked - before
        took, stood_still_s, plans = await timed(sources, request, runs)
        ratio = max(statistics.median(cold), statistics.median(took)) / LIMIT_S
        ratios += [ratio] if limited else []
        against = f"{ratio:.2f}" if limited else "-"
        line = (
            f"| {title} | {content(plans)} | {said(cold)}, {asked} questions | {said(took)} | "
            f"{against} | {stood_still_s * 1000:.0f} ms |"
        )
        print(line)
        rows.append(line)
    page = "\n".join(
        [
            "# Planning in a large fleet",
            "",
            f"`.venv/bin/python benchmarks/plan_scale.py --runs {runs} --write`",
            "",
            *said_before(collecting),
            "",
            "| plan for | what came out | a first one | those after it | ratio | loop held |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    return page, max(ratios)


def full_collection_s() -> float:
    """How long the garbage collector looks at everything: the median of five times."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        gc.collect()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def said_before(collecting: list[float]) -> list[str]:
    """What stands above the table."""
    seen, frozen = (f"{each * 1000:.1f} ms" for each in collecting)
    fleet = f"{HOSTS:,} simulated hosts of {len(CPUS)} kinds, {SERVERS:,} simulated servers"
    limit = f"Limit for a host: {LIMIT_S * 1000:.0f} ms"
    return [
        f"{fleet}, in the backend's own model.",
        f"{limit}. A backend's first plan asks hosts about CPUs, which are simulated",
        "and answer at once; those after it know. The ratio is the slower median's to the limit.",
        "Last comes how long the event loop stood still at most, collections included: one takes",
        f"{seen} before the backend has frozen its first full state, {frozen} after. {machine()}",
    ]


def machine() -> str:
    """What it ran on, and how busy that was."""
    load = os.getloadavg()[0]
    cores = f"{os.cpu_count()} cores of {platform.machine()}, load average {load:.1f}"
    return f"{cores}, Python {platform.python_version()}."


def main() -> None:
    """Measure, print, and exit with 1 if a median is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the page into results/")
    arguments = parser.parse_args()
    page, worst = asyncio.run(measure(arguments.runs))
    print(page)
    if arguments.write:
        RESULT.write_text(page, encoding="utf-8")
    sys.exit(0 if worst <= 1 else 1)


if __name__ == "__main__":
    main()
