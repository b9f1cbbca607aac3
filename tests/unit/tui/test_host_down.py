"""The verbs about hosts that die: policy, declaring off, rescue, health, incidents, guard."""

import io
import re

import msgspec
import pytest

from tui.cli import run
from wire.console import FailingDuty
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy, HostStatus, RescuePriority
from wire.life import Fence, HealthValue
from wire.migration import MigrationOptions, Note
from wire.rescue import (
    EtcdMember,
    HealthReport,
    HostHealth,
    HostPolicyChange,
    Incident,
    IncidentServer,
    IncidentState,
    RescueGuard,
    RescueOptions,
    RescueState,
    ServerPolicyChange,
    Transition,
)

pytestmark = pytest.mark.usefixtures("environment")

LOST_MS = 1_795_435_200_000
UNFENCED = (
    "kvm-02 has no watchdog (no /dev/watchdog): its servers are not started elsewhere until "
    "somebody declares it off"
)
changed = msgspec.structs.replace


def words_of(capsys) -> list[str]:
    """What was told on stderr, without the program's name."""
    return [each.removeprefix("godwit: ") for each in capsys.readouterr().err.splitlines()]


def life(fence: Fence, detail: str = "") -> HealthValue:
    return HealthValue(
        boot_id="b", epoch=7, fence=fence, fence_detail=detail, ttl_s=10, watchdog_timeout_s=2
    )


@pytest.fixture
def incident(fleet) -> Incident:
    """kvm-01 died; one server of it runs elsewhere, one waits, one has a local disk."""

    def server(number: int, name: str, state: RescueState, **more: object) -> IncidentServer:
        return IncidentServer(server_id=f"s-{number}", server_name=name, state=state, **more)

    case = Incident(
        incident_id="i-1",
        host_id=fleet.hosts[0].facts.host_id,
        host_name="kvm-01",
        life=life(Fence.WATCHDOG),
        state=IncidentState.RESCUING,
        lost_at_ms=LOST_MS,
        dead_at_ms=LOST_MS + 3_100,
        proof="its lease ran out",
        servers=(
            server(
                1,
                "web-1",
                RescueState.RESCUED,
                target_host_name="kvm-02",
                tries=1,
                running_at_ms=LOST_MS + 4_200,
            ),
            server(2, "big-1", RescueState.WAITING, reason="no host has 64 GiB free", tries=2),
            server(3, "disk|1", RescueState.SKIPPED, reason="vda is on local storage"),
        ),
        notes=(Note(at_ms=LOST_MS + 3_100, text="counts as dead", by=""),),
        first_running_at_ms=LOST_MS + 4_200,
        last_running_at_ms=LOST_MS + 4_200,
    )
    fleet.incidents = [case]
    return case


# Policy


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["--auto-migrate-on-host-down", "enable"],
            HostPolicyChange(auto_migrate_on_host_down=True),
        ),
        (
            [
                *("--auto-migrate-on-host-down", "enable"),
                *("--auto-migrate-on-host-shutdown", "enable"),
            ],
            HostPolicyChange(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True),
        ),
        (
            ["--auto-migrate-on-host-shutdown", "disable"],
            HostPolicyChange(auto_migrate_on_host_shutdown=False),
        ),
    ],
)
def test_an_omitted_flag_leaves_its_setting_alone(fleet, arguments, wanted):
    fleet.hosts[0] = changed(fleet.hosts[0], health=life(Fence.WATCHDOG))
    assert run(["host-auto-migrate-on-host-down", *arguments, "kvm-01"]) == 0
    assert fleet.bodies == [wanted]


def test_several_hosts_at_once_and_what_is_not_fenced_is_told(fleet, capsys):
    fleet.hosts[0] = changed(fleet.hosts[0], health=life(Fence.WATCHDOG))
    fleet.hosts[1] = changed(fleet.hosts[1], health=life(Fence.NONE, "no /dev/watchdog"))
    verb = ["host-auto-migrate-on-host-down", "--auto-migrate-on-host-down", "enable"]
    assert run([*verb, "kvm-01", "kvm-02"]) == 0
    assert words_of(capsys) == [
        "kvm-01: auto-migrate is now down",
        "kvm-02: auto-migrate is now down",
        UNFENCED,
    ]


