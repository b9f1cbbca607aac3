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
import statistics
import sys
import time
from pathlib import Path

from simulated_fleet import CPUS, HOSTS, MIB, SERVERS, SimulatedAgents, build

from backend.evacuations.planning.planner import Sources, plan
from backend.fleet.cpus import Comparisons
from backend.freezing import freeze_first_state
from backend.migrations.jobs import Jobs
from wire.evacuation import Plan, PlanRequest, Way

RESULT = Path(__file__).parent / "results" / "plan_scale.md"
LIMIT_S = 0.3
WAKES_S = 0.002
RACK = 20


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
