"""The command line as an operator runs it, and what it must leave alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import pytest

from lab import programs
from lab.fleet import Lab
from lab.readiness import operator_client
from lab.server import ServerSpec
from wire.fleet import ServerView
from wire.migration import Migration

GODWIT = str(Path(sys.executable).parent / "godwit")


class Operator:
    """Runs ``godwit`` with a lab's environment, as one of its roles."""

    def __init__(self, lab: Lab, role: str = "operator") -> None:
        own = programs.console_environment(lab.state, lab.folders, role)
        self.environment = {"PATH": os.environ["PATH"], **own}

    def run(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GODWIT, *arguments],
            env={**self.environment, **changed},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [GODWIT, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, kind: type, *arguments: str):
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=kind)

    def refused(self, status: int, *arguments: str, **changed: str) -> str:
        """The sentence of a verb that must fail with this status and say nothing else."""
        done = self.run(*arguments, **changed)
        assert (done.returncode, done.stdout) == (status, ""), done
        first, *others = done.stderr.splitlines()
        assert first.startswith("godwit: ")
        assert all(line.startswith(("Host ", "kvm-")) for line in others), done.stderr
        return first.removeprefix("godwit: ")


@pytest.fixture
def operator(lab: Lab) -> Operator:
    return Operator(lab)


@pytest.fixture
def viewer(lab: Lab) -> Operator:
    return Operator(lab, "viewer")


@pytest.fixture
def listed(lab: Lab) -> Iterator[Callable[[str, type], object]]:
    """A list of the API, such as ``servers``: what is asked again and again needs no process."""
    with operator_client(lab.state, lab.folders) as client:

        def ask(what: str, kind: type) -> object:
            # a connection that is kept may be closed by the backend just when it is used again
            answer = client.get(f"/v1/{what}", headers={"Connection": "close"}, timeout=10)
            return msgspec.json.decode(answer.raise_for_status().content, type=list[kind])

        yield ask


@pytest.fixture
def add_known(listed, add_server: Callable[..., ServerSpec]) -> Callable[..., ServerSpec]:
    """Add a server as ``add_server`` does, and wait until the backend shows it."""

    def add(**fields: object) -> ServerSpec:
        spec = add_server(**fields)
        wanted = "ready" if spec.stopped else "running"
        until = time.monotonic() + 30
        while True:
            shown = listed("servers", ServerView)
            if any((one.name, one.status) == (spec.name, wanted) for one in shown):
                return spec
            assert time.monotonic() < until, shown
            time.sleep(0.1)

    return add


class Truth:
    """What the hypervisors and the records say of a server."""

    def __init__(self, lab: Lab, operator: Operator, listed) -> None:
        self._lab = lab
        self._operator = operator
        self._listed = listed

    def hosts_of(self, server: str) -> dict[str, str]:
        """Host to libvirt's state, of those hosts that know the server."""
        states = {}
        for host in self._lab.state.hosts:
            if server in self._lab.virsh(host.name, "list --all --name").split():
                states[host.name] = self._lab.virsh(host.name, f"domstate {server}").strip()
        return states

    def latest_migration(self, server: str) -> Migration:
        found = self._operator.json(list[Migration], "migration-list")
        return next(one for one in found if one.server_name == server)

    def ended_migration(self, server: str) -> Migration:
        """The newest migration, once it has ended."""
        until = time.monotonic() + 60
        while any(
            one.server_name == server and not one.state.ended
            for one in self._listed("migrations", Migration)
        ):
            assert time.monotonic() < until, self.latest_migration(server)
            time.sleep(0.1)
        return self.latest_migration(server)


@pytest.fixture
def truth(lab: Lab, operator: Operator, listed) -> Truth:
    return Truth(lab, operator, listed)


@pytest.fixture
def unchanged(lab: Lab, operator: Operator) -> Callable[[], AbstractContextManager[None]]:
    """``with unchanged():`` hypervisors, servers and migrations are the same afterwards."""

    def everything() -> tuple[object, ...]:
        domains = [lab.virsh(host.name, "list --all") for host in lab.state.hosts]
        # where they may go follows meters, which change by themselves as what disks hold does
        servers = [
            msgspec.structs.replace(
                one,
                target_host_names=(),
                disks=tuple(
                    msgspec.structs.replace(disk, allocation_bytes=0) for disk in one.disks
                ),
            )
            for one in operator.json(list[ServerView], "server-list")
        ]
        return domains, servers, operator.json(list[Migration], "migration-list")

    @contextmanager
    def check() -> Iterator[None]:
        before = everything()
        yield
        assert everything() == before

    return check


@pytest.fixture
def copying(operator: Operator) -> Iterator[Callable[[ServerSpec], subprocess.Popen[str]]]:
    """Begin to move a server with ``--wait``, and return while its memory is copied."""
    begun = []

    def begin(spec: ServerSpec) -> subprocess.Popen[str]:
        waiting = operator.start("server-live-migrate", spec.name, "--wait")
        begun.append(waiting)
        while "copying memory" not in (line := waiting.stderr.readline()):
            assert line, waiting.communicate()
        return waiting

    yield begin
    for waiting in begun:
        waiting.kill()
        waiting.communicate()
