"""What tests on real hosts share: a guest seen alive, and what a lab leaves behind."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.fleet import Lab
from lab.report import GuestReport
from lab.state import Resources


@pytest.fixture
def alive(lab: Lab) -> Callable[..., GuestReport]:
    """Wait until a guest has lived some beats (seconds) and return its report."""

    def wait(host: str, server: str, *, beats: int = 1) -> GuestReport:
        deadline = time.monotonic() + 60
        while True:
            try:
                report = lab.guest_report(host, server)
            except LabError:
                if time.monotonic() > deadline:
                    raise
            else:
                if report.beats >= beats:
                    return report
            assert time.monotonic() < deadline, f"{server} on {host} does not live"
            time.sleep(0.1)

    return wait


@pytest.fixture
def live_migrate(lab: Lab) -> Callable[..., None]:
    """Move a guest by libvirt peer-to-peer, as virsh does it."""

    def move(server: str, source: str, target: str, *options: str) -> None:
        command = ["virsh", "migrate", "--live", "--p2p", "--persistent", "--undefinesource"]
        uri = f"qemu+tls://{target}/system"
        done = lab.execute(source, *command, "--unsafe", *options, server, uri, timeout_s=120)
        assert done.returncode == 0, done.stderr

    return move


@pytest.fixture
def leftovers() -> Callable[[Resources | None, Path], list[str]]:
    """Everything on this machine that still belongs to a lab: one line for each thing."""

    def find(made: Resources | None, folder: Path) -> list[str]:
        found = [str(folder)] if folder.exists() else []
        # of mounts and loop devices the kernel tells paths within the file system
        mark = f"{folder.parent.name}/{folder.name}/"
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                mounts = (process / "mountinfo").read_text()
            except (FileNotFoundError, ProcessLookupError, OSError):
                continue
            if mark in command:
                found.append(f"process {process.name}: {command}")
            if mark in mounts:
                found.append(f"mounts of process {process.name}: {command}")
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                file = backing.read_text()
            except OSError:
                continue
            if mark in file:
                found.append(f"{backing.parts[3]} on {file}")
        if made is not None:
            listing = subprocess.run(
                ["ip", "-json", "link"], check=True, capture_output=True, text=True
            )
            # names are free for the next lab at once, addresses are this lab's alone
            own = {made.mac(0), *(made.mac(node.number) for node in made.nodes)}
            found += [
                f"interface {link['ifname']}"
                for link in json.loads(listing.stdout)
                if link.get("address") in own
            ]
        return found

    return find