def test_what_one_host_refuses_does_not_stop_the_others(fleet, capsys):
    sentence = "auto_migrate_on_host_shutdown of kvm-01 needs auto_migrate_on_host_down enabled"
    fleet.refused["kvm-01"] = GodwitError(ErrorCode.BAD_REQUEST, sentence)
    fleet.hosts[1] = changed(
        fleet.hosts[1],
        health=life(Fence.WATCHDOG),
        policy=HostPolicy(auto_migrate_on_host_down=True),
    )
    verb = ["host-auto-migrate-on-host-down", "--auto-migrate-on-host-shutdown", "enable"]
    assert run([*verb, "kvm-01", "kvm-02", "kvm-09"]) == 2
    told = words_of(capsys)
    assert told[0] == "kvm-02: auto-migrate is now down+shutdown"
    assert told[1] == f"kvm-01: {sentence}; kvm-09: no host is called 'kvm-09'"
    assert fleet.changed == ["policy kvm-02"]


def test_nothing_to_change_is_said(fleet, capsys):
    assert run(["host-auto-migrate-on-host-down", "kvm-01"]) == 2
    assert "nothing to change" in words_of(capsys)[0]
    assert fleet.changed == []


def test_priorities_of_several_servers(fleet, capsys):
    assert run(["server-set-rescue-priority", "high", "web-1", "nobody", "idle-1"]) == 2
    told = words_of(capsys)
    assert told[:2] == ["web-1: rescue priority is high", "idle-1: rescue priority is high"]
    assert told[2] == "nobody: no server is called 'nobody'"
    assert fleet.bodies == [ServerPolicyChange(rescue_priority=RescuePriority.HIGH)] * 2


# Declaring off


@pytest.mark.usefixtures("incident")
def test_a_script_types_the_name_as_an_option(fleet, capsys):
    assert run(["host-declare-off", "kvm-01", "--yes-i-switched-off", "kvm-01"]) == 0
    assert fleet.changed == ["declare-off kvm-01 kvm-01"]
    out, err = capsys.readouterr()
    assert out == "i-1\n"
    assert "kvm-01 is declared off by alice" in err


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize("typed", ["kvm-02", "", "KVM-01"])
def test_another_name_declares_nothing(fleet, capsys, typed):
    assert run(["host-declare-off", "kvm-01", "--yes-i-switched-off", typed]) == 2
    assert "nothing was done" in words_of(capsys)[0]
    assert fleet.changed == []


def test_without_a_terminal_nobody_is_asked(fleet, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("kvm-01\n"))
    assert run(["host-declare-off", "kvm-01"]) == 2
    assert "needs --yes-i-switched-off kvm-01" in words_of(capsys)[0]
    assert fleet.changed == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize(("typed", "status"), [("kvm-01", 0), ("kvm-1", 2)])
def test_on_a_terminal_the_danger_stands_before_the_name(fleet, capsys, monkeypatch, typed, status):
    monkeypatch.setattr("sys.stdin", _Terminal(f"{typed}\n"))
    assert run(["host-declare-off", fleet.hosts[0].facts.host_id]) == status
    assert "a second copy of each destroys its disk" in capsys.readouterr().err
    assert bool(fleet.changed) is (status == 0)


# Rescue


def test_a_rescue_is_begun_with_its_options(fleet, capsys):
    verb = ["server-migrate", "--rescue-mode", "--auto-start", "--prefer-host", "kvm-02"]
    assert run([*verb, "--host-is-off", "kvm-01", "web-1"]) == 0
    wanted = RescueOptions(prefer_host="kvm-02", auto_start=True, host_is_off="kvm-01")
    assert fleet.bodies == [wanted]
    out, err = capsys.readouterr()
    assert out == "m-1\n"
    assert "web-1 is rescued from kvm-01 to kvm-02" in err


