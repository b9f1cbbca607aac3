"""One host emptied by Godwit, and by loops of `virsh migrate`: one, four and all at once.

    .venv/bin/python benchmarks/evacuation.py [--runs 3] [--write]

Each way gets a lab of its own: two hosts, twelve running guests on the first one (six idle, three
warm, three hot), its link of 400 Mbit/s. The loops go by the order of names, with the flags that
Godwit uses. Makespan is from the command to its end. Bytes are those of the link; its use is from
the first moment at which a twentieth of it is in use to the last. Pauses are libvirt's
(`domjobinfo --completed` on the target). A guest that has not moved after two minutes counts as not
converging. Limits: Godwit's makespan at most 0.9 of the best loop's in the same run, the link at
least 90 % used, nothing that does not converge. --write puts the table into results/.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from lab.fleet import Lab
from lab.server import ServerSpec, Workload
from lab.state import LinkLimit

LAB = "bench-evacuation"
RESULT = Path(__file__).parent / "results" / "evacuation.md"
SOURCE, TARGET = "kvm-01", "kvm-02"
RATE_BITS_PER_S = 400_000_000
MAKESPAN_LIMIT, USE_LIMIT = 0.9, 0.9
WAIT_S = 120.0
LOOK_S = 0.1
KINDS = (
    ("idle", 6, Workload(working_set_mb=96)),
    ("warm", 3, Workload(working_set_mb=64, dirty_mb_per_s=4)),
    ("hot", 3, Workload(working_set_mb=48, dirty_mb_per_s=24)),
)
"""An idle one that was used, and two that dirty a twelfth and half of what the link carries."""
GODWIT = "godwit"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What one way of emptying the host came to."""

    name: str
    makespan_s: float
    sent_bytes: int
    use: float
    """Share of the link that was used while there was something to send, 0 to 1."""
    pauses_ms: tuple[int, ...]
    stuck: tuple[str, ...]
    """Guests that did not move."""


class Meter:
    """Looks at the source's link all the time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._over = threading.Event()
        self.seen: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            self.seen.append((time.monotonic(), self._lab.link_bytes(SOURCE).sent_bytes))

    @property
    def sent_bytes(self) -> int:
        """Of the whole time."""
        return self.seen[-1][1] - self.seen[0][1]

    @property
    def use(self) -> float:
        """Share of the link from the first moment to the last at which a twentieth was in use."""
        steps = list(zip(self.seen, self.seen[1:], strict=False))
        floor = RATE_BITS_PER_S / 8 / 20
        busy = [
            (before, after)
            for before, after in steps
            if (after[1] - before[1]) / (after[0] - before[0]) > floor
        ]
        if not busy:
            return 0.0
        (began_s, began), (ended_s, ended) = busy[0][0], busy[-1][1]
        return (ended - began) * 8 / RATE_BITS_PER_S / (ended_s - began_s)


def guests() -> list[ServerSpec]:
    """Twelve guests, the kinds mixed as they would be by their names."""
    left = {kind: count for kind, count, _ in KINDS}
    work = {kind: workload for kind, _, workload in KINDS}
    specs: list[ServerSpec] = []
    while any(left.values()):
        for kind in [one for one, count in left.items() if count]:
            left[kind] -= 1
            specs.append(
                ServerSpec(
                    name=f"{len(specs) + 1:02}-{kind}",
                    host=SOURCE,
                    memory_mb=160,
                    workload=work[kind],
                )
            )
    return specs


def empty_by_virsh(at_once: int) -> Callable[[Lab, list[str]], float]:
    """A loop over the guests, so many of them at one time; seconds it took."""

    def move(lab: Lab, name: str, until_s: float) -> None:
        command = [
            *("virsh", "migrate", "--live", "--p2p", "--persistent", "--undefinesource"),
            *("--auto-converge", "--unsafe", name, f"qemu+tls://{TARGET}/system"),
        ]
        left_s = max(1.0, until_s - time.monotonic())
        # virsh aborts its migration when it is interrupted
        command = ["timeout", "--signal", "INT", f"{left_s:.0f}", *command]
        done = lab.execute(SOURCE, *command, timeout_s=2 * WAIT_S)
        if done.returncode:
            print(f"{name}: {' '.join(done.stderr.split())}", flush=True)

    def empty(lab: Lab, names: list[str]) -> float:
        began_s = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            for name in names:
                pool.submit(move, lab, name, began_s + WAIT_S)
        return time.monotonic() - began_s

    return empty


def empty_by_godwit(lab: Lab, names: list[str]) -> float:
    """`godwit host-evacuate`, from the command to its report; seconds it took."""
    del names
    began_s = time.monotonic()
    godwit(lab, "host-evacuate", SOURCE, "--yes", "--wait")
    return time.monotonic() - began_s


def godwit(lab: Lab, *arguments: str) -> str:
    """Run the command line on a lab; its output."""
    path = str(Path(sys.executable).parent / "godwit")
    environment = os.environ | lab.environment()
    done = subprocess.run(
        [path, *arguments], check=False, text=True, stdout=subprocess.PIPE, env=environment
    )
    return done.stdout


def wait_until_measured(lab: Lab) -> None:
    """Wait until every guest's memory was measured: a host does so by itself, in turn."""
    until_s = time.monotonic() + 2 * WAIT_S
    while True:
        (plan,) = json.loads(godwit(lab, "host-evacuate", SOURCE, "--dry-run", "--json"))
        if all((one["forecast"] or {}).get("basis") == "measured" for one in plan["moves"]):
            return
        if time.monotonic() > until_s:
            sys.exit("not every guest was measured")
        time.sleep(1)


