"""The same guest over the same link, moved by Godwit and by virsh in turn.

    .venv/bin/python benchmarks/live_migration.py [--pairs 10] [--write]

Makes a lab of two hosts with links of 400 Mbit/s and a guest of 256 MiB that dirties 20 MB/s,
then moves the guest to and fro: one move by `godwit server-live-migrate --wait`, one by
`virsh migrate --live --p2p` with the same flags, as whole processes. Prints each pair's wall times,
the median of the ratios (limit 1.10) and their spread; --write puts the table into results/.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAB = "bench-migration"
BIN = Path(sys.executable).parent
RESULT = Path(__file__).parent / "results" / "live_migration.md"
LIMIT = 1.10
SERVER = "bench-1"
RATE = "400mbit"
HOSTS = ("kvm-01", "kvm-02")


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a program of this virtual environment to its end; its output."""
    path = str(BIN / command[0])
    return subprocess.run(
        [path, *command[1:]], check=True, text=True, stdout=subprocess.PIPE, env=env
    ).stdout


def lab(*arguments: str) -> str:
    """Run godwit-lab on this benchmark's lab."""
    return run("godwit-lab", arguments[0], "--name", LAB, *arguments[1:])


def lab_environment() -> dict[str, str]:
    """The variables with which godwit finds the lab."""
    exports = re.findall(r"^export (\w+)=(.*)$", lab("env"), re.MULTILINE)
    return os.environ | {name: value.strip("'\"") for name, value in exports}


def host_of_server(env: dict[str, str]) -> str:
    """Where Godwit says that the guest runs; empty while it has not adopted it from virsh."""
    servers = json.loads(run("godwit", "server-list", "--json", env=env))
    hosts = [
        one["host_name"] for one in servers if one["name"] == SERVER and one["status"] == "running"
    ]
    return str(hosts[0]) if hosts else ""


def wait_for_host(env: dict[str, str], host: str) -> None:
    """Let Godwit notice a move that it did not make."""
    until = time.monotonic() + 60
    while host_of_server(env) != host:
        if time.monotonic() > until:
            sys.exit(f"{SERVER} did not appear on {host} within 60 s")
        time.sleep(0.2)


def move_by_godwit(env: dict[str, str], source: str, target: str) -> float:
    """Seconds of wall time."""
    del source
    began = time.monotonic()
    run("godwit", "server-live-migrate", "--prefer-host", target, "--wait", SERVER, env=env)
    return time.monotonic() - began


def move_by_virsh(env: dict[str, str], source: str, target: str) -> float:
    """Seconds of wall time, `virsh` started inside the source host."""
    del env
    began = time.monotonic()
    lab(
        *("exec", source, "--", "virsh", "migrate", "--live", "--p2p", "--persistent"),
        *("--undefinesource", "--auto-converge", "--unsafe", SERVER, f"qemu+tls://{target}/system"),
    )
    return time.monotonic() - began


def measure(pairs: int, env: dict[str, str]) -> list[tuple[float, float]]:
    """Wall seconds (godwit, virsh) of each pair; which one goes first alternates."""
    measured = []
    for number in range(pairs):
        seconds = {}
        movers = (move_by_godwit, move_by_virsh)
        for mover in movers if number % 2 == 0 else reversed(movers):
            source = host_of_server(env)
            (target,) = [host for host in HOSTS if host != source]
            seconds[mover] = mover(env, source, target)
            wait_for_host(env, target)
        measured.append((seconds[move_by_godwit], seconds[move_by_virsh]))
        print(f"pair {number + 1}: godwit {measured[-1][0]:.2f} s, virsh {measured[-1][1]:.2f} s")
    return measured


def report(measured: list[tuple[float, float]]) -> str:
    """A Markdown page of the run."""
    ratios = sorted(godwit / virsh for godwit, virsh in measured)
    median = statistics.median(ratios)
    lines = [
        "# Live migration: Godwit against virsh",
        "",
        f"`.venv/bin/python benchmarks/live_migration.py --pairs {len(measured)} --write`",
        "",
        f"A guest of 256 MiB that dirties 20 MB/s over 64 MiB, link {RATE}, each move in turn.",
        f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}.",
        "",
        f"**Median ratio godwit/virsh {median:.3f}** (limit {LIMIT:.2f}).",
        f"Spread {ratios[0]:.3f} to {ratios[-1]:.3f} over {len(measured)} pairs.",
        "",
        "| pair | godwit s | virsh s | ratio |",
        "|---|---|---|---|",
        *(
            f"| {number} | {godwit:.2f} | {virsh:.2f} | {godwit / virsh:.3f} |"
            for number, (godwit, virsh) in enumerate(measured, start=1)
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and exit with 1 if the median is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into results/")
    arguments = parser.parse_args()
    try:
        lab("up", "--hosts", "2", "--servers", "0")
        for host in HOSTS:
            lab("link", host, "--rate", RATE)
        lab(
            *("add-server", SERVER, "--host", HOSTS[0], "--memory-mb", "256"),
            *("--working-set-mb", "64", "--dirty-mb-per-s", "20"),
        )
        env = lab_environment()
        wait_for_host(env, HOSTS[0])
        measured = measure(arguments.pairs, env)
    finally:
        lab("down")
    page = report(measured)
    print(page)
    if arguments.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(page, encoding="utf-8")
    median = statistics.median(godwit / virsh for godwit, virsh in measured)
    sys.exit(0 if median <= LIMIT else 1)


if __name__ == "__main__":
    main()