def test_a_refusal_keeps_the_backends_sentence(fleet, capsys):
    sentence = "kvm-01 may still run web-1: it had no watchdog; say --host-is-off kvm-01"
    fleet.refusal = GodwitError(ErrorCode.NOT_PROVEN_DEAD, sentence)
    assert run(["server-migrate", "--rescue-mode", "web-1"]) == 1
    assert words_of(capsys) == [sentence]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host-is-off", "kvm-01"], "--host-is-off kvm-01 goes with --rescue-mode only"),
        (["--rescue-mode", "--max-bandwidth-mb", "5"], "copies nothing"),
    ],
)
def test_options_that_do_not_go_together(fleet, capsys, arguments, part):
    assert run(["server-migrate", *arguments, "web-1"]) == 2
    assert part in words_of(capsys)[0]
    assert fleet.changed == []


def test_without_rescue_mode_it_is_a_cold_move(fleet):
    assert run(["server-migrate", "web-1"]) == 0
    assert fleet.bodies == [MigrationOptions()]


def test_the_forecast_of_a_rescue(fleet, capsys):
    assert run(["server-migrate-forecast", "--rescue-mode", "web-1"]) == 0
    assert fleet.queries[0]["kind"] == "rescue"
    assert run(["server-migrate-forecast", "--rescue-mode", "--live-migrate", "web-1"]) == 2


# Guard


def test_the_guard_is_armed_and_disarmed(fleet, capsys):
    assert run(["rescue-disarm", "--reason", "work on the switch"]) == 0
    assert run(["rescue-arm"]) == 0
    assert fleet.changed == ["disarm work on the switch", "arm"]
    assert words_of(capsys)[0].startswith("rescues are disarmed: work on the switch")


# Health


@pytest.fixture
def health(fleet) -> HealthReport:
    first, second = fleet.hosts
    fleet.health = HealthReport(
        at_ms=LOST_MS,
        guard=RescueGuard(armed=False, reason="2 of 2 hosts were lost together", at_ms=LOST_MS),
        members=(
            EtcdMember(
                endpoint="10.77.1.2:2379",
                version="3.4.23",
                leader=True,
                raft_term=4,
                database_bytes=1 << 20,
            ),
            EtcdMember(endpoint="10.77.1.3:2379", error="does not answer"),
        ),
        hosts=(
            HostHealth(
                host_id=first.facts.host_id,
                host_name="kvm-01",
                present=True,
                left_s=3,
                life=life(Fence.WATCHDOG),
                late=True,
                policy=HostPolicy(auto_migrate_on_host_down=True),
                transitions=(Transition(at_ms=LOST_MS, text="late: 3 s left of 10"),),
            ),
            HostHealth(
                host_id=second.facts.host_id,
                host_name="kvm-02",
                present=False,
                life=life(Fence.NONE, "no /dev/watchdog"),
                policy=HostPolicy(),
            ),
        ),
    )
    return fleet.health


