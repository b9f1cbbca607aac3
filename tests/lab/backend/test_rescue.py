"""Servers of a host that is dead, started on another one: by hand, and without being asked."""

import time
from functools import partial

import pytest

from lab.server import MIB
from wire.console import BackendStatus
from wire.errors import ErrorCode
from wire.fleet import HostStatus, ServerStatus
from wire.life import Fence
from wire.migration import MigrationState
from wire.rescue import IncidentState, RescueState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

GUEST_MB = 512
"""Of the guests for which there is not room enough."""


@pytest.fixture
def rescue(api):
    """Ask for a rescue by hand, and wait for its end."""

    def ask(server: str, **options: object):
        answer = api.ask(f"/v1/servers/{server}/rescue", **options)
        assert answer.status_code == 202, answer.text
        return api.until_ended(answer.json()["migration_id"])

    return ask


@pytest.fixture
def cut(lab, api):
    """Cut a host's power, and wait until the backend has opened an incident about it."""

    def power_cut(host):
        lab.power_cut(host)
        api.until("offline", lambda: api.host(host).status is HostStatus.OFFLINE)

        def lost():
            incident = api.incident(host)
            return incident if incident is not None and incident.open else None

        return api.until("an incident", lost)

    return power_cut


@pytest.fixture
def home_again(lab, api):
    """Give a host its power back, and wait until it is whole."""

    def power_on(host):
        lab.power_on(host)
        api.until("online", lambda: api.host(host).status is HostStatus.ONLINE)
        api.until("ended", lambda: not api.incident(host).open)

    return power_on


@pytest.fixture
def rescued_by_itself(api):
    """Have a host's servers started elsewhere without being asked, until the test is over."""
    hosts = []

    def set_policy(host: str, *, enabled: bool = True) -> None:
        hosts.append(host)
        policy = {"auto_migrate_on_host_down": enabled}
        # hosts that a busy machine makes late count as a storm, in this test or one before
        assert api.ask("/v1/rescue/arm").is_success
        assert api.ask(f"/v1/hosts/{host}/policy", **policy).is_success

    yield set_policy
    for host in set(hosts):
        set_policy(host, enabled=False)


def test_nothing_is_rescued_from_a_host_of_which_nobody_knows_that_it_is_dead(
    lab, api, cut, home_again, add_known, alive, hosts_of, rescued_by_itself
):
    spec = add_known(host="kvm-01")
    alive("kvm-01", spec.name)
    refusal = api.refusal(f"/v1/servers/{spec.name}/rescue", auto_start=True)
    assert refusal.code is ErrorCode.NOT_PROVEN_DEAD
    assert "still holds its health key" in refusal.message
    # as on a host that never had a card: the power cut gives it back
    without_card = "umount /dev/watchdog && rm /dev/watchdog"
    assert lab.execute("kvm-01", "sh", "-c", without_card).returncode == 0
    rescued_by_itself("kvm-01")
    unfenced = "no /dev/watchdog"
    api.until("unfenced", lambda: api.host("kvm-01").health.fence_detail == unfenced)
    cut_s = time.monotonic()
    incident = cut("kvm-01")
    assert incident.life.fence is Fence.NONE
    refusal = api.refusal(f"/v1/servers/{spec.name}/rescue", auto_start=True)
    assert refusal.code is ErrorCode.NOT_PROVEN_DEAD
    assert "godwit host-declare-off kvm-01" in refusal.message
    path = "/v1/hosts/kvm-01/declare-off"
    assert api.refusal(path, host_name="kvm-02").code is ErrorCode.BAD_REQUEST
    assert api.server(spec.name).status is ServerStatus.UNKNOWN
    assert "unfenced" in api.server(spec.name).status_reason
    # whatever time alone proves is proven by then
    time.sleep(max(0.0, cut_s + 3 * lab.state.lease_ttl_s - time.monotonic()))
    incident = api.incident("kvm-01")
    assert (incident.state, incident.dead_at_ms) == (IncidentState.HELD, 0)
    assert f"kvm-01 is unfenced ({unfenced})" in incident.held_reason
    (line,) = (one for one in incident.servers if one.server_name == spec.name)
    assert (line.state, line.reason) == (RescueState.WAITING, incident.held_reason)
    assert hosts_of(spec.name) == {}
    home_again("kvm-01")
    api.until("on again", lambda: api.server(spec.name).status is ServerStatus.RUNNING)
    assert hosts_of(spec.name) == {"kvm-01": "running"}
    assert api.refusal(path, host_name="kvm-01").code is ErrorCode.NOT_PROVEN_DEAD


