"""From a power cut to the first and to the last of twenty guests that run again elsewhere.

    .venv/bin/python benchmarks/rescue_time.py [--runs 3] [--ttl 5 10 30] [--write]

Each run makes a lab of four hosts with twenty guests on the first one, cuts its power, and takes
the time of each guest's first write to its disk by its next boot, of libvirt's word that it runs,
and of the moment at which etcd let the host's lease run out: nobody can act before that. Then it
destroys the guests where they run now, and takes the time that plain `virsh start` needs for all
of them, as many at once: what remains is Godwit's own. Limits: the first guest runs within TTL +
3 s, the last within TTL + 8 s. Prints each run and the spread; --write puts them into results/.
"""

import argparse
import os
import platform
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from backend.rescue.starting import AT_ONCE, AT_ONCE_ON_A_TARGET
from lab import hypervisor
from lab.fleet import Lab
from lab.server import ServerSpec
from lab.trace import DiskWatch
from lab.trials.trial import Trial, progress
from lab.trials.witness import Witness
from wire.keys import HEALTH

LAB = "bench-rescue"
RESULT = Path(__file__).parent / "results" / "rescue_time.md"
GUESTS = 20
FIRST_LIMIT_S, LAST_LIMIT_S = 3.0, 8.0
"""Beyond the TTL."""
WAIT_S = 120.0
LOST = "kvm-01"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the power cut."""

    ttl_s: int
    expiry_s: float
    """etcd had deleted the host's health key."""
    first_s: float
    """libvirt said that the first guest runs."""
    last_s: float
    first_write_s: float
    """The first guest's own evidence: it has booted and written to its disk."""
    last_write_s: float
    starting_s: float
    """From the first that runs to the last."""
    virsh_s: float
    """What `virsh start` took for the same guests on the same hosts, from the first that ran."""


def start_by_virsh(lab: Lab, where: dict[str, str]) -> float:
    """Start every guest where it was, after all were destroyed; seconds from first to last."""
    for name, host in where.items():
        lab.virsh(host, f"destroy {name}")
    each = min(AT_ONCE_ON_A_TARGET, os.cpu_count() or 1)
    limits = {host: threading.Semaphore(each) for host in where.values()}

    def start(name: str) -> float:
        with limits[where[name]]:
            lab.virsh(where[name], f"start {name}")
        return time.monotonic()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ran = list(pool.map(start, where))
    return max(ran) - min(ran)


def watch_key(witness: Witness, key: str, gone: list[float]) -> None:
    """Note when a key is absent, at most 20 ms late."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if not witness.has_key(key):
            gone.append(time.monotonic())
            return
        time.sleep(0.02)


def measure(ttl_s: int) -> Run:
    """One lab, one power cut."""
    lab = Lab(LAB)
    try:
        lab.up(host_count=4, server_count=0, lease_ttl_s=ttl_s)
        names = [f"guest-{number + 1}" for number in range(GUESTS)]
        for name in names:
            lab.add_server(ServerSpec(name=name, host=LOST, memory_mb=32, trace_ms=500))
        lab.wait_until_ready()
        with Witness.of(lab) as witness, witness.watch(names).watching() as watch:
            trial = Trial(witness, watch, names)
            for host in lab.state.hosts:
                trial.set_policy(host.name, auto_migrate_on_host_down=True)
            trial.wait_until_fenced()
            time.sleep(2 * ttl_s / 6)  # somewhere in the lease's course, not where all began
            return cut(lab, witness, watch, names, ttl_s)
    finally:
        if lab.folders.root.exists():
            lab.down()


def cut(lab: Lab, witness: Witness, watch: DiskWatch, names: list[str], ttl_s: int) -> Run:
    """Cut the power, and wait until every guest runs elsewhere."""
    before = {name: len(watch.boots(name)) for name in names}
    key = HEALTH + hypervisor.host_id(lab.state, lab.state.node(LOST))
    gone: list[float] = []
    expiry = threading.Thread(target=watch_key, args=(witness, key, gone))
    expiry.start()
    cut_s, cut_ms = time.monotonic(), time.time() * 1000
    lab.power_cut(LOST)
    until = cut_s + ttl_s + WAIT_S
    while waiting := [name for name in names if len(watch.boots(name)) == before[name]]:
        if time.monotonic() > until:
            told = progress(next(iter(witness.incidents()), None))
            sys.exit(f"after {WAIT_S:.0f} s {', '.join(waiting)} do not run: {told}")
        time.sleep(0.1)
    expiry.join()
    writes = [watch.boots(name)[-1].first_s - cut_s for name in names]
    (incident, *_) = witness.incidents()
    told = [(each.running_at_ms - cut_ms) / 1000 for each in incident.servers]
    where = {each.server_name: each.target_host_name for each in incident.servers}
    return Run(
        ttl_s=ttl_s,
        expiry_s=gone[0] - cut_s,
        first_s=min(told),
        last_s=max(told),
        first_write_s=min(writes),
        last_write_s=max(writes),
        starting_s=max(told) - min(told),
        virsh_s=start_by_virsh(lab, where),
    )


def spread(values: list[float]) -> str:
    """Median, and from least to most."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def met(runs: list[Run]) -> bool:
    """Whether every run stayed within both limits."""
    return all(
        run.first_s <= run.ttl_s + FIRST_LIMIT_S and run.last_s <= run.ttl_s + LAST_LIMIT_S
        for run in runs
    )


