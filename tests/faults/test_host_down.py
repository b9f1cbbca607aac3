"""A host dies, or what watches it: then every guest runs exactly once, and all tell the truth.

Each case takes a fault from a whole fleet to a whole one (:mod:`lab.trials`); what must hold after
any of them is checked there. Here stands what is more to expect of each.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, NamedTuple

import pytest

from lab.card import CardCondition
from lab.fleet import Lab
from lab.server import ServerSpec, Workload
from lab.state import LEASE_TTL_S
from lab.trials import faults
from lab.trials.faults import Fault
from lab.trials.moving import limit_links, migration_cut
from lab.trials.trial import Finding, Trial, until_rescued
from lab.trials.witness import Witness
from wire.console import BackendStatus
from wire.migration import MigrationState
from wire.rescue import HealthReport, IncidentState

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(280),
    pytest.mark.xdist_group("host down"),  # one lab with short leases is enough
]

TTL_S = 5
GUESTS = 6
RESCUED_WITHIN_S = 60.0
UNTIL_RESCUED = 0.0
InTurn = Callable[[], AbstractContextManager[None]]


class Case(NamedTuple):
    """A fault, how long it lasts, and what becomes of the guests of its host."""

    fault: Fault
    hold_s: float
    rescued: bool = False
    """They are started elsewhere."""
    untouched: bool = False
    """No guest of the fleet boots again."""
    long: bool = False
    """For `make faults`: a shorter or a harder one of its kind stands in each run."""


CASES = [
    Case(faults.POWER_CUT, UNTIL_RESCUED, rescued=True),
    Case(faults.POWER_CUT, 0.5),
    Case(faults.POWER_CUT, 5, long=True),
    Case(faults.POWER_CUT, 60, rescued=True, long=True),
    Case(faults.PARTITION, UNTIL_RESCUED, rescued=True),
    Case(faults.PARTITION, 0.2 * TTL_S),
    Case(faults.FROZEN, UNTIL_RESCUED, rescued=True),
    Case(faults.AGENT_STOPPED, UNTIL_RESCUED, rescued=True),
    Case(faults.FENCE_STOPPED, UNTIL_RESCUED, rescued=True),
    Case(faults.AGENT_KILLED, 2, long=True),
    Case(faults.FENCE_KILLED, 2, long=True),
    Case(faults.LIBVIRTD_KILLED, 2, untouched=True),
    Case(faults.BACKEND_CUT_OFF, 2 * TTL_S, untouched=True),
    Case(faults.BACKEND_KILLED, 2, untouched=True, long=True),
    Case(faults.ETCD_STOPPED, 0.5 * TTL_S, long=True),
    Case(faults.ETCD_STOPPED, 3 * TTL_S),
    Case(faults.CLOCKS_STEPPED, 1.5 * TTL_S, untouched=True),
]


@contextmanager
def watching(
    lab: Lab, in_turn: InTurn, *, ttl_s: int = TTL_S, etcd_members: Literal[1, 3] = 1
) -> Iterator[Trial]:
    """A lab with short leases, clocks that can be set, and guests that leave traces."""
    names = [f"guest-{number + 1}" for number in range(GUESTS)]
    try:
        with in_turn():
            lab.up(
                host_count=4,
                server_count=0,
                lease_ttl_s=ttl_s,
                etcd_members=etcd_members,
                stepped_clocks=True,
            )
        for number, name in enumerate(names):
            host = lab.state.hosts[number % 4].name
            workload = Workload(working_set_mb=8, dirty_mb_per_s=0.5)
            spec = ServerSpec(name=name, host=host, memory_mb=32, workload=workload, trace_ms=50)
            lab.add_server(spec)
        lab.wait_until_ready()
        with Witness.of(lab) as witness, witness.watch(names).watching() as watch:
            trial = Trial(witness, watch, names)
            for host in lab.state.hosts:
                trial.set_policy(host.name, auto_migrate_on_host_down=True)
            trial.wait_until_fenced()
            yield trial
    finally:
        if lab.folders.root.exists():
            lab.down()


@pytest.fixture(scope="module")
def watched(in_turn: InTurn) -> Iterator[Trial]:
    with watching(Lab(f"test-{os.getpid()}-5"), in_turn) as trial:
        yield trial


@pytest.fixture
def trial(watched: Trial) -> Trial:
    """Whole, whatever the test before has left."""
    faults.restore(watched.witness.lab)
    watched.before = watched.wait_until_whole()
    watched.wait_until_fenced()
    return watched


def busiest(trial: Trial, count: int = 1) -> list[str]:
    """The hosts that own the most servers."""
    owners = [trial.before.owner(name) for name in trial.servers]
    return sorted(set(owners), key=owners.count)[-count:]


def servers_of(trial: Trial, hosts: list[str]) -> set[str]:
    return {name for name in trial.servers if trial.before.owner(name) in hosts}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RESCUED_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def try_fault(trial: Trial, fault: Fault, hosts: list[str], hold_s: float) -> Finding:
    def hold() -> None:
        if hold_s == UNTIL_RESCUED:
            until_rescued(trial.witness, hosts, within_s=RESCUED_WITHIN_S)
        else:
            time.sleep(hold_s)

    return trial.run(fault, hosts, hold)


def test_a_host_that_is_shut_down_lets_go_of_what_can_live_elsewhere(trial: Trial):
    views = trial.before.servers
    movable = {name for name in trial.servers if views[name].target_host_names}
    # kvm-01 and kvm-02 are alike; the first tests find servers there
    hosts = [trial.before.owner(min(movable))]
    owned = servers_of(trial, hosts)
    trial.set_policy(hosts[0], auto_migrate_on_host_shutdown=True)
    found = try_fault(trial, faults.SHUT_DOWN, hosts, 2 * TTL_S)
    trial.set_policy(hosts[0], auto_migrate_on_host_shutdown=False)
    assert found.wrong == ()
    assert found.rescued == ()
    assert set(found.restarted) == owned - movable


@pytest.mark.long
def test_a_host_that_is_shut_down_keeps_its_servers_if_nobody_wants_otherwise(trial: Trial):
    hosts = busiest(trial)
    owned = servers_of(trial, hosts)
    found = try_fault(trial, faults.SHUT_DOWN, hosts, 3 * TTL_S)
    assert found.wrong == ()
    assert found.rescued == ()
    assert set(found.restarted) == owned


@pytest.mark.long
def test_what_a_shutdown_gives_no_time_to_leave_is_rescued(trial: Trial):
    views = trial.before.servers
    hosts = [trial.before.owner(min(n for n in trial.servers if views[n].target_host_names))]
    owned = servers_of(trial, hosts)

    def begin(lab: Lab, hosts: Sequence[str]) -> None:
        limit_links(lab, 5_000_000)
        lab.shut_down(hosts[0], within_s=8)

    def end(lab: Lab, _hosts: Sequence[str]) -> None:
        faults.switch_on(lab)
        limit_links(lab, 0)

    trial.set_policy(hosts[0], auto_migrate_on_host_shutdown=True)
    found = try_fault(trial, Fault("shut down too soon", begin, end), hosts, UNTIL_RESCUED)
    trial.set_policy(hosts[0], auto_migrate_on_host_shutdown=False)
    assert found.wrong == ()
    assert found.rescued
    assert set(found.rescued) == set(found.restarted) <= owned


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            each,
            id=f"{each.fault.name}, {each.hold_s:g} s",
            marks=pytest.mark.long if each.long else (),
        )
        for each in CASES
    ],
)
def test_a_fault_leaves_every_guest_running_once(trial: Trial, case: Case):
    hosts = busiest(trial)
    owned = servers_of(trial, hosts)
    found = try_fault(trial, case.fault, hosts, case.hold_s)
    assert found.wrong == ()
    if case.rescued:
        assert set(found.rescued) == owned
        assert set(found.restarted) == owned
    if case.untouched:
        assert (found.rescued, found.restarted) == ((), ())


# either side at every moment: benchmarks/host_faults.py
@pytest.mark.parametrize(
    ("cut_source", "state"),
    [(True, MigrationState.PREPARING), (False, MigrationState.COPYING_MEMORY)],
    ids=["source", "target"],
)
def test_a_host_dies_in_a_migration(trial: Trial, *, cut_source: bool, state: MigrationState):
    fault = migration_cut(trial.witness, cut_source=cut_source, state=state)
    found = try_fault(trial, fault, busiest(trial), 3 * TTL_S)
    assert found.wrong == ()


def test_a_storm_rescues_nobody_until_a_person_says_so(trial: Trial):
    hosts = busiest(trial, 2)
    owned = servers_of(trial, hosts)

    def hold() -> None:
        time.sleep(3 * TTL_S)
        for name in trial.servers:
            assert len(trial.watch.boots(name)) == boots[name], f"{name} was started in a storm"
        guard = trial.witness.get("/v1/status", BackendStatus).rescue_guard
        assert not guard.armed, guard
        assert "2 of 4" in guard.reason
        trial.witness.post("/v1/rescue/arm").raise_for_status()
        until_rescued(trial.witness, hosts, within_s=RESCUED_WITHIN_S)

    boots = {name: len(trial.watch.boots(name)) for name in trial.servers}
    found = trial.run(faults.TWO_CUT, hosts, hold)
    assert found.wrong == ()
    assert set(found.rescued) == owned


def test_a_backend_that_reaches_no_agent_rescues_nobody(trial: Trial):
    hosts = busiest(trial)
    boots = {name: len(trial.watch.boots(name)) for name in servers_of(trial, hosts)}

    def hold() -> None:
        words = "reaches the agents of only"
        until(lambda: any(i.open and words in i.held_reason for i in trial.witness.incidents()))
        time.sleep(TTL_S)
        for name, count in boots.items():
            assert len(trial.watch.boots(name)) == count, f"{name} was started by a blind backend"

    found = trial.run(faults.CUT_BESIDE_A_BLIND_BACKEND, hosts, hold)
    assert found.wrong == ()


def test_a_guard_that_is_disarmed_holds_rescues_back(trial: Trial):
    hosts = busiest(trial)
    trial.witness.post("/v1/rescue/disarm", reason="exercise").raise_for_status()

    def hold() -> None:
        until(lambda: any(i.state is IncidentState.HELD for i in trial.witness.incidents()))
        time.sleep(TTL_S)
        (held,) = (each for each in trial.witness.incidents() if each.open)
        assert held.state is IncidentState.HELD
        assert "exercise" in held.held_reason

    found = trial.run(faults.POWER_CUT, hosts, hold)
    assert found.wrong == ()
    assert found.rescued == ()


def test_the_disks_tell_when_a_person_declares_a_living_host_off(trial: Trial):
    """The one way left to two copies: that this is seen shows that the other tests would see it."""
    hosts = busiest(trial)
    trial.set_policy(hosts[0], auto_migrate_on_host_down=False)
    until(lambda: trial.witness.lab.card(hosts[0]).condition is CardCondition.DISARMED)

    def hold() -> None:
        until(lambda: any(each.open for each in trial.witness.incidents()))
        trial.witness.post(
            f"/v1/hosts/{hosts[0]}/declare-off", host_name=hosts[0]
        ).raise_for_status()
        trial.set_policy(hosts[0], auto_migrate_on_host_down=True)
        until_rescued(trial.witness, hosts, within_s=RESCUED_WITHIN_S)
        time.sleep(2)

    found = trial.run(faults.PARTITION, hosts, hold)
    assert any("still wrote" in each for each in found.wrong), found
    assert any("written by another" in each for each in found.wrong), found


@pytest.mark.long
def test_a_leader_of_etcd_that_stands_still_costs_no_host_and_no_guest(in_turn: InTurn):
    def leader_of(trial: Trial) -> str:
        """The node of the member that leads, as the backend tells it."""
        members = trial.witness.get("/v1/health", HealthReport).members
        (endpoint,) = (one.endpoint for one in members if one.leader and not one.error)
        state = trial.witness.lab.state
        nodes = {state.address(one.number): one.name for one in state.etcd_members}
        return nodes[endpoint.rpartition(":")[0]]

    # an election takes 1 to 2 s, and a lease of 5 s has its guests killed after 2.5 s of silence
    lab = Lab(f"test-{os.getpid()}-3")
    with watching(lab, in_turn, ttl_s=LEASE_TTL_S, etcd_members=3) as trial:
        trial.before = trial.wait_until_whole()
        stopped = leader_of(trial)
        incidents = [one.incident_id for one in trial.before.incidents]
        lives = {name: view.health for name, view in trial.before.hosts.items()}
        boots = {name: len(trial.watch.boots(name)) for name in trial.servers}

        def hold() -> None:
            time.sleep(3 * LEASE_TTL_S)
            assert leader_of(trial) != stopped
            assert {name: len(trial.watch.boots(name)) for name in trial.servers} == boots
            assert [one.incident_id for one in trial.witness.incidents()] == incidents
            assert {n: view.health for n, view in trial.witness.hosts().items()} == lives

        fault = Fault(
            "leader of etcd stopped",
            lambda lab, _hosts: lab.signal_program(stopped, "etcd", signal.SIGSTOP),
            lambda lab, _hosts: lab.signal_program(stopped, "etcd", signal.SIGCONT),
        )
        # an etcd that wakes as its old leader may end leases: hosts take new ones
        found = trial.run(fault, [], hold)
        assert found.wrong == ()
        assert (found.rescued, found.restarted) == ((), ())
