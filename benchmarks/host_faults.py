"""Hosts and what watches them fail in every way at random times, and the fleet is looked over.

    .venv/bin/python benchmarks/host_faults.py [--faults 210] [--labs 3] [--seed 1] [--write]

Each lab has four hosts, leases of 5 s, a stopped server with a local disk, and nine guests that
write to their shared disks every 50 ms, watched from outside all the time; one of them has a local
disk as well. The first lab has three members of etcd, the others one. After each fault all is
switched on and connected again; then every guest must run exactly once and the stopped one nowhere,
none may be lost, records, both libvirts, the API and the host's report must agree, and no disk may
ever have been written by two boots at once. Hosts die on either side of a live migration in each of
its states in turn. Prints each fault as it ends, and counts per kind and state; --write puts them
into results/. Ends with 1 if anything was wrong. `--minutes` ends it early.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import random
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lab.fleet import Lab
from lab.server import ServerSpec, Workload
from lab.trials import faults
from lab.trials.cold import NAME, cold_move_cut, cold_server
from lab.trials.faults import Fault
from lab.trials.moving import migration_cut, postcopy_cut, rescue_target_cut
from lab.trials.trial import Finding, Trial, until_rescued
from lab.trials.witness import Witness
from wire.migration import MigrationState

RESULT = Path(__file__).parent / "results" / "host_faults.md"
HOSTS, GUESTS, TTL_S = 4, 8, 5
MIXED = "mixed-1"
"""A guest that has a local disk beside its shared one: no other host can start it."""
STATES = [one for one in MigrationState if not one.ended]
LATE_S = 60.0
"""A host that comes back later than all of its servers run elsewhere."""
RESCUE_LIMIT_S = 60.0
"""Longer than any rescue may take, so that one that never comes is told."""

DEADLY = (
    faults.POWER_CUT,
    faults.PARTITION,
    faults.FROZEN,
    faults.AGENT_STOPPED,
    faults.FENCE_STOPPED,
)
"""Whoever suffers them for long loses its guests to other hosts."""
OTHERS = (
    faults.AGENT_KILLED,
    faults.FENCE_KILLED,
    faults.LIBVIRTD_KILLED,
    faults.LIBVIRTD_STOPPED,
    faults.BACKEND_KILLED,
    faults.BACKEND_STOPPED,
    faults.BACKEND_CUT_OFF,
    faults.ETCD_KILLED,
    faults.ETCD_STOPPED,
    faults.CLOCKS_STEPPED,
    faults.SHUT_DOWN,
    faults.CUT_BESIDE_A_BLIND_BACKEND,
    faults.TWO_CUT,
    faults.TWO_PARTITIONED,
)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as it is to be tried."""

    fault: Fault
    hold_s: float
    """How long it lasts; 0 until every server of the host has been rescued."""
    of_server: str = ""
    """The fault is of this server's host; empty for any host's."""


def attempts(witness: Witness, chance: random.Random) -> Iterator[Attempt]:
    """Every kind in turn, in an order of chance, for ever; most last from 0.05 to 4 leases."""
    members = [each.name for each in witness.lab.state.etcd_members]
    moments = list(itertools.product((True, False), STATES))
    chance.shuffle(moments)
    moving = itertools.cycle(moments)
    while True:
        round_ = [Attempt(fault=fault, hold_s=_some_time(chance)) for fault in (*DEADLY, *OTHERS)]
        round_ += [Attempt(fault=fault, hold_s=0) for fault in DEADLY]
        round_.append(Attempt(fault=faults.POWER_CUT, hold_s=LATE_S))
        round_.append(Attempt(fault=rescue_target_cut(witness), hold_s=_some_time(chance)))
        round_ += [_moving(witness, chance, *moment) for moment in itertools.islice(moving, 5)]
        for cut_source in (True, False):
            after_s = chance.uniform(0, 4)
            half = postcopy_cut(witness, cut_source=cut_source, after_s=after_s / 4)
            cold = cold_move_cut(witness, cut_source=cut_source, after_s=after_s)
            round_.append(Attempt(fault=half, hold_s=_some_time(chance)))
            round_.append(Attempt(fault=cold, hold_s=_some_time(chance), of_server=NAME))
        if len(members) > 1:
            lost = faults.cut_beside_a_lost_member(chance.choice(members))
            # not until all are rescued: hosts that are late meanwhile may disarm that
            round_.append(Attempt(fault=lost, hold_s=4 * TTL_S))
        chance.shuffle(round_)
        yield from round_


