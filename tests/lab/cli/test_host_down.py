"""A host that dies, as an operator handles it on the command line."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from wire.fleet import HostView, ServerView
from wire.life import Fence
from wire.rescue import HealthReport, HostHealth, Incident, IncidentState, RescueState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

LOST = "kvm-01"
POLICY = "host-auto-migrate-on-host-down"
DOWN, SHUTDOWN = "--auto-migrate-on-host-down", "--auto-migrate-on-host-shutdown"


def eventually(found: Callable[[], object], what: str):
    until = time.monotonic() + 90
    while not (answer := found()):
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.2)
    return answer


@pytest.fixture
def incident(listed):
    """The newest incident of the host."""

    def newest() -> Incident | None:
        found = listed("incidents", Incident)
        return next((one for one in found if one.host_name == LOST), None)

    return newest


@pytest.fixture
def cut(lab, incident):
    """Cut the host's power, and wait for its incident."""

    def power_cut() -> Incident:
        lab.power_cut(LOST)
        return eventually(lambda: (one := incident()) and one.open and one, "an incident")

    return power_cut


@pytest.fixture
def home_again(lab, incident):
    def power_on() -> None:
        lab.power_on(LOST)
        eventually(lambda: not incident().open, "the host is back")

    return power_on


@pytest.fixture
def state_on(lab):
    """Libvirt's state of a server on one host; empty if it has none."""

    def read(host: str, server: str) -> str:
        if server not in lab.virsh(host, "list --all --name").split():
            return ""
        return str(lab.virsh(host, f"domstate {server}")).strip()

    return read


@pytest.fixture
def policies_off(operator) -> Iterator[None]:
    """However the test ends, no host's servers leave by themselves any more."""
    yield
    hosts = [one.facts.host_id for one in operator.json(list[HostView], "host-list")]
    operator.run(POLICY, DOWN, "disable", SHUTDOWN, "disable", *hosts)


def test_by_hand(operator, add_known, alive, listed, cut, home_again, state_on, lab):
    def until_shown(server: str, status: str, what: str) -> None:
        eventually(
            lambda: any(
                (one.name, one.status) == (server, status) for one in listed("servers", ServerView)
            ),
            what,
        )

    started, defined, paused = add_known(), add_known(), add_known()
    bound = add_known(storage="local")
    for spec in (started, defined, paused, bound):
        alive(LOST, spec.name)
    lab.virsh(LOST, f"suspend {paused.name}")
    until_shown(paused.name, "suspend", "a person has paused it")
    rescue = ("server-migrate", "--rescue-mode")
    assert "still holds its health key" in operator.refused(1, *rescue, started.name)
    lost = cut()
    assert f"godwit host-declare-off {LOST}" in operator.refused(1, *rescue, started.name)
    wrong = operator.refused(2, *rescue, "--auto-start", "--host-is-off", "kvm-02", started.name)
    assert wrong == (
        f"'kvm-02' was given as the host that is switched off, and the host is called {LOST!r}"
    )
    given = ("--auto-start", "--prefer-host", "kvm-02", "--host-is-off", LOST, "--wait")
    eventually(
        lambda: operator.run(*rescue, *given, started.name).returncode == 0,
        "its lease has run out in full, and it is started",
    )
    assert state_on("kvm-02", started.name) == "running"
    done = operator.run(*rescue, "--prefer-host", "kvm-02", "--wait", defined.name)
    assert done.returncode == 0, done.stderr
    assert state_on("kvm-02", defined.name) == "shut off"
    # what lies on the host alone waits for it, and everybody is told why
    reason = f"alone (/var/lib/libvirt/images/{bound.name}"
    assert reason in operator.refused(1, *rescue, bound.name)
    shown = operator.json(Incident, "incident-show", lost.incident_id)
    assert shown.declared_off_by
    lines = {one.server_name: one for one in shown.servers}
    assert lines[bound.name].state is RescueState.SKIPPED
    assert reason in lines[bound.name].reason
    assert lines[paused.name].state is RescueState.SKIPPED
    assert "it was paused by a person" in lines[paused.name].reason
    anew = operator.run(*rescue, "--auto-start", "--prefer-host", "kvm-02", "--wait", paused.name)
    assert anew.returncode == 0, anew.stderr
    report = operator.run("incident-show", lost.incident_id, "--markdown")
    assert report.stdout.startswith(f"# Incident of {LOST}")
    assert f"| {bound.name} | skipped |" in report.stdout
    home_again()
    until_shown(bound.name, "running", "what waited for its host is started with it")
    assert state_on(LOST, bound.name) == "running"
    for spec, state in ((started, "running"), (defined, "shut off"), (paused, "running")):
        assert (state_on(LOST, spec.name), state_on("kvm-02", spec.name)) == ("", state)


