"""Options of migrations, where they may go, and what changes them while they run."""

import io
import re

import msgspec
import pytest

from tui.cli import run
from wire.candidates import Candidate, FilterVerdict
from wire.errors import ErrorCode, GodwitError
from wire.forecast import Basis, Ease, Forecast
from wire.migration import (
    Kept,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Note,
    PostcopyState,
    Sample,
    Statistics,
)

pytestmark = pytest.mark.usefixtures("environment")

MIB = 1 << 20


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line.removeprefix("godwit: ")


def test_every_option_of_a_live_migration_reaches_the_backend(fleet):
    options = (
        "--skip-cpu-check --skip-kernel-check --enable-tls --quickly-finish --downtime-limit-ms 500"
        " --downtime-bound-ms 900 --max-bandwidth-mb 50 --keep-dest-guest-on-failed"
        " --prefer-host kvm-02"
    )
    assert run(["server-live-migrate", *options.split(), "web-1"]) == 0
    assert fleet.bodies == [
        MigrationOptions(
            prefer_host="kvm-02",
            max_bandwidth_bytes_per_s=50 * MIB,
            skip_cpu_check=True,
            skip_kernel_check=True,
            enable_tls=True,
            quickly_finish=True,
            downtime_limit_ms=500,
            downtime_bound_ms=900,
            keep_dest_guest_on_failed=True,
        )
    ]


@pytest.mark.parametrize("number", ["0", "-5", "fast", "1.5", "1_000", "", "9" * 60, "1000001"])
@pytest.mark.parametrize("verb", ["server-migrate", "server-live-migrate"])
def test_a_cap_that_is_none_is_refused_with_what_would_be_right(verb, number, fleet, capsys):
    assert run([verb, "--max-bandwidth-mb", number, "web-1"]) == 2
    shown = number if len(number) <= 24 else f"{number[:24]}…"
    assert error_of(capsys) == (
        f"--max-bandwidth-mb is {shown!r}, and should be a whole number of MiB/s, 1 to 1000000"
    )
    assert fleet.changed == []


@pytest.mark.parametrize("number", ["0", "-1", "soon", "2000001"])
@pytest.mark.parametrize("option", ["--downtime-limit-ms", "--downtime-bound-ms"])
def test_a_downtime_that_is_none_is_refused(option, number, fleet, capsys):
    assert run(["server-live-migrate", option, number, "web-1"]) == 2
    assert error_of(capsys) == (
        f"{option} is {number!r}, and should be a whole number of ms, 1 to 2000000"
    )
    assert fleet.changed == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--downtime-bound-ms", "900"],
            "--downtime-bound-ms 900 bounds --quickly-finish, which is not given",
        ),
        (
            ["--quickly-finish", "--downtime-bound-ms", "200"],
            "--downtime-bound-ms is 200, and should be at least the limit of 300 ms",
        ),
        (
            ["--quickly-finish", "--downtime-limit-ms", "4000"],
            "--downtime-bound-ms is 3000, and should be at least the limit of 4000 ms",
        ),
        (["--prefer-host", ""], "--prefer-host is empty; name a host, or leave the option out"),
        (["--auto-start"], "No such option"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, sentence, fleet, capsys):
    assert run(["server-live-migrate", *options, "web-1"]) == 2
    assert error_of(capsys).startswith(sentence)
    assert fleet.changed == []


def test_a_target_that_was_wanted_is_named_before_it_is_scheduled(fleet, capsys):
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"],
        target_host_name="",
        options=MigrationOptions(prefer_host="kvm-02"),
    )
    assert run(["server-live-migrate", "--prefer-host", "kvm-02", "web-1"]) == 0
    assert "web-1 moves from kvm-01 to kvm-02;" in capsys.readouterr().err


