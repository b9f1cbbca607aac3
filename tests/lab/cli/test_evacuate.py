"""A host that is planned, emptied, steered and filled again by verbs, on real hosts."""

import signal
import time

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.evacuation import Evacuation, EvacuationState, MoveState, Plan, Way
from wire.fleet import HostView
from wire.migration import MigrationDetail

pytestmark = pytest.mark.lab

EMPTIED = "kvm-01"
CALM = Workload(working_set_mb=32, dirty_mb_per_s=1)
SLOW = LinkLimit(rate_bits_per_s=20_000_000)
"""Over it a guest of 64 MiB takes half a minute."""


@pytest.fixture
def in_service(operator):
    """Whatever a test began about the host is over when it ends, and its maintenance too."""
    yield
    operator.run("evacuation-cancel", EMPTIED)
    until = time.monotonic() + 60
    while operator.run("host-exit-maintenance", EMPTIED).returncode:
        assert time.monotonic() < until, operator.run("evacuation-show", EMPTIED)
        time.sleep(0.2)


@pytest.fixture
def shown(operator):
    """The evacuation of the host as it is now."""
    return lambda: operator.json(Evacuation, "evacuation-show", EMPTIED)


def until(found, what: str):
    deadline = time.monotonic() + 90
    while not (answer := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return answer


@pytest.mark.usefixtures("in_service")
@pytest.mark.long  # tests/evacuations empties a host and fills it again in each run
def test_there_and_back(lab, operator, add_known, unchanged, truth, shown):
    calm = add_known(memory_mb=64, workload=CALM)
    off = add_known(stopped=True)
    bound = add_known(stopped=True, passthrough=True)
    with unchanged():
        (plan,) = operator.json(list[Plan], "host-evacuate", "--dry-run", EMPTIED)
        assert "--yes" in operator.refused(2, "host-evacuate", EMPTIED)
    ways = {one.server_name: one.way for one in plan.moves}
    assert ways == {calm.name: Way.LIVE, off.name: Way.COLD, bound.name: Way.STAYS}
    why = next(one.why for one in plan.moves if one.way is Way.STAYS)
    table = operator.run("host-evacuate", "--dry-run", EMPTIED).stdout
    assert f"{bound.name} stays: {why}" in table

    done = operator.run("host-evacuate", "--yes", "--wait", EMPTIED)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"godwit: kvm-01 is not empty: {bound.name} stayed"
    assert truth.hosts_of(calm.name) == {"kvm-02": "running"}
    assert truth.hosts_of(off.name).keys().isdisjoint({EMPTIED})
    assert truth.hosts_of(bound.name) == {EMPTIED: "shut off"}
    report = shown()
    assert report.state is EvacuationState.ENDED
    by_name = {one.plan.server_name: one for one in report.servers}
    moved = by_name[calm.name]
    assert (moved.state, by_name[bound.name].state) == (MoveState.LEFT, MoveState.STAYED)
    record = operator.json(MigrationDetail, "migration-show", moved.migration_id).migration
    assert record.evacuation_id == report.evacuation_id
    assert moved.downtime_ms == record.statistics.downtime_ms
    assert moved.sent_bytes >= record.statistics.memory_transferred_bytes > 0
    markdown = operator.run("evacuation-show", "--markdown", report.evacuation_id).stdout
    assert markdown.startswith(f"# Evacuation of {EMPTIED}: ended, 2 left, 1 stayed")
    assert f"| {calm.name} | live | kvm-01 | kvm-02 | left |" in markdown

    hosts = {one.facts.name: one for one in operator.json(list[HostView], "host-list")}
    assert hosts[EMPTIED].policy.maintenance
    assert "maintenance" in operator.refused(1, "host-return", "--yes", EMPTIED)
    assert operator.run("host-exit-maintenance", EMPTIED).returncode == 0
    done = operator.run("host-return", "--yes", "--wait", EMPTIED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Return to {EMPTIED}: ended, 2 back")
    assert truth.hosts_of(calm.name) == {EMPTIED: "running"}
    assert truth.hosts_of(off.name) == {EMPTIED: "shut off"}
    assert lab.memory_losses(EMPTIED, calm.name) == []


@pytest.mark.usefixtures("in_service")
def test_steered_while_it_runs(lab, operator, viewer, add_known, truth, shown):
    first, second = (add_known(memory_mb=64, workload=CALM) for _ in range(2))
    lab.limit_link(EMPTIED, SLOW)
    waiting = operator.start("host-evacuate", "--yes", "--wait", "--first", first.name, EMPTIED)
    try:
        line = ""
        while f"{first.name} goes to" not in line:
            line = waiting.stderr.readline()
            assert line, waiting.communicate()
        assert operator.run("evacuation-pause", EMPTIED).returncode == 0
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=30)
    finally:
        waiting.kill()
        waiting.communicate()
    assert waiting.returncode == 130
    assert err.splitlines()[-1].endswith(
        "it goes on without us; see it with: godwit evacuation-show kvm-01"
    )
    assert shown().state is EvacuationState.PAUSED
    assert "is being emptied" in operator.refused(1, "host-evacuate", "--yes", EMPTIED)
    assert "operator" in viewer.refused(4, "evacuation-resume", EMPTIED)
    assert operator.run("evacuation-change", "--max-bandwidth-mb", "1", EMPTIED).returncode == 0
    assert shown().max_bandwidth_bytes_per_s == 1 << 20
    assert operator.run("evacuation-change", "--no-bandwidth-limit", EMPTIED).returncode == 0
    assert shown().max_bandwidth_bytes_per_s is None
    assert operator.run("evacuation-cancel", EMPTIED).returncode == 0
    ended = until(lambda: (one := shown()) and not one.open and one, "it is cancelled")
    assert {one.state for one in ended.servers} == {MoveState.CANCELLED}
    assert all(note.by == "operator" for note in ended.notes if note.text == "paused")
    for spec in (first, second):
        assert truth.hosts_of(spec.name) == {EMPTIED: "running"}
    lab.limit_link(EMPTIED, LinkLimit())
    assert operator.run("evacuation-retry", EMPTIED, second.name).returncode == 0
    ended = until(lambda: (one := shown()) and not one.open and one, "it ran again")
    states = {one.plan.server_name: one.state for one in ended.servers}
    assert states == {first.name: MoveState.CANCELLED, second.name: MoveState.LEFT}
    assert truth.hosts_of(second.name) == {"kvm-02": "running"}