def downtime_ms(lab: Lab, name: str) -> int | None:
    """What libvirt on the target says of a guest's pause; None if it is nowhere else."""
    if name not in lab.virsh(TARGET, "list --name").split():
        return None
    told = lab.virsh(TARGET, f"domjobinfo --completed {name}")
    found = re.search(r"^Total downtime:\s+(\d+)\s+ms", told, re.MULTILINE)
    return int(found[1]) if found else 0


def measure(name: str, empty: Callable[[Lab, list[str]], float], *, measured: bool) -> Way:
    """One lab, emptied in one way."""
    lab = Lab(LAB)
    try:
        lab.up(host_count=2, server_count=0)
        specs = guests()
        for spec in specs:
            lab.add_server(spec)
        lab.wait_until_ready()
        if measured:
            wait_until_measured(lab)
        else:
            time.sleep(20)  # until every guest has walked through its working set
        lab.limit_link(SOURCE, LinkLimit(rate_bits_per_s=RATE_BITS_PER_S))
        names = [spec.name for spec in specs]
        with Meter(lab) as meter:
            makespan_s = empty(lab, names)
        pauses = {one: downtime_ms(lab, one) for one in names}
        way = Way(
            name=name,
            makespan_s=makespan_s,
            sent_bytes=meter.sent_bytes,
            use=meter.use,
            pauses_ms=tuple(ms for ms in pauses.values() if ms is not None),
            stuck=tuple(one for one, ms in pauses.items() if ms is None),
        )
        print(line(way), flush=True)
        return way
    finally:
        if lab.folders.root.exists():
            lab.down()


WAYS = (
    ("virsh, one by one", empty_by_virsh(1)),
    ("virsh, four at once", empty_by_virsh(4)),
    ("virsh, all at once", empty_by_virsh(12)),
    (GODWIT, empty_by_godwit),
)


def line(way: Way) -> str:
    """One row of the table."""
    pauses = way.pauses_ms or (0,)
    return (
        f"| {way.name} | {way.makespan_s:.1f} | {way.sent_bytes / 1e6:.0f} | {way.use:.2f} "
        f"| {statistics.median(pauses):.0f} | {max(pauses)} | {', '.join(way.stuck) or 'none'} |"
    )


def ratio(run: dict[str, Way]) -> float:
    """Godwit's makespan against the best loop's that moved everything, or the best of all."""
    loops = [way for name, way in run.items() if name != GODWIT]
    whole = [way for way in loops if not way.stuck] or loops
    return run[GODWIT].makespan_s / min(way.makespan_s for way in whole)


def met(runs: list[dict[str, Way]]) -> bool:
    """Whether every run kept every limit."""
    return all(
        ratio(run) <= MAKESPAN_LIMIT and run[GODWIT].use >= USE_LIMIT and not run[GODWIT].stuck
        for run in runs
    )


def report(runs: list[dict[str, Way]]) -> str:
    """A Markdown page."""
    ratios = sorted(ratio(run) for run in runs)
    uses = sorted(run[GODWIT].use for run in runs)
    kinds = ", ".join(
        f"{count} {kind} ({load.working_set_mb} MiB, {load.dirty_mb_per_s:g} MB/s)"
        for kind, count, load in KINDS
    )
    lines = [
        "# Emptying a host: Godwit against loops of virsh",
        "",
        f"`.venv/bin/python benchmarks/evacuation.py --runs {len(runs)} --write`",
        "",
        f"Twelve guests over 400 Mbit/s: {kinds}. {os.cpu_count()} cores of {platform.machine()}",
        f"for both hosts, guests under software emulation, Python {platform.python_version()}.",
        "",
        f"**Median ratio of Godwit's makespan to the best loop's {statistics.median(ratios):.2f}**",
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}, limit {MAKESPAN_LIMIT}); link used",
        f"{statistics.median(uses):.2f} ({uses[0]:.2f} to {uses[-1]:.2f}, limit {USE_LIMIT}).",
        "",
        "| way | makespan s | MB sent | link used | median pause ms | worst pause ms | not moved |",
        "|---|---|---|---|---|---|---|",
        *(line(way) for run in runs for way in run.values()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and exit with 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into results/")
    arguments = parser.parse_args()
    runs = [
        {name: measure(name, empty, measured=name == GODWIT) for name, empty in WAYS}
        for _ in range(arguments.runs)
    ]
    page = report(runs)
    print(page)
    if arguments.write:
        RESULT.write_text(page, encoding="utf-8")
    sys.exit(0 if met(runs) else 1)


if __name__ == "__main__":
    main()
