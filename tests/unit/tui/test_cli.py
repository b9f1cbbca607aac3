"""Verbs against a backend over real TLS: what they print, and the exit status of each refusal."""

import json
import socket
from pathlib import Path

import msgspec
import pytest

from tui import transport
from tui.cli import godwit, run
from wire.candidates import Candidate
from wire.config import TlsFiles
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostStatus, HostView, ServerView
from wire.migration import Migration, MigrationDetail, MigrationState, Pass, Sample, Statistics

pytestmark = pytest.mark.usefixtures("environment")


def ended(migration: Migration, state: MigrationState, **more: str) -> Migration:
    return msgspec.structs.replace(
        migration,
        state=state,
        finished_at_ms=1_700_000_010_000,
        passes=(
            Pass(
                number=1,
                started_ms=0,
                duration_ms=5100,
                remaining_at_start_bytes=256 << 20,
                transferred_bytes=226 << 20,
                dirty_bytes_per_s=0,
                bandwidth_bytes_per_s=45 << 20,
                throttle_percent=0,
            ),
        ),
        statistics=Statistics(
            total_ms=9800,
            downtime_ms=43,
            pass_count=4,
            memory_transferred_bytes=412 << 20,
        ),
        **more,
    )


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr; stdout is empty."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("godwit: ")
    return line.removeprefix("godwit: ")


def test_hosts_have_climcs_columns_and_a_total(capsys):
    assert run(["host-list", "--hypervisor", "kvm"]) == 0
    heading, first, second, total = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        *("ID", "Name", "Access_ip", "enabled", "host_status", "health", "Guests"),
        *("Running_guests", "mem_size"),
    ]
    assert first.split() == [
        *("00000001-0000-4000-8000-000000000000", "kvm-01", "10.77.1.11", "true", "online"),
        *("present", "2", "1", "4096"),
    ]
    assert second.split()[1] == "kvm-02"
    assert total == "Total: 2"


@pytest.mark.parametrize(
    "verb",
    [
        ["host-list"],
        ["server-list"],
        ["migration-list"],
        ["migration-show", "m-1"],
        ["server-show", "web-1"],
        ["host-show", "kvm-01"],
        ["server-migrate-forecast", "--live-migrate", "web-1"],
    ],
)
def test_what_is_shown_while_etcd_is_silent_is_called_stale(verb: list[str], fleet, capsys):
    assert run(verb) == 0
    assert capsys.readouterr().err == ""
    fleet.etcd_error = "etcd does not answer at 10.77.1.2:2379 (timed out)"
    assert run(verb) == 0
    out, err = capsys.readouterr()
    assert out
    assert err == f"godwit: {fleet.etcd_error}: what is shown may be stale\n"


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (HostStatus.OFFLINE, "lost"),
        (HostStatus.UNREACHABLE, "present"),
    ],
)
def test_nobody_knows_what_runs_on_a_silent_host(fleet, status: HostStatus, health: str, capsys):
    fleet.hosts = [msgspec.structs.replace(fleet.hosts[0], status=status)]
    assert run(["host-list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[4:] == [status, health, "2", "?", "4096"]


def test_every_detail_of_a_host_has_its_column(capsys):
    assert run(["host-list", "--details", "--search", "KVM-02"]) == 0
    heading, row, total = capsys.readouterr().out.splitlines()
    told = dict(zip(heading.split(), [c for c in row.split("  ") if c], strict=True))
    told = {name: value.strip() for name, value in told.items()}
    assert told["microcode"] == "0x42e"
    assert told["cpu_model"] == "Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz"
    assert told["mem_used"] == "1024"
    assert told["pools"] == "shared:shared"
    assert told["fence"] == "-"
    assert total == "Total: 1"


def test_servers_with_and_without_details(capsys):
    assert run(["server-list"]) == 0
    heading, first, second, total = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "Name", "Status", "Host", "vcpu_count", "vmem_size"]
    assert first.split()[1:] == ["idle-1", "ready", "kvm-01", "1", "256"]
    assert second.split()[1:] == ["web-1", "live_migrating", "kvm-01", "1", "256"]
    assert total == "Total: 2"
    assert run(["server-list", "--search", "idle", "--details"]) == 0
    heading, row, _ = capsys.readouterr().out.splitlines()
    told = dict(zip(heading.split(), row.split(), strict=True))
    assert told["targets"] == "kvm-02"
    assert told["Disk"] == "1"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["host-list"], list[HostView]),
        (["host-show", "kvm-01"], HostView),
        (["server-show", "web-1"], ServerView),
        (["server-list"], list[ServerView]),
        (["migration-list"], list[Migration]),
        (["migration-show", "m-1"], MigrationDetail),
        (["server-migrate-forecast", "--live-migrate", "web-1"], list[Candidate]),
        (["server-live-migrate", "web-1"], Migration),
        (["server-migrate", "web-1"], Migration),
    ],
)
def test_json_is_the_wires_own(arguments: list[str], kind: type, capsys):
    assert run([*arguments, "--json"]) == 0
    out = capsys.readouterr().out
    assert msgspec.json.decode(out, type=kind)
    assert out.isascii()