def test_a_risk_is_told_when_the_migration_begins(fleet, capsys):
    risk = "web-1 would lose the CPU feature pcid on kvm-03"
    fleet.migrations["m-1"] = msgspec.structs.replace(fleet.migrations["m-1"], risk=risk)
    assert run(["server-live-migrate", "--skip-cpu-check", "web-1"]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [f"risk: {risk}"]


def test_a_cold_migration_is_followed_by_bytes_and_told_as_one(fleet, capsys):
    cold = msgspec.structs.replace(
        fleet.migrations["m-1"], kind="cold", state=MigrationState.COPYING_DISKS
    )
    fleet.migrations["m-1"] = cold
    fleet.events += [
        msgspec.structs.replace(
            cold,
            state=MigrationState.FAILED,
            error="no space left on device",
            outcome="web-1 is stopped on kvm-01",
        )
    ]
    assert run(["server-migrate", "web-1", "--wait"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "migration m-1: web-1 goes from kvm-01 to kvm-02",
        "copying disks",
        "failed",
        (
            "godwit: cold migration of web-1 failed: no space left on device; "
            "web-1 is stopped on kvm-01"
        ),
    ]


@pytest.fixture
def skipped(fleet) -> None:
    """kvm-03 fits only because its microcode is not looked at."""
    lifted = FilterVerdict(
        filter="microcode",
        passed=True,
        skipped=True,
        reason="microcode 0x42e on kvm-01, 0x428 on kvm-03",
        wanted="0x42e",
        found="0x428",
    )
    fleet.candidates.append(
        Candidate(
            host_id="4",
            host_name="kvm-04",
            verdicts=(lifted,),
            weight=0.5,
            safe="web-1 loses nothing on kvm-04: it is safe although the microcode differs",
        )
    )


def test_a_forecast_shows_each_host_with_its_reason(capsys, fleet):
    assert run(["server-migrate-forecast", "--live-migrate", "web-1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Host    Fits  Filter     Verdict  Reason",
        "kvm-02  yes   -          passed   -",
        "kvm-03  no    microcode  refused  microcode 0x42e on kvm-01, 0x428 on kvm-03",
    ]
    assert fleet.queries[-1] == {
        "kind": "live",
        "skip_cpu_check": "false",
        "skip_kernel_check": "false",
    }
    one = ["server-migrate-forecast", "--live-migrate", "web-1", "--prefer-host"]
    assert run([*one, "kvm-03"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run([*one, "kvm-09"]) == 2
    assert error_of(capsys) == "no host is called 'kvm-09'"


@pytest.mark.usefixtures("skipped")
def test_a_skipped_check_is_shown_with_its_risk(capsys, fleet):
    assert run(["server-migrate-forecast", "--skip-cpu-check", "idle-1"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split()[:4] == ["kvm-04", "yes", "-", "safe"]
    assert "web-1 loses nothing on kvm-04" in rows[2]
    assert rows[3].split()[:4] == ["kvm-04", "yes", "microcode", "skipped"]
    assert fleet.queries[-1]["kind"] == "cold"
    assert fleet.queries[-1]["skip_cpu_check"] == "true"


@pytest.mark.usefixtures("skipped")
def test_the_details_have_every_filter_with_both_values(capsys):
    assert run(["server-migrate-forecast", "--details", "--live-migrate", "web-1"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Host", "Fits", "Filter", "Verdict", "Wanted", "Found", "Reason"]
    assert ["kvm-03", "no", "online", "passed"] in [row.split()[:4] for row in rows]
    assert ["kvm-04", "yes", "microcode", "skipped", "0x42e", "0x428"] in [
        row.split()[:6] for row in rows
    ]


@pytest.mark.parametrize(
    ("options", "changed", "told"),
    [
        (
            ["--max-bandwidth-mb", "50"],
            MigrationParameters(max_bandwidth_bytes_per_s=50 * MIB),
            "at most 50 MiB/s",
        ),
        (
            ["--downtime-limit-ms", "800", "--max-bandwidth-mb", "2048"],
            MigrationParameters(max_bandwidth_bytes_per_s=2048 * MIB, downtime_limit_ms=800),
            "at most 2 GiB/s and a downtime limit of 800 ms",
        ),
        (["--no-bandwidth-limit"], MigrationParameters(no_bandwidth_limit=True), "no cap"),
    ],
)
def test_parameters_change_while_it_runs(options, changed, told, fleet, capsys):
    assert run(["server-set-live-migrate-params", *options, "web-1"]) == 0
    assert fleet.changed == ["parameters m-1"]
    assert fleet.bodies == [changed]
    assert capsys.readouterr().err == f"the migration of web-1 has {told} from now on\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "nothing to change: give --max-bandwidth-mb, --no-bandwidth-limit or "),
        (["--max-bandwidth-mb", "5", "--no-bandwidth-limit"], "--max-bandwidth-mb sets a cap and "),
        (["--max-bandwidth-mb", "0"], "--max-bandwidth-mb is '0', and should be a whole number"),
        (["--max-bandwidth-mb", "-3"], "--max-bandwidth-mb is '-3', and should be a whole number"),
    ],
)
def test_parameters_that_change_nothing_are_refused(options, sentence, fleet, capsys):
    assert run(["server-set-live-migrate-params", *options, "web-1"]) == 2
    assert error_of(capsys).startswith(sentence)
    assert fleet.changed == []


@pytest.mark.parametrize(
    ("verb", "call"),
    [("server-switch-to-postcopy", "postcopy"), ("server-recover-postcopy", "recover")],
)
def test_postcopy_is_asked_for_by_server(verb, call, fleet, capsys):
    assert run([verb, "web-1"]) == 0
    assert fleet.changed == [f"{call} m-1"]
    assert "kvm-0" in capsys.readouterr().err
    assert run([verb, "idle-1"]) == 1
    assert error_of(capsys) == "idle-1 is ready: it is in no migration to change"


def test_settling_names_the_host_to_keep(fleet, capsys):
    assert run(["server-settle", "web-1"]) == 2
    assert "Missing option '--keep-host'" in error_of(capsys)
    assert run(["server-settle", "--keep-host", "", "web-1"]) == 2
    assert error_of(capsys).startswith("--keep-host is empty")
    assert run(["server-settle", "--keep-host", "kvm-02", "web-1"]) == 0
    assert fleet.changed == ["settle web-1 kvm-02"]
    assert capsys.readouterr().err == "web-1 is running on kvm-02\n"


@pytest.mark.parametrize(("typed", "status"), [("web-1", 0), ("web-2", 2), ("", 2)])
def test_forgetting_wants_the_name_once_more(typed, status, fleet, capsys, monkeypatch):
    assert run(["server-forget", "web-1", "--yes", typed]) == status
    assert fleet.changed == (["forget web-1"] if status == 0 else [])
    words = "web-1 is forgotten" if status == 0 else "nothing was done"
    assert words in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("web-1\n"))
    assert run(["server-forget", "web-1"]) == 2
    assert "needs --yes web-1" in error_of(capsys)


def test_kept_files_are_shown_and_removed(fleet, capsys):
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"],
        kept=(Kept(kind="disk", path="/srv/images/web-1.qcow2", size_bytes=3 << 30),),
        state=MigrationState.FAILED,
    )
    assert run(["migration-show", "m-1"]) == 0
    shown = capsys.readouterr().out
    assert "on kvm-02:" in shown
    assert "disk  /srv/images/web-1.qcow2  3 GiB" in shown
    assert "godwit migration-remove-kept m-1" in shown
    assert run(["migration-remove-kept", "m-1"]) == 0
    assert fleet.changed == ["remove-kept m-1"]
    assert "1 of the kept files are left on kvm-02" in capsys.readouterr().err


def test_a_record_tells_options_changes_notes_and_risk(fleet, capsys):
    fleet.samples = (sample(COPY),)
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"],
        state=MigrationState.COPYING_DISKS,
        options=MigrationOptions(skip_cpu_check=True, max_bandwidth_bytes_per_s=100 * MIB),
        parameters=MigrationParameters(downtime_limit_ms=812),
        postcopy=PostcopyState.PAUSED,
        notes=(Note(at_ms=1_700_000_001_000, text="downtime limit set to 812 ms", by="bob"),),
        risk="web-1 loses pcid",
        safe="web-1 loses nothing else",
    )
    assert run(["migration-show", "m-1"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "options       --skip-cpu-check --max-bandwidth-mb 100\n",
        "changed       downtime limit 812 ms\n",
        "risk          web-1 loses pcid\n",
        "safe          web-1 loses nothing else\n",
        "post-copy     paused\n",
        "downtime limit set to 812 ms (by bob)\n",
        "now           25 %  256 MiB of 1 GiB  105 MiB/s  12.3 s\n",
    ):
        assert line in shown


@pytest.mark.parametrize(
    ("kind", "told"),
    [("live", "0 B of memory, 256 MiB of disks, holes included\n"), ("cold", "256 MiB of disks\n")],
)
def test_holes_count_as_bytes_of_disks_that_moved_live(kind, told, fleet, capsys):
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"],
        kind=kind,
        state=MigrationState.SUCCEEDED,
        statistics=Statistics(total_ms=9, disk_transferred_bytes=256 * MIB),
    )
    assert run(["migration-show", "m-1"]) == 0
    assert told in capsys.readouterr().out


COPY = {"disk_remaining_bytes": 768 * MIB, "disk_bandwidth_bytes_per_s": 105 * MIB}


def sample(figures: dict[str, int]) -> Sample:
    return Sample(
        elapsed_ms=12_300,
        pass_number=0,
        memory_total_bytes=0,
        memory_processed_bytes=0,
        memory_remaining_bytes=0,
        bandwidth_bytes_per_s=0,
        dirty_bytes_per_s=0,
        expected_downtime_ms=0,
        downtime_limit_ms=300,
        throttle_percent=0,
        disk_total_bytes=1024 * MIB,
        **figures,
    )


def test_migrations_of_one_server(fleet, capsys):
    assert run(["migration-list", "--server", "web-1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Total: 1"
    assert run(["migration-list", "--server", "idle-1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Total: 0"
    assert run(["migration-list", "--server", "wbe-1"]) == 2
    assert error_of(capsys) == "no server is called 'wbe-1'"


def test_one_server_and_one_host_in_full(capsys):
    assert run(["server-show", "idle-1"]) == 0
    shown = capsys.readouterr().out
    assert "targets          kvm-02\n" in shown
    assert (
        "hda              shared, in no pool, raw, 1 MiB, 0 B in use, /srv/shared/web-1.raw"
        in shown
    )
    assert run(["host-show", "kvm-02"]) == 0
    shown = capsys.readouterr().out
    assert "pool shared    shared, 512 MiB free of 1 GiB, /srv/shared\n" in shown
    assert "post-copy      cannot receive\n" in shown
    assert run(["host-show", "kvm-09"]) == 2
    assert error_of(capsys) == "no host is called 'kvm-09'"


def test_nothing_fits_shows_the_table_while_waiting_too(fleet, capsys):
    fleet.refusal = GodwitError(
        ErrorCode.NO_TARGET, "no host fits web-1", candidates=tuple(fleet.candidates[:1])
    )
    assert run(["server-migrate", "web-1", "--wait"]) == 1
    assert capsys.readouterr().err.splitlines()[1].split() == [
        *("Host", "Fits", "Filter", "Verdict", "Reason"),
    ]


def test_what_a_move_was_expected_to_take_stands_in_its_record(fleet, capsys):
    told = Forecast(
        ease=Ease.STUCK,
        basis=Basis.PAST_MOVE,
        total_ms=9_000,
        low_ms=7_000,
        high_ms=13_500,
        sent_bytes=220 * MIB,
        downtime_ms=1_400,
        lever="a pause of 1400 ms lets it finish",
    )
    fleet.migrations["m-1"] = msgspec.structs.replace(
        fleet.migrations["m-1"], forecast=told, evacuation_id="e-1"
    )
    assert run(["migration-show", "m-1"]) == 0
    shown = dict(
        re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert shown["evacuation"] == "e-1"
    assert shown["forecast"] == (
        "9.0 s (7.0 s to 13.5 s), 220 MiB, pause 1.4 s, stuck, from the last move"
    )
    assert shown["lever"] == told.lever
