"""A host that is planned, emptied, steered and filled again by verbs, on real hosts."""

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from lab.server import MIB, Workload
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationState,
    MoveState,
    Plan,
    Way,
)
from wire.fleet import HostView
from wire.migration import Migration, MigrationDetail, MigrationState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

EMPTIED, ALIKE, OTHERS = "kvm-01", "kvm-02", ("kvm-03", "kvm-04")
"""Only kvm-02 has the CPU of kvm-01."""
CALM = Workload(working_set_mb=80, dirty_mb_per_s=1)
"""Under a cap of 1 MiB/s it would take more than a minute."""
IDLE = Workload(working_set_mb=128)
"""Its memory is full, and sent once: under a cap of 1 MiB/s that takes two minutes."""
LATER = timedelta(minutes=9)


def by(left: timedelta) -> str:
    """A deadline, to the second."""
    return (datetime.now(UTC) + left).isoformat(timespec="seconds")


def until(found, what: str):
    deadline = time.monotonic() + 90
    while not (answer := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return answer


class Course:
    """The latest evacuation of the host, seen through the API and steered by verbs."""

    def __init__(self, operator, listed) -> None:
        self._operator, self._listed = operator, listed

    def now(self) -> Evacuation:
        found = self._listed("evacuations", Evacuation)
        return next(one for one in found if (one.host_name, one.kind) == (EMPTIED, "evacuate"))

    def line(self, server: str) -> EvacuatedServer:
        return next(one for one in self.now().servers if one.plan.server_name == server)

    def states(self) -> list[MoveState]:
        return [one.state for one in self.now().servers]

    def move(self, server: str) -> Migration:
        """Its latest move."""
        migration_id = self.line(server).migration_id
        found = self._listed("migrations", Migration)
        return next(one for one in found if one.migration_id == migration_id)

    def record(self, server: str) -> Migration:
        """The same as the command line tells it."""
        migration_id = self.line(server).migration_id
        return self._operator.json(MigrationDetail, "migration-show", migration_id).migration

    def steer(self, verb: str, *arguments: str) -> None:
        done = self._operator.run(verb, *arguments)
        assert done.returncode == 0, done.stderr

    def end(self) -> Evacuation:
        return until(lambda: not (one := self.now()).open and one, "it ends")


@pytest.fixture
def course(operator, listed):
    """Whatever a test began about the host is over when it ends, and its maintenance too."""
    yield Course(operator, listed)
    operator.run("evacuation-cancel", EMPTIED)
    until(
        lambda: operator.run("host-exit-maintenance", EMPTIED, ALIKE).returncode == 0,
        "every host is in service",
    )


def assert_planned(operator, wishes, calm, off, kept, bound) -> None:
    """What is wished for stands in the plan, and only there."""
    (plan,) = operator.json(list[Plan], "host-evacuate", "--dry-run", EMPTIED)
    ways = {one.server_name: one.way for one in plan.moves}
    cold = dict.fromkeys([off, kept], Way.COLD)
    assert ways == {calm: Way.LIVE, bound: Way.STAYS} | cold
    moves = {one.server_name: one for one in plan.moves}
    assert moves[calm].target_host_name == ALIKE
    assert [one.server_name for one in plan.moves].index(off) == 2
    (plan,) = operator.json(list[Plan], "host-evacuate", "--dry-run", *wishes, EMPTIED)
    moves = {one.server_name: one for one in plan.moves}
    assert plan.moves[0].server_name == off
    assert (moves[off].way, moves[off].chosen_way) == (Way.COLD, True)
    assert (moves[kept].way, moves[kept].chosen_way) == (Way.STAYS, True)
    assert moves[calm].target_host_name == OTHERS[0]
    assert moves[calm].options.skip_cpu_check
    # with a cap it is late, and without the cap it would not be
    slow = ["--max-bandwidth-mb", "1", "--empty-by", by(timedelta(minutes=1)), "--stay", bound]
    done = operator.run("host-evacuate", "--dry-run", *wishes, *slow, EMPTIED)
    told = " ".join(done.stdout.split())
    assert "not empty in time: it takes" in told
    assert "; without the cap of 1 MiB/s" in told
    assert f"{kept} stays: an operator wants it to stay" in told
    assert "--yes" in operator.refused(2, "host-evacuate", EMPTIED)


def test_there_and_back(lab, operator, add_known, unchanged, truth, course):
    calm = add_known(memory_mb=112, workload=CALM).name
    off = add_known(stopped=True, storage="local", disk_mb=64).name
    kept = add_known(stopped=True).name
    bound = add_known(stopped=True, passthrough=True).name
    wishes = ["--move", f"{calm}={OTHERS[0]}", "--set", f"{calm}:skip-cpu-check"]
    wishes += ["--set", f"{calm}:downtime-limit-ms=700", "--stay", kept]
    wishes += ["--go", f"{off}=cold", "--first", off]
    with unchanged():
        assert_planned(operator, wishes, calm, off, kept, bound)

    done = operator.run("host-evacuate", "--yes", "--wait", *wishes, EMPTIED)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"godwit: kvm-01 is not empty: {bound} stayed"
    assert truth.hosts_of(calm) == {OTHERS[0]: "running"}
    assert truth.hosts_of(off).keys().isdisjoint({EMPTIED})
    for name in (kept, bound):
        assert truth.hosts_of(name) == {EMPTIED: "shut off"}
    report = course.now()
    assert report.state is EvacuationState.ENDED
    assert report.servers[0].plan.server_name == off
    moved = course.line(calm)
    assert (moved.state, course.line(bound).state) == (MoveState.LEFT, MoveState.STAYED)
    record = course.record(calm)
    assert record.evacuation_id == report.evacuation_id
    assert record.downtime_limit_ms == 700
    assert moved.downtime_ms == record.statistics.downtime_ms
    assert moved.sent_bytes >= record.statistics.memory_transferred_bytes > 0
    markdown = operator.run("evacuation-show", "--markdown", report.evacuation_id).stdout
    assert markdown.startswith(f"# Evacuation of {EMPTIED}: ended, 2 left, 2 stayed")
    assert f"| {calm} | live | kvm-01 | kvm-03 | left |" in markdown

    hosts = {one.facts.name: one for one in operator.json(list[HostView], "host-list")}
    assert hosts[EMPTIED].policy.maintenance
    assert "maintenance" in operator.refused(1, "host-return", "--yes", EMPTIED)
    course.steer("host-exit-maintenance", EMPTIED)
    done = operator.run("host-return", "--yes", "--wait", "--skip-cpu-check", EMPTIED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Return to {EMPTIED}: ended, 2 back")
    assert truth.hosts_of(calm) == {EMPTIED: "running"}
    assert truth.hosts_of(off) == {EMPTIED: "shut off"}
    assert lab.memory_losses(EMPTIED, calm) == []


def received_mb_per_s(lab, host: str) -> float:
    """What comes over a host's link, in MiB/s: never more than it was, however late we look."""
    began_s = time.monotonic()
    received = lab.link_bytes(host).received_bytes
    time.sleep(2)
    received = lab.link_bytes(host).received_bytes - received
    return received / (time.monotonic() - began_s) / MIB


def end_incoming(lab, host: str, server: str) -> None:
    """Kill the QEMU that takes a server in on a host, as a crash would."""
    pid = lab.execute(host, "pgrep", "--full", f"guest={server},").stdout.strip()
    done = lab.execute(host, "kill", "-KILL", pid)
    assert done.returncode == 0, (pid, done.stderr)


@pytest.fixture
def begun(operator, add_known, course):
    """Two servers, of which the first moves under a cap, and the last waits: all is paused.

    Whoever began it waits for it no more.
    """
    last = add_known(memory_mb=144, workload=IDLE).name
    first = add_known(memory_mb=160, workload=IDLE).name
    wishes = ["--skip-cpu-check", "--max-bandwidth-mb", "1"]
    wishes += ["--first", first, "--move", f"{first}={ALIKE}"]
    waiting = operator.start("host-evacuate", "--yes", "--wait", *wishes, EMPTIED)
    try:
        line = ""
        while f"{first} goes to {ALIKE}" not in line:
            line = waiting.stderr.readline()
            assert line, waiting.communicate()
        course.steer("evacuation-pause", EMPTIED)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=30)
    finally:
        waiting.kill()
        waiting.communicate()
    assert waiting.returncode == 130
    assert err.splitlines()[-1].endswith(
        "it goes on without us; see it with: godwit evacuation-show kvm-01"
    )
    return first, last


def assert_a_cap_reaches_what_moves(lab, course, name: str) -> None:
    def has_cap(cap_mb: int) -> bool:
        return course.move(name).max_bandwidth_bytes_per_s == cap_mb * MIB

    until(lambda: course.move(name).state is MigrationState.COPYING_MEMORY, "memory is copied")
    assert received_mb_per_s(lab, ALIKE) <= 1 * 1.25
    course.steer("evacuation-change", "--max-bandwidth-mb", "4", "--empty-by", by(LATER), EMPTIED)
    until(lambda: has_cap(4), "its move has the new cap")
    assert course.now().empty_by_ms
    assert 2 < received_mb_per_s(lab, ALIKE) <= 4 * 1.25
    course.steer("evacuation-change", "--max-bandwidth-mb", "1", "--no-deadline", EMPTIED)
    until(lambda: has_cap(1), "its move has the old cap")
    assert course.record(name).max_bandwidth_bytes_per_s == 1 * MIB
    assert not course.now().empty_by_ms


def test_steered_while_it_runs(lab, operator, viewer, begun, truth, course):
    first, last = begun
    assert course.now().state is EvacuationState.PAUSED
    assert course.states() == [MoveState.MOVING, MoveState.WAITING]
    assert "is being emptied" in operator.refused(1, "host-evacuate", "--yes", EMPTIED)
    assert "operator" in viewer.refused(4, "evacuation-resume", EMPTIED)
    assert_a_cap_reaches_what_moves(lab, course, first)

    # a chosen target is tried once, and waited for
    end_incoming(lab, ALIKE, first)
    until(lambda: course.line(first).state is MoveState.FAILED, "its move fails")
    assert course.line(last).plan.target_host_name == ALIKE
    course.steer("host-maintenance", ALIKE)
    course.steer("evacuation-replan", EMPTIED)
    assert course.line(last).plan.target_host_name in OTHERS
    course.steer("evacuation-retry", EMPTIED, first)
    course.steer("evacuation-resume", EMPTIED)
    until(lambda: course.line(last).state is MoveState.MOVING, "the next one moves")
    until(lambda: "maintenance" in course.line(first).reason, "it says what it waits for")
    course.steer("evacuation-cancel", EMPTIED, last)
    until(lambda: course.line(last).state is MoveState.CANCELLED, "one is cancelled")
    assert course.line(first).state is MoveState.WAITING

    course.steer("evacuation-cancel", EMPTIED)
    assert set(course.states()) == {MoveState.CANCELLED}
    assert not course.end().open
    for name in begun:
        assert truth.hosts_of(name) == {EMPTIED: "running"}
    course.steer("host-exit-maintenance", ALIKE)
    course.steer("evacuation-retry", EMPTIED)
    course.steer("evacuation-change", "--no-bandwidth-limit", "--empty-by", by(LATER), EMPTIED)
    ended = course.end()
    assert set(course.states()) == {MoveState.LEFT}
    assert truth.hosts_of(first) == {ALIKE: "running"}
    assert truth.hosts_of(last) == {course.line(last).plan.target_host_name: "running"}
    steered = [note.text for note in ended.notes if note.by == "operator"]
    assert {"paused", "resumed", "planned anew", "cancelled"} < set(steered)
    assert {f"cancelled for {last}", f"tried again: {first}"} < set(steered)
    report = operator.run("evacuation-show", EMPTIED).stdout
    assert ["deadline", "kept"] in [line.split() for line in report.splitlines()]