def report(runs: list[Run], count: int) -> str:
    """A Markdown page."""
    ttls = sorted({run.ttl_s for run in runs})
    options = f"--runs {count} --ttl {' '.join(map(str, ttls))} --write"
    which = "Every" if met(runs) else "Not every"
    lines = [
        "# From a power cut to guests that run elsewhere",
        "",
        f"`.venv/bin/python benchmarks/rescue_time.py {options}`",
        "",
        f"Four hosts, {GUESTS} guests on the one whose power is cut. Seconds from the cut: median",
        f"(least to most) of {count} runs. {os.cpu_count()} cores of {platform.machine()} for all,",
        f"guests under software emulation, Python {platform.python_version()}.",
        "",
        f"**{which} run within TTL + {FIRST_LIMIT_S:g} s for the first guest and TTL +",
        f"{LAST_LIMIT_S:g} s for the last.** The floor is the lease's end: nobody may act before.",
        "",
        "| TTL | lease out | first runs | limit | last runs | limit | first writes | last writes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for ttl_s in ttls:
        some = [run for run in runs if run.ttl_s == ttl_s]
        lines.append(
            f"| {ttl_s} | {spread([r.expiry_s for r in some])} "
            f"| {spread([r.first_s for r in some])} | {ttl_s + FIRST_LIMIT_S:g} "
            f"| {spread([r.last_s for r in some])} | {ttl_s + LAST_LIMIT_S:g} "
            f"| {spread([r.first_write_s for r in some])} "
            f"| {spread([r.last_write_s for r in some])} |"
        )
    over = statistics.median(run.first_s / run.expiry_s for run in runs)
    ratios = [run.starting_s / run.virsh_s for run in runs]
    lines += [
        "",
        f"Median of the ratios first guest runs / lease ran out: {over:.2f}.",
        "From the first guest to the last, against `virsh start` of them, as many at once:",
        f"{spread([run.starting_s for run in runs])} s against",
        f"{spread([run.virsh_s for run in runs])} s, median ratio {statistics.median(ratios):.2f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and exit with 1 if a run was over a limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ttl", type=int, nargs="+", default=[5, 10, 30])
    parser.add_argument("--write", action="store_true", help="put the table into results/")
    arguments = parser.parse_args()
    runs = []
    for number in range(arguments.runs):
        for ttl_s in arguments.ttl:
            run = measure(ttl_s)
            runs.append(run)
            print(
                f"run {number + 1}, TTL {ttl_s}: lease ran out {run.expiry_s:.2f} s after the cut, "
                f"first runs {run.first_s:.2f} (writes {run.first_write_s:.2f}), "
                f"last runs {run.last_s:.2f} (writes {run.last_write_s:.2f}), "
                f"all by virsh in {run.virsh_s:.2f}",
                flush=True,
            )
    page = report(runs, arguments.runs)
    print(page)
    if arguments.write:
        RESULT.write_text(page, encoding="utf-8")
    sys.exit(0 if met(runs) else 1)


if __name__ == "__main__":
    main()
