"""Forecasts held against the moves that followed, on real guests over a real link.

    .venv/bin/python benchmarks/forecast_error.py [--rounds 5] [--write]

Makes a lab of two hosts with links of 400 Mbit/s and guests of 256 MiB: idle, warm (8 MB/s over
32 MiB), hot (20 MB/s over 64 MiB), fast (30 MB/s over 64 MiB). Waits until each was measured, then
moves them to and fro one at a time and holds each record's forecast, made before its first byte,
against what came: time from request to end, bytes, pause. The first move of each round's direction
shows the link; those forecast by the card alone are left out and counted. Prints medians and 90th
percentiles of the relative errors, beside those of the constant-rate series reckoned with the dirty
rate that QEMU itself told of the same move, and how many ended within their band. --write puts the
table into results/.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LAB = "bench-forecast"
BIN = Path(sys.executable).parent
RESULT = Path(__file__).parent / "results" / "forecast_error.md"
RATE = "400mbit"
HOSTS = ("kvm-01", "kvm-02")
MEMORY_MB = 256
GUESTS = {
    "idle": (4, 0),
    "warm": (32, 8),
    "hot": (64, 20),
    "fast": (64, 30),
}
"""Working set in MiB and MB dirtied per second."""
MEASURED_S = 90.0
FIRST_OVERHEAD_MS = 1_500
CARD_BYTES_PER_S = 500_000_000
"""A forecast that reckons with more has not seen this link yet."""


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


def make_lab() -> dict[str, str]:
    """Two hosts behind slow links, and the guests on the first one."""
    lab("up", "--hosts", "2", "--servers", "0")
    for host in HOSTS:
        lab("link", host, "--rate", RATE)
    for name, (working_set_mb, dirty_mb_per_s) in GUESTS.items():
        lab(
            "add-server",
            name,
            "--host",
            HOSTS[0],
            f"--memory-mb={MEMORY_MB}",
            f"--working-set-mb={working_set_mb}",
            f"--dirty-mb-per-s={dirty_mb_per_s}",
        )
    return lab_environment()


def move(name: str, host: str, env: dict[str, str]) -> dict[str, Any]:
    """Move a guest; the record of its migration."""
    told = run(
        "godwit", "server-live-migrate", "--prefer-host", host, name, "--wait", "--json", env=env
    )
    record: dict[str, Any] = json.loads(told)
    return record


def overhead_ms(record: dict[str, Any]) -> float:
    """What came before and after the copying."""
    copied_ms = sum(each["duration_ms"] for each in record["passes"])
    return float(record["finished_at_ms"] - record["created_at_ms"] - copied_ms)


def by_constant_rate(record: dict[str, Any], before: list[dict[str, Any]]) -> float:
    """The forecast of the geometric series, in ms, with all that its real passes told of rates.

    What comes beside the copying is taken from the moves before, as Godwit does.
    """
    first = record["passes"][0]
    rate, memory = first["bandwidth_bytes_per_s"], first["transferred_bytes"]
    dirty = max((each["dirty_bytes_per_s"] for each in record["passes"]), default=0)
    ratio = min(dirty / rate, 0.99)
    limit = rate * record["options"]["downtime_limit_ms"] / 1000
    count = max(1, math.ceil(math.log(limit / memory) / math.log(ratio))) if ratio > 0 else 1
    passes = memory / rate * (1 - ratio ** (count + 1)) / (1 - ratio)
    beside_ms = statistics.median([overhead_ms(one) for one in before] or [FIRST_OVERHEAD_MS])
    return beside_ms + 1000 * passes


def percentile(values: list[float], part: float) -> float:
    """The value below which so many lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def errors(records: list[dict[str, Any]], every: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Relative errors of time and bytes, absolute ones of pauses in ms."""
    found: dict[str, list[float]] = {"time": [], "bytes": [], "pause_ms": [], "constant": []}
    for record in records:
        told, figures = record["forecast"], record["statistics"]
        real_ms = record["finished_at_ms"] - record["created_at_ms"]
        before = [one for one in every if one["finished_at_ms"] < record["created_at_ms"]]
        found["time"].append(abs(told["total_ms"] / real_ms - 1))
        found["constant"].append(abs(by_constant_rate(record, before) / real_ms - 1))
        found["bytes"].append(abs(told["sent_bytes"] / figures["memory_transferred_bytes"] - 1))
        found["pause_ms"].append(abs(told["downtime_ms"] - figures["downtime_ms"]))
    return found


def row(name: str, records: list[dict[str, Any]], every: list[dict[str, Any]]) -> str:
    """One line of the table."""
    found = errors(records, every)
    inside = sum(
        one["forecast"]["low_ms"]
        <= one["finished_at_ms"] - one["created_at_ms"]
        <= one["forecast"]["high_ms"]
        for one in records
    )

    def both(key: str) -> str:
        return " / ".join(f"{100 * percentile(found[key], part):.0f} %" for part in (0.5, 0.9))

    pause = " / ".join(f"{percentile(found['pause_ms'], part):.0f} ms" for part in (0.5, 0.9))
    return (
        f"| {name} | {len(records)} | {both('time')} | {both('bytes')} | {pause} "
        f"| {both('constant')} | {inside} of {len(records)} |"
    )


def report(records: list[dict[str, Any]], unseen: int) -> str:
    """The whole table, errors as median / 90th percentile."""
    lines = [
        "| guest | moves | time | bytes | pause | constant rate, time | within the band |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (*GUESTS, "all"):
        chosen = [one for one in records if name in {"all", one["server_name"]}]
        if chosen:
            lines.append(row(name, chosen, records))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    lines.append("")
    lines.append(
        f"Errors are medians / 90th percentiles. {unseen} moves were forecast by what the card "
        f"said, before any move had shown the link, and are left out. {platform.machine()}, "
        f"{os.cpu_count()} CPUs, load average {load} at the end."
    )
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    records: list[dict[str, Any]] = []
    unseen = 0
    try:
        env = make_lab()
        time.sleep(MEASURED_S)
        for number in range(2 * arguments.rounds):
            for name in GUESTS:
                record = move(name, HOSTS[(number + 1) % 2], env)
                told = record["forecast"]
                if told is None or told["bandwidth_bytes_per_s"] > CARD_BYTES_PER_S:
                    unseen += 1
                    continue
                records.append(record)
                real_ms = record["finished_at_ms"] - record["created_at_ms"]
                print(
                    f"{name}: {told['basis']}, {told['ease']}: forecast {told['total_ms']} ms, "
                    f"came {real_ms} ms; pause {told['downtime_ms']} ms, came "
                    f"{record['statistics']['downtime_ms']} ms",
                    file=sys.stderr,
                )
    finally:
        lab("down")
    table = report(records, unseen)
    print(table)
    if arguments.write:
        title = "# Forecasts held against what came\n\n"
        command = f"`.venv/bin/python benchmarks/forecast_error.py --rounds {arguments.rounds}`\n\n"
        RESULT.write_text(title + command + table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
