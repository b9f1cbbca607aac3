"""A host that dies, as an operator handles it on the command line."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from backend.health.notices import Notice, NoticeEvent
from lab.state import CONTROLLER
from wire.audit import AuditEntry
from wire.fleet import HostView, RescuePriority, ServerView
from wire.life import Fence
from wire.rescue import HealthReport, HostHealth, Incident, IncidentState, RescueState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

LOST = "kvm-01"
POLICY = "host-auto-migrate-on-host-down"
DOWN, SHUTDOWN = "--auto-migrate-on-host-down", "--auto-migrate-on-host-shutdown"

TURNS = [
    NoticeEvent.RESCUES_DISARMED,
    NoticeEvent.HOST_LOST,
    NoticeEvent.HOST_DEAD,
    NoticeEvent.RESCUE_HELD,
    NoticeEvent.RESCUES_ARMED,
    NoticeEvent.RESCUE_BEGAN,
    NoticeEvent.RESCUE_ENDED,
    NoticeEvent.HOST_BACK,
]
"""Of a host that is lost while rescues are disarmed, which are armed then."""


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


class Receiver(BaseHTTPRequestHandler):
    """Takes every notice that is posted."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.notices.append(msgspec.json.decode(body, type=Notice))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """What came is told by assertions."""


@pytest.fixture
def told(lab, tmp_path) -> Iterator[dict[str, Callable[[], list[Notice]]]]:
    """Channel to what the backend has told there, oldest first; it is started anew with both."""
    file = tmp_path / "notices"
    file.touch()
    gateway = lab.state.address(1)
    config = lab.folders.etc(CONTROLLER) / "godwit" / "backend.toml"
    before = config.read_text()

    def restart(text: str) -> None:
        pid = lab.path(CONTROLLER, "/run/godwit-lab/backend")
        old = pid.read_text()
        config.write_text(text)
        lab.signal_program(CONTROLLER, "backend", signal.SIGTERM)
        eventually(lambda: pid.exists() and pid.read_text() not in {"", old}, "another backend")
        lab.wait_until_ready()

    with ThreadingHTTPServer((gateway, 0), Receiver) as server:
        server.notices = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = ["sh", "-c", f"{{ cat; echo; }} >> {file}"]
        url = f"http://{gateway}:{server.server_port}/godwit"
        try:
            restart(f"{before}\n[notify]\nwebhook_url = {url!r}\ncommand = {command!r}\n")
            yield {
                "webhook": lambda: list(server.notices),
                "command": lambda: [
                    msgspec.json.decode(line, type=Notice)
                    for line in file.read_bytes().splitlines()
                ],
            }
        finally:
            restart(before)
            server.shutdown()


def test_a_policy_is_set_by_the_guides_own_words(operator, viewer, listed, policies_off):
    """Shutdown needs down, a flag left out leaves its setting alone, and each change is audited."""
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

    def entered() -> list[AuditEntry]:
        return viewer.json(list[AuditEntry], "audit-list", "--search", host_id)

    before = len(entered())
    needs = "auto_migrate_on_host_shutdown of kvm-04 would be enabled with"
    assert needs in operator.refused(2, POLICY, SHUTDOWN, "enable", host_id)
    assert policy() == (False, False)
    assert change(DOWN, "enable") == (True, False)
    assert change(DOWN, "enable", SHUTDOWN, "enable") == (True, True)
    assert change(DOWN, "enable") == (True, True)
    assert needs in operator.refused(2, POLICY, DOWN, "disable", host_id)
    assert policy() == (True, True)
    assert change(SHUTDOWN, "disable") == (True, False)
    entries = entered()
    done = entries[: len(entries) - before]
    assert {(one.user, one.verb, one.objects[0].name) for one in done} == {
        ("operator", POLICY, "kvm-04")
    }
    down, shutdown = (f"auto_migrate_on_host_{word}" for word in ("down", "shutdown"))
    assert [one.parameters for one in reversed(done)] == [
        {down: True},
        {down: True, shutdown: True},
        {shutdown: False},
    ]
    shown = viewer.run("audit-list", "--search", host_id).stdout.splitlines()
    assert "auto migrate on host shutdown: no" in shown[1]


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


def test_disarmed_and_armed_again(
    operator, add_known, alive, incident, cut, home_again, lab, told, policies_off
):
    spec = add_known()
    alive(LOST, spec.name)
    assert operator.run("server-set-rescue-priority", "high", spec.name).returncode == 0
    done = operator.run(POLICY, DOWN, "enable", LOST)
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
        (line,) = (one for one in incident().servers if one.server_name == spec.name)
        assert line.priority is RescuePriority.HIGH
        home = line.target_host_name
        assert home in report
        alive(home, spec.name)
    finally:
        operator.run("rescue-arm")
    home_again()
    assert spec.name not in lab.virsh(LOST, "list --all --name").split()

    def heard(channel: str) -> list[Notice]:
        """From the disarming on: a backend that begins to lead may tell anew what was before."""
        found = [
            one
            for one in told[channel]()
            if one.incident is None or one.incident.host_id == held.host_id
        ]
        begin = (index for index, one in enumerate(found) if "work on a switch" in one.text)
        return found[next(begin, len(found)) :]

    def until_all_heard(channel: str) -> list[Notice]:
        eventually(
            lambda: any(one.event is TURNS[-1] for one in heard(channel)),
            f"the {channel} is told of the end",
        )
        return heard(channel)

    for channel in told:
        notices = until_all_heard(channel)
        assert [one.event for one in notices] == TURNS, channel
        assert held.held_reason in notices[TURNS.index(NoticeEvent.RESCUE_HELD)].text