def test_names_from_outside_cannot_command_the_terminal(fleet, capsys):
    hostile = "x\x1b]0;owned\x07\u202e"
    fleet.servers[0] = msgspec.structs.replace(fleet.servers[0], name=hostile)
    assert run(["server-list"]) == 0
    assert r"x\x1b]0;owned\x07\u202e" in capsys.readouterr().out
    assert run(["server-list", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert hostile in {one["name"] for one in json.loads(out)}


def test_without_wait_the_id_alone_is_data(fleet, capsys):
    assert run(["server-live-migrate", "--prefer-host", "kvm-02", "web-1"]) == 0
    out, err = capsys.readouterr()
    assert out == "m-1\n"
    assert err == ("web-1 moves from kvm-01 to kvm-02; see it with: godwit migration-show m-1\n")
    assert fleet.changed == ["live-migrate web-1 kvm-02"]


def test_wait_ends_with_route_passes_bytes_and_times(fleet, capsys):
    fleet.events.append(
        ended(fleet.migrations["m-1"], MigrationState.SUCCEEDED, outcome="web-1 runs on kvm-02")
    )
    assert run(["server-live-migrate", "web-1", "--wait"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "outcome     web-1 runs on kvm-02",
        "route       kvm-01 -> kvm-02",
        "passes      4",
        "bytes       412 MiB of memory",
        "total time  9.8 s",
        "downtime    43 ms (limit 300 ms)",
    ]
    assert err.splitlines() == [
        "migration m-1: web-1 goes from kvm-01 to kvm-02",
        "preparing",
        "pass    to send       sent         took     bandwidth    dirty rate  throttle",
        "   1    256 MiB    226 MiB        5.1 s      45 MiB/s             -         -",
        "succeeded",
    ]


def test_wait_with_json_prints_the_final_record(fleet, capsys):
    fleet.events.append(ended(fleet.migrations["m-1"], MigrationState.SUCCEEDED))
    assert run(["server-live-migrate", "web-1", "--wait", "--json"]) == 0
    final = msgspec.json.decode(capsys.readouterr().out, type=Migration)
    assert final.state is MigrationState.SUCCEEDED


def test_a_failed_migration_is_told_in_full_and_is_no_success(fleet, capsys):
    fleet.events.append(
        ended(
            fleet.migrations["m-1"],
            MigrationState.FAILED,
            error="internal error:\nunable to execute QEMU command",
            advice="Free memory on kvm-02.",
            outcome="web-1 still runs on kvm-01",
        )
    )
    assert run(["server-live-migrate", "web-1", "--wait"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "godwit: live migration of web-1 failed: internal error: unable to execute QEMU command; "
        "Free memory on kvm-02; web-1 still runs on kvm-01"
    )


def test_a_cancelled_migration_is_no_success(fleet, capsys):
    fleet.events.append(
        ended(
            fleet.migrations["m-1"],
            MigrationState.CANCELLED,
            cancel_requested_by="bob",
            outcome="web-1 still runs on kvm-01",
        )
    )
    assert run(["server-live-migrate", "web-1", "--wait"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "godwit: live migration of web-1 cancelled: by bob; web-1 still runs on kvm-01"
    )


def test_a_migration_under_way_and_an_ended_one_are_shown(fleet, capsys):
    assert run(["migration-show", "m-1"]) == 0
    under_way = capsys.readouterr().out
    assert "state         preparing\n" in under_way
    assert "downtime" not in under_way
    fleet.migrations["m-1"] = ended(fleet.migrations["m-1"], MigrationState.SUCCEEDED)
    assert run(["migration-show", "m-1"]) == 0
    shown = capsys.readouterr().out
    assert "downtime      43 ms (limit 300 ms)\n" in shown
    assert "226 MiB" in shown.splitlines()[-1]
    assert run(["migration-list"]) == 0
    _, row, total = capsys.readouterr().out.splitlines()
    told = ["m-1", "web-1", "live", "kvm-01", "kvm-02", "succeeded", "9.8", "s", "43"]
    assert row.split()[:9] == told
    assert total == "Total: 1"


def test_figures_of_a_silent_source_are_not_called_present(fleet, capsys):
    told = Sample(
        elapsed_ms=12_300,
        pass_number=3,
        memory_total_bytes=256 << 20,
        memory_processed_bytes=0,
        memory_remaining_bytes=65 << 20,
        bandwidth_bytes_per_s=0,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=300,
        throttle_percent=0,
    )
    fleet.samples = (told,)
    assert run(["migration-show", "m-1"]) == 0
    assert "now           pass 3" in capsys.readouterr().out
    reason = "kvm-01 does not answer, last heard 18 s ago"
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"], stalled_reason=reason
    )
    assert run(["migration-show", "m-1"]) == 0
    shown = capsys.readouterr().out
    assert f"stalled       {reason}\n" in shown
    assert "last known    pass 3  65 MiB left" in shown
    assert "now " not in shown


def test_cancel_names_what_will_stay(fleet, capsys):
    assert run(["server-cancel-live-migrate", "web-1"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "asked kvm-01 to keep web-1" in err
    assert fleet.changed == ["cancel m-1"]


def test_cancel_does_not_claim_to_have_asked_a_silent_source(fleet, capsys):
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"], stalled_reason="kvm-01 does not answer, last heard 18 s ago"
    )
    assert run(["server-cancel-live-migrate", "web-1"]) == 0
    err = capsys.readouterr().err
    assert "abort of web-1 noted, although kvm-01 does not answer, last heard 18 s ago" in err
    assert "asked" not in err


def test_cancel_goes_on_past_a_server_that_does_not_move(fleet, capsys):
    assert run(["server-cancel-live-migrate", "idle-1", "web-1"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "godwit: idle-1 is ready, so there is no migration to cancel"
    )
    assert fleet.changed == ["cancel m-1"]


def test_cancel_touches_nothing_when_one_name_is_unknown(fleet, capsys):
    assert run(["server-cancel-live-migrate", "web-1", "wbe-2"]) == 2
    assert error_of(capsys) == "no server is called 'wbe-2'"
    assert fleet.changed == []


def test_no_target_shows_the_candidates_below_the_sentence(fleet, capsys):
    fleet.refusal = GodwitError(
        ErrorCode.NO_TARGET, "no host fits web-1", candidates=tuple(fleet.candidates[:1])
    )
    assert run(["server-live-migrate", "web-1", "--wait"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "godwit: no host fits web-1",
        "Host    Fits  Filter     Verdict  Reason",
        "kvm-03  no    microcode  refused  microcode 0x42e on kvm-01, 0x428 on kvm-03",
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.CONFLICT, 1),
        (ErrorCode.LIBVIRT, 1),
        (ErrorCode.BAD_REQUEST, 2),
        (ErrorCode.AMBIGUOUS, 2),
        (ErrorCode.ETCD_UNREACHABLE, 3),
        (ErrorCode.AGENT_UNREACHABLE, 3),
        (ErrorCode.NOT_LEADING, 3),
        (ErrorCode.FORBIDDEN, 4),
    ],
)
def test_each_refusal_has_its_exit_status(fleet, code: ErrorCode, status: int, capsys):
    fleet.refusal = GodwitError(code, "the backend's own sentence")
    assert run(["server-live-migrate", "web-1"]) == status
    assert error_of(capsys) == "the backend's own sentence"


@pytest.mark.parametrize("name", ["nobody", "", "a/b", "..", "x\x1b[2J", "half\udcff"])
def test_what_no_server_is_called(name: str, fleet, capsys):
    assert run(["server-live-migrate", name]) == 2
    assert "no server is called" in error_of(capsys)
    assert fleet.changed == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["host-lst"], "No such command 'host-lst'"),
        (["host-list", "--hypervisor", "xen"], "'xen' is not 'kvm'"),
        (["server-live-migrate"], "Missing argument 'ID'"),
        (["server-live-migrate", "--bandwidth", "web-1"], "No such option"),
        (["server-live-migrate", "--prefer-host", "", "web-1"], "--prefer-host is empty"),
        (["--read-only", "server-live-migrate", "web-1"], "--read-only is for the console"),
        (["server-list", "\x1b[2J"], r"\x1b[2J"),
    ],
)
def test_bad_command_lines(arguments: list[str], part: str, fleet, capsys):
    assert run(arguments) == 2
    assert part in error_of(capsys)
    assert fleet.changed == []


def test_the_console_without_a_terminal(capsys):
    assert run([]) == 2
    assert "needs a terminal" in error_of(capsys)


def test_missing_configuration_is_told_before_anything_else(monkeypatch, capsys):
    monkeypatch.delenv("GODWIT_TOKEN_FILE")
    assert run(["host-list"]) == 2
    assert error_of(capsys).startswith("GODWIT_TOKEN_FILE is not set; in a lab, eval")
    assert run([]) == 2
    assert error_of(capsys).startswith("GODWIT_TOKEN_FILE is not set; in a lab, eval")


def test_options_win_over_the_environment(monkeypatch, environment, capsys):
    monkeypatch.setenv("GODWIT_BACKEND", "https://127.0.0.1:1")
    assert run(["--backend", environment["GODWIT_BACKEND"], "host-list"]) == 0
    assert "kvm-01" in capsys.readouterr().out


def test_a_token_that_others_can_read_is_not_sent(environment, capsys):
    Path(environment["GODWIT_TOKEN_FILE"]).chmod(0o644)
    assert run(["host-list"]) == 2
    assert "must be 0600" in error_of(capsys)


def test_a_wrong_token(environment, fleet, capsys):
    Path(environment["GODWIT_TOKEN_FILE"]).write_text("another", encoding="utf-8")
    assert run(["server-live-migrate", "web-1"]) == 4
    assert error_of(capsys) == "this token is not known here"
    assert fleet.changed == []


@pytest.mark.parametrize("token", ["two\nlines", "umläut", "bell\x07"])
def test_a_token_that_cannot_be_sent(token: str, environment, capsys):
    Path(environment["GODWIT_TOKEN_FILE"]).write_text(token, encoding="utf-8")
    assert run(["host-list"]) == 2
    sentence = error_of(capsys)
    assert environment["GODWIT_TOKEN_FILE"] in sentence
    assert token not in sentence


def test_a_token_file_of_random_bytes(environment, capsys):
    Path(environment["GODWIT_TOKEN_FILE"]).write_bytes(b"\xff\xfe\x00\x81" * 8)
    assert run(["host-list"]) == 2
    assert error_of(capsys).endswith("a token is one line of printable ASCII")


def use_tls(monkeypatch: pytest.MonkeyPatch, tls: TlsFiles) -> None:
    monkeypatch.setenv("GODWIT_CA_FILE", str(tls.ca_file))
    monkeypatch.setenv("GODWIT_CERT_FILE", str(tls.cert_file))
    monkeypatch.setenv("GODWIT_KEY_FILE", str(tls.key_file))


def test_a_backend_of_another_ca(monkeypatch, other_tls, fleet, capsys):
    use_tls(monkeypatch, other_tls["trusts another"])
    assert run(["server-live-migrate", "web-1"]) == 3
    assert "its certificate is not of the CA that we were told to trust" in error_of(capsys)
    assert fleet.changed == []


def test_our_own_certificate_of_another_ca(monkeypatch, other_tls, fleet, capsys):
    use_tls(monkeypatch, other_tls["shows another"])
    assert run(["server-live-migrate", "web-1"]) == 3
    assert "does not accept our certificate" in error_of(capsys)
    assert fleet.changed == []


def test_a_certificate_of_another_name(monkeypatch, backend, capsys):
    monkeypatch.setenv("GODWIT_BACKEND", backend.url.replace("127.0.0.1", "localhost"))
    assert run(["host-list"]) == 3
    assert "of our CA but for another name" in error_of(capsys)


def test_a_certificate_file_that_is_none(monkeypatch, environment, capsys):
    monkeypatch.setenv("GODWIT_CERT_FILE", environment["GODWIT_TOKEN_FILE"])
    assert run(["host-list"]) == 2
    assert "TLS files cannot be used" in error_of(capsys)


def test_nobody_listens(backend, capsys):
    backend.stop()
    assert run(["host-list"]) == 3
    assert error_of(capsys).startswith(f"{backend.url} cannot be reached: ")


def test_a_name_that_no_resolver_knows(monkeypatch, capsys):
    monkeypatch.setenv("GODWIT_BACKEND", "https://controller.invalid:8700")
    assert run(["host-list"]) == 3
    assert error_of(capsys).startswith("https://controller.invalid:8700 cannot be reached: ")


def test_a_backend_that_accepts_and_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(transport, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("GODWIT_BACKEND", url)
        assert run(["host-list"]) == 3
    assert "in time" in error_of(capsys)


def test_the_exit_statuses_are_documented(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for start in ("0   ", "1   ", "2   ", "3   ", "4   ", "130 "):
        assert f"\n    {start}" in out
    assert set(godwit.commands) <= set(out.split())