def test_a_server_is_brought_elsewhere_by_hand_and_its_host_forgets_it(
    lab, api, cut, home_again, rescue, add_known, alive, hosts_of
):
    started, defined = add_known(host="kvm-01"), add_known(host="kvm-01")
    for spec in (started, defined):
        alive("kvm-01", spec.name)
    cut("kvm-01")

    def is_off() -> bool:
        answer = api.ask(
            f"/v1/servers/{started.name}/rescue",
            auto_start=True,
            prefer_host="kvm-02",
            host_is_off="kvm-01",
        )
        return answer.is_success

    api.until("its lease has run out in full", is_off)
    running = {"kvm-02": "running"}
    api.until("it runs", lambda: hosts_of(started.name) == running)
    ended = rescue(defined.name, prefer_host="kvm-02")
    assert (ended.kind, ended.state) == ("rescue", MigrationState.SUCCEEDED)
    assert hosts_of(defined.name) == {"kvm-02": "shut off"}
    api.until("ready", lambda: api.server(defined.name).status is ServerStatus.READY)
    incident = api.incident("kvm-01")
    assert incident.declared_off_by
    lines = {one.server_name: one for one in incident.servers}
    assert lines[started.name].running_at_ms > 0
    home_again("kvm-01")
    assert hosts_of(started.name) == running
    assert hosts_of(defined.name) == {"kvm-02": "shut off"}
    report = alive("kvm-02", started.name, beats=2)
    assert report.disk_splits == 0


@pytest.fixture
def one_target(api):
    """Have no host but kvm-02 take servers."""
    others = ("kvm-03", "kvm-04")
    for host in others:
        assert api.ask(f"/v1/hosts/{host}/maintenance").is_success
    yield "kvm-02"
    for host in others:
        assert api.ask(f"/v1/hosts/{host}/exit-maintenance").is_success


def test_a_host_that_is_dead_has_its_servers_started_elsewhere(
    lab, api, cut, home_again, add_known, alive, hosts_of, rescued_by_itself, one_target
):
    # memory that a guest was given and has never touched counts, and costs this machine nothing
    specs = [add_known(host="kvm-01", memory_mb=GUEST_MB) for _ in range(3)]
    stopped = add_known(host="kvm-01", stopped=True)
    total_mb = api.host(one_target).facts.memory_total_bytes // MIB
    for_two_mb = 2 * GUEST_MB + GUEST_MB // 2
    filler = add_known(host=one_target, memory_mb=total_mb - for_two_mb)
    for spec in specs:
        alive("kvm-01", spec.name)
    # against the order of their names
    last, second, first = specs
    for spec, priority in ((first, "high"), (last, "low")):
        changed = {"rescue_priority": priority}
        assert api.ask(f"/v1/servers/{spec.name}/policy", **changed).is_success
    rescued_by_itself("kvm-01")
    api.until("fenced", lambda: api.host("kvm-01").health.fence is Fence.WATCHDOG)
    cut("kvm-01")

    def lines():
        return {one.server_name: one for one in api.incident("kvm-01").servers}

    def full() -> bool:
        if not api.get("/v1/status", BackendStatus).rescue_guard.armed:
            assert api.ask("/v1/rescue/arm").is_success
        told = lines()
        states = [told[spec.name].state for spec in (first, second)]
        return states == [RescueState.RESCUED] * 2 and f"{GUEST_MB} MiB" in told[last.name].reason

    found = partial(api.incident, "kvm-01")
    api.until("two are rescued, and one has nowhere to go", full, told=found)
    waiting = lines()[last.name]
    assert waiting.state is RescueState.WAITING
    assert f"{last.name} needs {GUEST_MB} MiB of memory, kvm-02 has " in waiting.reason
    assert api.incident("kvm-01").state is IncidentState.RESCUING
    assert hosts_of(last.name) == {}
    lab.virsh(one_target, f"destroy {filler.name}")
    api.until("rescued", lambda: api.incident("kvm-01").state is IncidentState.RESCUED)
    incident = api.incident("kvm-01")
    assert "watchdog" in incident.proof
    told = {one.server_name: one for one in incident.servers}
    assert {told[spec.name].state for spec in specs} == {RescueState.RESCUED}
    assert told[stopped.name].state is RescueState.SKIPPED
    assert incident.lost_at_ms < incident.dead_at_ms < incident.first_running_at_ms
    claimed_at_ms = [
        api.detail(told[spec.name].migration_id).migration.created_at_ms
        for spec in (first, second, last)
    ]
    assert claimed_at_ms == sorted(claimed_at_ms)
    earlier = [told[spec.name].running_at_ms for spec in (first, second)]
    assert max(earlier) < told[last.name].running_at_ms
    running = {one_target: "running"}
    for spec in specs:
        assert hosts_of(spec.name) == running
    home_again("kvm-01")
    for spec in specs:
        assert hosts_of(spec.name) == running
        assert alive(one_target, spec.name, beats=2).disk_splits == 0
    assert hosts_of(stopped.name) == {"kvm-01": "shut off"}
