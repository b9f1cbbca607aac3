"""A host that dies, as an operator handles it on the command line."""

import time
from collections.abc import Callable

import pytest

from wire.fleet import ServerView
from wire.rescue import Incident, IncidentState, RescueState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

LOST = "kvm-01"


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


def test_disarmed_and_armed_again(operator, add_known, alive, incident, cut, home_again, lab):
    spec = add_known()
    alive(LOST, spec.name)
    switch = ("host-auto-migrate-on-host-down", "--auto-migrate-on-host-down")
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
