"""`make demo`: a lab and the console on it; without a terminal, one live migration that is checked.

Run as ``python -m lab.demo``. Exit status 0 without a terminal only if the guest arrived whole.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from lab import hypervisor, network, programs
from lab.errors import LabError
from lab.fleet import Lab
from lab.report import GuestReport
from lab.state import LinkLimit

NAME = "demo"
BUSY_SERVER = "db-1"
LINK = "400mbit"
_GODWIT = str(Path(sys.executable).with_name("godwit"))
_PASS_TIMEOUT_S = 30.0


class _Listed(msgspec.Struct):
    """What the demo needs of one entry of ``godwit server-list --json``."""

    name: str
    host_name: str


def main() -> None:
    """Bring the demo's lab up, then show it, or without a terminal let it show itself."""
    lab = Lab(NAME, say=lambda line: _say(f"  {line}"))
    try:
        sys.exit(_demo(lab))
    except LabError as error:
        sys.exit(f"make demo: {error}")


def _demo(lab: Lab) -> int:
    was_running = lab.folders.root.exists()
    _say(f"Lab {NAME}")
    lab.up()
    if was_running:
        _say("  links stay as they are, since this lab was there before")
    else:
        for host in lab.state.hosts:
            lab.limit_link(host.name, LinkLimit(rate_bits_per_s=network.parse_rate(LINK)))
        _say(f"  every host's link holds {LINK}; {BUSY_SERVER} dirties 20 MB/s")
    environment = os.environ | programs.console_environment(lab.state, lab.folders, "operator")
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _show_console(environment)
    try:
        return _move_and_check(lab, environment)
    finally:
        if was_running:
            _say("The lab was there before and stays; `make down` ends it.")
        else:
            lab.down()
            _say("The demo's lab is gone again; in a terminal, `make demo` opens the console.")


def _show_console(environment: dict[str, str]) -> int:
    status = subprocess.run([_GODWIT], env=environment, check=False).returncode
    _say(
        "The lab still runs. Open the console again with `make demo`, end the lab with `make down`,"
        "\nor use it by hand: . .venv/bin/activate; "
        'eval "$(godwit-lab env)"; godwit server-list --details'
    )
    return status


def _move_and_check(lab: Lab, environment: dict[str, str]) -> int:
    lab.wait_until_ready()
    source = _host_of_busy_server(environment)
    before = lab.guest_report(source, BUSY_SERVER)
    _say(f"\n$ godwit server-live-migrate --wait {BUSY_SERVER}")
    moved = subprocess.run(
        [_GODWIT, "server-live-migrate", "--wait", BUSY_SERVER],
        env=environment,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if moved.returncode != 0:
        return moved.returncode
    target = _host_of_busy_server(environment)
    after = _report_after_a_walk(lab, target)
    losses = lab.memory_losses(target, BUSY_SERVER)
    _say(
        f"memory      {len(losses)} of {after.pages} pages differ from what they must hold; the "
        f"guest found {after.memory_faults} faults in {after.passes} walks ({before.passes} before)"
    )
    _say(f"disk        {after.disk_splits} writes by a second copy")
    running = {
        host.name: BUSY_SERVER in hypervisor.running_names(lab.init(host.name))
        for host in lab.state.hosts
    }
    for host, runs in running.items():
        _say(f"virsh list  {host}: {BUSY_SERVER} {'runs' if runs else 'is not'} there")
    whole = (
        [host for host, runs in running.items() if runs] == [target]
        and target != source
        and after.passes > before.passes
        and not losses
        and not after.memory_faults
        and not after.disk_splits
    )
    _say(f"\n{BUSY_SERVER} {'arrived whole' if whole else 'DID NOT ARRIVE WHOLE'} on {target}.")
    return 0 if whole else 1


def _host_of_busy_server(environment: dict[str, str]) -> str:
    listing = subprocess.run(
        [_GODWIT, "server-list", "--json"], env=environment, check=True, stdout=subprocess.PIPE
    ).stdout
    servers = msgspec.json.decode(listing, type=list[_Listed])
    return next(one.host_name for one in servers if one.name == BUSY_SERVER)


def _report_after_a_walk(lab: Lab, host: str) -> GuestReport:
    """Wait until the guest has walked over its whole working set once more on its new host."""
    arrived = report = lab.guest_report(host, BUSY_SERVER)
    until = time.monotonic() + _PASS_TIMEOUT_S
    while report.passes < arrived.passes + 2 and time.monotonic() < until:
        time.sleep(0.2)
        report = lab.guest_report(host, BUSY_SERVER)
    return report


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  (a program for people)


if __name__ == "__main__":
    main()