def _moving(
    witness: Witness,
    chance: random.Random,
    cut_source: bool,  # noqa: FBT001 - one half of a moment
    state: MigrationState,
) -> Attempt:
    """A live migration whose source or target dies in a state; disks are copied of one guest."""
    name = MIXED if state is MigrationState.COPYING_DISKS else ""
    after_s = chance.choice((0.0, chance.uniform(0, 1)))
    fault = migration_cut(witness, cut_source=cut_source, state=state, after_s=after_s, name=name)
    return Attempt(fault=fault, hold_s=_some_time(chance), of_server=name)


def _some_time(chance: random.Random) -> float:
    return TTL_S * float(chance.choice((chance.uniform(0.05, 1), chance.uniform(1, 4))))


def try_faults(
    lab: Lab, seed: int, count: int, ends_at: float, say: Callable[[dict], None], *, members: int
) -> None:
    """Bring a lab up and try faults on it, one after the other."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    lab.up(
        host_count=HOSTS,
        server_count=0,
        lease_ttl_s=TTL_S,
        etcd_members=members,
        stepped_clocks=True,
    )
    lab.add_server(cold_server(lab.state.hosts[0].name))
    names = [f"guest-{number + 1}" for number in range(GUESTS)]
    for number, name in enumerate(names):
        host = lab.state.hosts[number % HOSTS].name
        workload = Workload(working_set_mb=8, dirty_mb_per_s=0.5)
        spec = ServerSpec(name=name, host=host, memory_mb=32, workload=workload, trace_ms=50)
        lab.add_server(spec)
    lab.add_server(
        ServerSpec(
            name=MIXED,
            host=lab.state.hosts[-1].name,
            memory_mb=32,
            workload=Workload(working_set_mb=8),
            storage="mixed",
            data_mb=16,
            trace_ms=50,
        )
    )
    names.append(MIXED)
    lab.wait_until_ready()
    with Witness.of(lab) as witness, witness.watch(names).watching() as watch:
        trial = Trial(witness, watch, names, stopped=[NAME])
        for host in lab.state.hosts:
            trial.set_policy(host.name, auto_migrate_on_host_down=True)
        trial.wait_until_fenced()
        for number, attempt in enumerate(attempts(witness, chance)):
            if number == count or time.monotonic() > ends_at:
                return
            say(try_one(trial, attempt, chance))


def try_one(trial: Trial, attempt: Attempt, chance: random.Random) -> dict:
    """One fault, and what was found."""
    # a host without a server has nothing to lose
    owners = sorted({trial.before.owner(name) for name in trial.servers})
    hosts = chance.sample(owners, min(attempt.fault.host_count, len(owners)))
    if attempt.of_server:
        hosts = [trial.before.owner(attempt.of_server)]

    def hold() -> None:
        if attempt.hold_s:
            time.sleep(attempt.hold_s)
        else:
            until_rescued(trial.witness, hosts, within_s=RESCUE_LIMIT_S)

    began = time.strftime("%T")
    finding: Finding = trial.run(attempt.fault, hosts, hold)
    return {
        **msgspec.to_builtins(finding),
        "began": began,
        "until_rescued": not attempt.hold_s,
    }


def one_lab(number: int, arguments: argparse.Namespace, queue: multiprocessing.Queue) -> None:
    """A process of its own: one lab, from up to down."""
    lab = Lab(f"bench-faults-{number}")
    share = len(range(number, arguments.faults, arguments.labs))
    ends_at = time.monotonic() + arguments.minutes * 60

    def say(finding: dict) -> None:
        queue.put({"lab": number, **finding})

    try:
        members = 3 if number == 0 else 1
        seed = arguments.seed * 1000 + number
        try_faults(lab, seed, share, ends_at, say, members=members)
    except Exception as error:  # noqa: BLE001 - told by the parent, which goes on with the others
        traceback.print_exc()
        queue.put({"lab": number, "fault": "", "wrong": [f"the run ended: {error}"]})
        if arguments.keep:
            return
    finally:
        if lab.folders.root.exists() and not arguments.keep:
            lab.down()
        queue.put({"lab": number, "end": True})


def line(finding: dict) -> str:
    """One line for a person who watches."""
    if not finding["fault"]:
        return f"lab {finding['lab']}: {'; '.join(finding['wrong'])}"
    text = (
        f"{finding['began']} lab {finding['lab']} {named(finding)} "
        f"({', '.join(finding['hosts'])}, {finding['held_s']:.1f} s): "
        f"{len(finding['rescued'])} rescued, {len(finding['restarted'])} booted again, "
        f"whole {finding['whole_after_s']:.1f} s later"
    )
    return text + "".join(f"\n    WRONG: {each}" for each in finding["wrong"])


def named(finding: dict) -> str:
    """The fault, and the state of the move that it has hit."""
    return f"{finding['fault']}, {finding['hit']}" if finding["hit"] else finding["fault"]


def report(findings: list[dict], arguments: argparse.Namespace, took_s: float) -> str:
    """A Markdown page of the run."""
    kinds: dict[str, list[dict]] = defaultdict(list)
    for finding in findings:
        kinds[finding["fault"]].append(finding)
    wrong = [finding for finding in findings if finding["wrong"]]
    command = (
        f".venv/bin/python benchmarks/host_faults.py --faults {arguments.faults} "
        f"--labs {arguments.labs} --seed {arguments.seed} --write"
    )
    lines = [
        "# Faults at random times, and the fleet afterwards",
        "",
        f"`{command}`",
        "",
        f"{len(findings)} faults on {arguments.labs} labs side by side, {took_s / 60:.0f} minutes;",
        f"each lab {HOSTS} hosts, {GUESTS + 1} guests and a stopped server, leases of {TTL_S} s;",
        f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}.",
        "",
        f"**{len(findings) - len(wrong)} of {len(findings)} left every guest running exactly once,",
        "none lost, every record and report true.**",
        "",
        "Seconds until all is whole again after the fault's end: median and most.",
        "",
        "| fault | times | right | guests rescued | booted again | whole again |",
        "|---|---|---|---|---|---|",
    ]
    for kind, some in sorted(kinds.items()):
        right = sum(not finding["wrong"] for finding in some)
        after = sorted(finding["whole_after_s"] for finding in some)
        lines.append(
            f"| {kind} | {len(some)} | {right} | {sum(len(f['rescued']) for f in some)} "
            f"| {sum(len(f['restarted']) for f in some)} "
            f"| {after[len(after) // 2]:.1f}, {after[-1]:.1f} |"
        )
    hits = Counter(named(finding) for finding in findings if finding["hit"])
    lines += ["", "States in which moves were hit, as last told before:", ""]
    lines += [f"- {name}: {count}" for name, count in sorted(hits.items())]
    if wrong:
        lines += ["", "What was wrong:", ""]
        lines += [f"- {named(finding)}: {each}" for finding in wrong for each in finding["wrong"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all labs, print what is found, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=210)
    parser.add_argument("--labs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="begin no fault after that")
    parser.add_argument("--keep", action="store_true", help="leave the labs up")
    parser.add_argument("--json", type=Path, help="add each finding to this file, one a line")
    parser.add_argument("--write", action="store_true", help="put the counts into results/")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    labs = [
        context.Process(target=one_lab, args=(number, arguments, queue))
        for number in range(arguments.labs)
    ]
    for lab in labs:
        lab.start()
    findings: list[dict] = []
    broken = 0
    running = len(labs)
    while running:
        finding = queue.get()
        if finding.get("end"):
            running -= 1
            continue
        print(line(finding), flush=True)
        if arguments.json:
            with arguments.json.open("a") as file:
                file.write(json.dumps(finding) + "\n")
        if finding["fault"]:
            findings.append(finding)
        else:
            broken += 1
    for lab in labs:
        lab.join()
    page = report(findings, arguments, time.monotonic() - began_s)
    print(page)
    if arguments.write:
        RESULT.write_text(page, encoding="utf-8")
    sys.exit(1 if broken or any(finding["wrong"] for finding in findings) else 0)


if __name__ == "__main__":
    main()