def test_a_policy_is_set_by_the_guides_own_words(operator, listed, policies_off):
    """Shutdown needs down, and a flag that is left out leaves its setting alone."""
    host_id = next(
        one.facts.host_id for one in listed("hosts", HostView) if one.facts.name == "kvm-04"
    )

    def policy() -> tuple[bool, bool]:
        (view,) = (one for one in listed("hosts", HostView) if one.facts.host_id == host_id)
        known = view.policy
        return known.auto_migrate_on_host_down, known.auto_migrate_on_host_shutdown

    def change(*flags: str) -> tuple[bool, bool]:
        done = operator.run(POLICY, *flags, host_id)
        assert done.returncode == 0, done.stderr
        return policy()

    needs = "auto_migrate_on_host_shutdown of kvm-04 would be enabled with"
    assert needs in operator.refused(2, POLICY, SHUTDOWN, "enable", host_id)
    assert policy() == (False, False)
    assert change(DOWN, "enable") == (True, False)
    assert change(DOWN, "enable", SHUTDOWN, "enable") == (True, True)
    assert change(DOWN, "enable") == (True, True)
    assert needs in operator.refused(2, POLICY, DOWN, "disable", host_id)
    assert policy() == (True, True)
    assert change(SHUTDOWN, "disable") == (True, False)


def test_health_shows_that_a_host_is_late_before_it_is_lost(operator, incident, lab, policies_off):
    assert operator.run(POLICY, DOWN, "enable", LOST).returncode == 0

    def health() -> HostHealth:
        report = operator.json(HealthReport, "host-health")
        return next(one for one in report.hosts if one.host_name == LOST)

    def is_well() -> HostHealth | None:
        seen = health()
        return seen if seen.present and not seen.late and seen.fence is Fence.WATCHDOG else None

    before = eventually(is_well, "it is in time, and fenced")
    report = operator.json(HealthReport, "host-health")
    assert [(one.leader, one.error) for one in report.members] == [(True, "")]
    assert report.members[0].raft_term > 0
    seen = [before]
    lab.signal_program(LOST, "hostagent", signal.SIGSTOP)
    try:
        while seen[-1].present:
            seen.append(health())
            assert len(seen) < 100, seen
    finally:
        lab.signal_program(LOST, "hostagent", signal.SIGCONT)
    late = [one for one in seen if one.present and one.late]
    late_left_s = [one.left_s for one in late if one.left_s is not None]
    assert late_left_s, seen
    assert late_left_s == sorted(late_left_s, reverse=True)
    assert max(late_left_s) < before.life.ttl_s
    back = eventually(is_well, "it is back, and fenced again")
    assert back.life.epoch == before.life.epoch + 1
    news = [one.text for one in back.transitions if one not in before.transitions]
    late_at, lost_at, back_at = (
        next(index for index, text in enumerate(news) if text.startswith(word))
        for word in ("late: ", "lost", f"back with epoch {back.life.epoch}, ")
    )
    assert late_at < lost_at < back_at
    eventually(lambda: not incident().open, "the host is back")


def test_disarmed_and_armed_again(operator, add_known, alive, incident, cut, home_again, lab):
    spec = add_known()
    alive(LOST, spec.name)
    switch = (POLICY, DOWN)
    done = operator.run(*switch, "enable", LOST)
    assert (done.returncode, "unfenced" in done.stderr) == (0, False), done.stderr
    try:
        assert operator.run("rescue-disarm", "--reason", "work on a switch").returncode == 0
        cut()
        held = eventually(
            lambda: (one := incident()).state is IncidentState.HELD and one.dead_at_ms and one,
            "it is dead, and nothing happens",
        )
        assert "work on a switch" in held.held_reason
        assert operator.run("rescue-arm").returncode == 0
        eventually(lambda: incident().state is IncidentState.RESCUED, "it is rescued")
        report = operator.run("incident-show", held.incident_id).stdout
        (home,) = {
            one.target_host_name for one in incident().servers if one.server_name == spec.name
        }
        assert home in report
        alive(home, spec.name)
    finally:
        operator.run("rescue-arm")
        operator.run(*switch, "disable", LOST)
    home_again()
    assert spec.name not in lab.virsh(LOST, "list --all --name").split()