def test_health_shows_keys_fences_etcd_and_the_guard(health, capsys):
    assert run(["host-health"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [re.split(r"  +", each) for each in lines]
    assert cells[1][:6] == ["kvm-01", "late", "3 of 10 s", "7", "watchdog, 2 s", "down"]
    assert cells[1][6].endswith("late: 3 s left of 10")
    assert cells[2] == ["kvm-02", "lost", "-", "7", "none: no /dev/watchdog", "off", "-"]
    assert cells[5] == ["10.77.1.2:2379", "leader", "4", "3.4.23", "1 MiB", "-"]
    assert cells[6][-1] == "does not answer"
    assert "disarmed" in lines[-1]
    assert "2 of 2 hosts were lost together" in lines[-1]


def test_health_as_json_is_the_wires_own(health, capsys):
    assert run(["host-health", "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=HealthReport) == health


def test_a_duty_that_fails_is_told_beside_whatever_is_asked_for(health, fleet, capsys):
    fleet.failing_duties = (
        FailingDuty(name="rescues", failures=12, since_ms=LOST_MS, reason="KeyError: 'a\x1bb'"),
    )
    for verb in ("host-health", "host-list"):
        assert run([verb]) == 0
        (said,) = words_of(capsys)
        assert said.startswith("duty rescues has failed 12 times since ")
        assert said.endswith(": KeyError: 'a\\x1bb'")


def test_a_silent_etcd_is_no_answer(fleet, capsys):
    fleet.blind = GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")
    assert run(["host-health"]) == 3
    assert words_of(capsys) == ["etcd does not answer"]


def test_hosts_tell_what_threatens_them(fleet, capsys):
    dead = changed(fleet.hosts[0], status=HostStatus.OFFLINE, dead=True, incident_id="i-1")
    late = changed(
        fleet.hosts[1],
        late=True,
        health=life(Fence.NONE, "no /dev/watchdog"),
        policy=HostPolicy(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True),
    )
    fleet.hosts[:] = [dead, late]
    assert run(["host-list"]) == 0
    rows = [each.split()[4:6] for each in capsys.readouterr().out.splitlines()[1:3]]
    assert rows == [["offline", "dead"], ["online", "late"]]
    assert run(["host-show", "kvm-02"]) == 0
    told = capsys.readouterr().out
    assert "none: no /dev/watchdog" in told
    assert "down+shutdown" in told
    assert run(["host-show", "kvm-01"]) == 0
    assert "i-1" in capsys.readouterr().out


def test_a_server_shows_its_priority(capsys):
    assert run(["server-show", "web-1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"rescue priority +medium", shown)
    assert re.search(r"wanted +off", shown)


# Incidents


@pytest.mark.usefixtures("incident")
def test_incidents_are_listed_with_seconds_since_the_loss(capsys):
    assert run(["incident-list"]) == 0
    _, row, total = capsys.readouterr().out.splitlines()
    cells = re.split(r"  +", row)
    assert cells[:3] == ["i-1", "kvm-01", "rescuing"]
    assert cells[4:] == ["3.1 s", "4.2 s", "4.2 s", "1 rescued, 1 waiting, 1 skipped"]
    assert total == "Total: 1"


@pytest.mark.usefixtures("incident")
def test_the_report_tells_what_was_rescued_and_why_the_rest_was_not(capsys):
    assert run(["incident-show", "i-1"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"dead +\S+ \S+  after 3.1 s  its lease ran out", told)
    assert re.search(r"first running .* after 4.2 s  web-1 on kvm-02", told)
    assert re.search(r"big-1 +waiting .* no host has 64 GiB free", told)
    assert re.search(r"disk\|1 +skipped .* vda is on local storage", told)
    assert "counts as dead" in told


def test_the_report_as_json_and_as_markdown(incident, capsys):
    assert run(["incident-show", "--json", "i-1"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Incident) == incident
    assert run(["incident-show", "--markdown", "i-1"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("# Incident of kvm-01: rescuing")
    assert r"| disk\|1 | skipped |" in told
    assert "- **times**: UTC" in told
    assert run(["incident-show", "--markdown", "--json", "i-1"]) == 2


def test_an_incident_of_any_name_commands_no_terminal(fleet, incident, capsys):
    server = changed(incident.servers[0], server_name="a\x1b[31mb\nc", reason="x\x07[y](z)")
    note = Note(at_ms=1, text="\x1b]0;t\x07", by="\u202ee")
    fleet.incidents = [changed(incident, host_name="h\x1b[2J", servers=(server,), notes=(note,))]
    for form in ([], ["--markdown"]):
        assert run(["incident-show", *form, "i-1"]) == 0
        told = capsys.readouterr().out
        assert all(each.isprintable() for each in told.splitlines())
    assert r"\[y\](z)" in told


def test_an_unknown_incident(capsys):
    assert run(["incident-show", "i-9"]) == 2
    assert words_of(capsys) == ["no incident is called 'i-9'"]
