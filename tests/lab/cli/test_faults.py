"""The command line while a part of the fleet is away: it waits, or says who does not answer."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from lab.fleet import Lab
from lab.server import Workload
from lab.state import LinkLimit
from wire.fleet import ServerView
from wire.migration import MigrationState

pytestmark = pytest.mark.lab

CALM = Workload(working_set_mb=64, dirty_mb_per_s=1)
SLOW = LinkLimit(rate_bits_per_s=100_000_000)


@pytest.fixture
def send(lab: Lab) -> Iterator[Callable[[str, str, signal.Signals], None]]:
    """Send a signal to one program of a node; what was frozen goes on when the test ends."""
    frozen: list[tuple[str, str]] = []

    def pid_of(node: str, module: str) -> str:
        return lab.execute(node, "pgrep", "--oldest", "--full", module).stdout.strip()

    def deliver(node: str, module: str, number: signal.Signals) -> None:
        pid = pid_of(node, module)
        if number is signal.SIGSTOP:
            frozen.append((node, pid))
        done = lab.execute(node, "kill", f"-{int(number)}", pid)
        assert done.returncode == 0, done.stderr

    yield deliver
    for node, pid in frozen:
        lab.execute(node, "kill", f"-{int(signal.SIGCONT)}", pid)
    if frozen:
        lab.wait_until_ready()


def test_the_wait_survives_a_killed_backend(lab, add_known, copying, truth, send):
    spec = add_known(memory_mb=128, workload=CALM)
    lab.limit_link("kvm-01", SLOW)
    waiting = copying(spec)
    send("controller", "backend.main", signal.SIGKILL)
    out, err = waiting.communicate(timeout=90)
    assert waiting.returncode == 0, err
    assert "the migration goes on, and so does the wait for it" in err
    assert "connected again" in err
    ended = truth.latest_migration(spec.name)
    assert ended.state is MigrationState.SUCCEEDED
    assert f"{spec.name} runs on {ended.target_host_name}" in out
    assert truth.hosts_of(spec.name) == {ended.target_host_name: "running"}


def test_an_etcd_that_does_not_answer(operator, add_known, truth, send):
    spec = add_known()
    send("controller", "etcd --name", signal.SIGSTOP)
    sentence = operator.refused(3, "server-live-migrate", spec.name)
    assert "etcd" in sentence
    assert truth.hosts_of(spec.name) == {"kvm-01": "running"}


def status_of(operator, server: str) -> str:
    shown = operator.json(list[ServerView], "server-list")
    return next(one.status for one in shown if one.name == server)


def test_an_agent_that_does_not_answer(operator, add_known, truth, send):
    spec = add_known()
    send("kvm-01", "hostagent.main", signal.SIGSTOP)
    until = time.monotonic() + 30
    while status_of(operator, spec.name) != "unknown":
        assert time.monotonic() < until
        time.sleep(0.2)
    sentence = operator.refused(3, "server-live-migrate", spec.name)
    assert "kvm-01" in sentence
    assert truth.hosts_of(spec.name) == {"kvm-01": "running"}
