"""Emptying and filling hosts from the command line: plan, consent, wishes, wait, steering."""

import io
import json
import re

import msgspec
import pytest

from tui.cli import run
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    EvacuationState,
    MoveOptions,
    MoveState,
    Plan,
    PlanEdit,
    PlannedMove,
    PlanRequest,
    ReturnRequest,
    ServersOf,
    Way,
)
from wire.forecast import Basis, Ease, Forecast, LinkRate
from wire.migration import MigrationOptions, Note

pytestmark = pytest.mark.usefixtures("environment")

MIB = 1 << 20
NOW_MS = 1_795_435_200_000
changed = msgspec.structs.replace


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def words_of(capsys) -> list[str]:
    """What was told on stderr, without the program's name."""
    return [each.removeprefix("godwit: ") for each in capsys.readouterr().err.splitlines()]


def forecast(total_ms: int, **more: object) -> Forecast:
    fields = {
        "ease": Ease.EASY,
        "basis": Basis.MEASURED,
        "low_ms": total_ms - 1_000,
        "high_ms": total_ms + 1_000,
        "sent_bytes": 220 * MIB,
        "downtime_ms": 40,
    }
    return Forecast(**fields | {"total_ms": total_ms} | more)


def move(number: int, name: str, way: Way, **more: object) -> PlannedMove:
    return PlannedMove(
        server_id=f"s-{number}",
        server_name=name,
        way=way,
        source_host_id="h-1",
        source_host_name="kvm-01",
        **more,
    )


@pytest.fixture
def plan(fleet) -> Plan:
    """kvm-01: an easy, a stuck and a stopped server leave it, one stays."""
    planned = Plan(
        kind=EvacuationKind.EVACUATE,
        host_id=fleet.hosts[0].facts.host_id,
        host_name="kvm-01",
        moves=(
            move(
                1,
                "web-1",
                Way.LIVE,
                target_host_name="kvm-02",
                forecast=forecast(9_000),
                ends_in_s=9,
            ),
            move(
                2,
                "hot-1",
                Way.LIVE,
                target_host_name="kvm-02",
                pinned=True,
                forecast=forecast(
                    125_000, ease=Ease.STUCK, basis=Basis.GUESSED, lever="needs a pause of 1.4 s"
                ),
                why="goes alone: it needs the whole link",
                starts_in_s=9,
                ends_in_s=134,
                options=MigrationOptions(quickly_finish=True, prefer_host="kvm-02"),
            ),
            move(3, "old-1", Way.COLD, target_host_name="kvm-02", starts_in_s=134, ends_in_s=140),
            move(4, "usb-1", Way.STAYS, why="it has a passed-through device"),
        ),
        made_at_ms=NOW_MS,
        finish_in_s=140,
        finish_low_s=120,
        finish_high_s=200,
        sent_bytes=900 * MIB,
        link=LinkRate(bytes_per_s=47 * MIB, measured_at_ms=NOW_MS, stream_bytes_per_s=20 * MIB),
        warnings=("usb-1 blocks the host: shut it down, or take its device away",),
    )
    fleet.plans = [planned, changed(planned, host_id="h-2", host_name="kvm-02")]
    return planned


def emptied(number: int, host: str, *servers: EvacuatedServer, **more: object) -> Evacuation:
    fields = {"kind": EvacuationKind.EVACUATE, "created_at_ms": NOW_MS, "requested_by": "alice"}
    return Evacuation(
        evacuation_id=f"e-{number}",
        host_id=f"0000000{number}-0000-4000-8000-000000000000",
        host_name=host,
        servers=servers,
        **fields | more,
    )


@pytest.fixture
def running(fleet, plan) -> Evacuation:
    """Of kvm-01: one server has left, one moves, one waits, one stayed."""
    web, hot, old, usb = plan.moves
    case = emptied(
        1,
        "kvm-01",
        EvacuatedServer(
            plan=web,
            state=MoveState.LEFT,
            tries=1,
            started_at_ms=NOW_MS,
            ended_at_ms=NOW_MS + 9_400,
            downtime_ms=43,
            sent_bytes=226 * MIB,
            forecast=web.forecast,
        ),
        EvacuatedServer(plan=hot, state=MoveState.MOVING, tries=1, started_at_ms=NOW_MS + 9_400),
        EvacuatedServer(plan=old, state=MoveState.WAITING, reason="hot-1 needs the whole link"),
        EvacuatedServer(plan=usb, state=MoveState.STAYED),
        planned_finish_s=140,
        finish_at_ms=NOW_MS + 150_000,
        finish_low_ms=NOW_MS + 130_000,
        finish_high_ms=NOW_MS + 190_000,
        sending_bytes_per_s=46 * MIB,
        notes=(Note(at_ms=NOW_MS, text="put hot-1 to kvm-02", by="bob"),),
    )
    fleet.evacuations = [case]
    return case


def ended(evacuation: Evacuation, **states: MoveState) -> Evacuation:
    """The same at its end: each named server as given, the others as they are."""
    servers = [
        changed(
            each,
            state=states.get(each.plan.server_name.replace("-", "_"), each.state),
            ended_at_ms=NOW_MS + 140_000,
        )
        for each in evacuation.servers
    ]
    return changed(
        evacuation,
        state=EvacuationState.ENDED,
        servers=tuple(servers),
        ended_at_ms=NOW_MS + 152_000,
    )


# The plan


def test_the_plan_as_a_table(plan, fleet, capsys):
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "Plan: Evacuation of kvm-01: 2 leave, 1 waits for you, 1 stays"
    cells = [re.split(r"  +", each.strip()) for each in lines[2:7]]
    assert cells == [
        ["#", "Server", "Way", "Target", "Ease", "Time", "Pause", "Starts", "Ends"],
        ["1", "web-1", "live", "kvm-02", "easy", "9.0 s", "40 ms", "0:00", "0:09"],
        ["2", "hot-1", "live", "kvm-02", "stuck", "2 min 05 s", "40 ms", "-", "-"],
        ["3", "old-1", "cold", "kvm-02", "-", "-", "-", "2:14", "2:20"],
        ["-", "usb-1", "stays", "-", "-", "-", "-", "-", "-"],
    ]
    band = r"2 min 20 s \(2 min 00 s to 3 min 20 s\)"
    assert re.search(rf"total +{band} for what leaves; hot-1 waits for you\n", out)
    assert re.search(r"rests on +1 measured, 1 guessed", out)
    assert re.search(r"link +47 MiB/s, measured .*, one move alone 20 MiB/s", out)
    for sentence in (
        "hot-1: goes alone: it needs the whole link",
        "hot-1 waits: needs a pause of 1.4 s",
        "hot-1 goes to kvm-02 only, --quickly-finish",
        "usb-1 stays: it has a passed-through device",
        "usb-1 blocks the host: shut it down, or take its device away",
    ):
        assert f"  {sentence}" in lines
    assert fleet.changed == []


def test_what_a_server_and_a_warning_say_alike_is_said_once(plan, fleet, capsys):
    sentence = "usb-1 stays: it has a passed-through device"
    fleet.plans = [changed(plan, warnings=(sentence, "kvm-01 is being shut down"))]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(f"  {sentence}") == 1
    assert lines[-2:] == ["Warnings:", "  kvm-01 is being shut down"]


def test_a_plan_in_which_nothing_waits_says_when_it_is_done(plan, fleet, capsys):
    fleet.plans = [changed(plan, moves=(plan.moves[0], *plan.moves[2:]))]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"total +2 min 20 s \(2 min 00 s to 3 min 20 s\), done \S+ \S+ if", out)


def test_what_is_so_of_several_servers_is_told_once_with_their_names(plan, fleet, capsys):
    web, *_, usb = plan.moves
    why = "none of 2 hosts takes it, the nearest is kvm-02: microcode 0x1"
    names = ["a-1", "a-2", "a-3"]
    alike = tuple(changed(usb, server_id=each, server_name=each, why=why) for each in names)
    told = (f"a-1, a-2, a-3 stay: {why}", "so it is", "2 more servers stay, each with its reason")
    fleet.plans = [changed(plan, moves=(web, *alike, usb), warnings=told)]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("Servers:") + 1 :] == [
        f"  a-1, a-2, a-3 stay: {why}",
        "  usb-1 stays: it has a passed-through device",
        "",
        "Warnings:",
        "  so it is",
    ]


def test_what_a_stuck_server_waits_for_is_said_once(plan, fleet, capsys):
    web, hot, *others = plan.moves
    lever = hot.forecast.lever
    hot = changed(hot, why=f"the kernel differs; {lever}")
    fleet.plans = [changed(plan, moves=(web, hot, *others), warnings=(f"hot-1 waits: {lever}",))]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    out = capsys.readouterr().out
    assert out.count(lever) == 1
    assert "  hot-1: the kernel differs\n" in out
    fleet.plans = [changed(plan, moves=(web, changed(hot, why=lever), *others), warnings=())]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    out = capsys.readouterr().out
    assert (out.count(lever), out.count("hot-1: ")) == (1, 0)


@pytest.mark.usefixtures("plan")
def test_the_plan_as_json_is_the_wires_own(fleet, capsys):
    assert run(["host-evacuate", "--dry-run", "--json", "kvm-01", "kvm-02"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=list[Plan]) == fleet.plans
    assert run(["host-return", "--dry-run", "--json", "kvm-02"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Plan) == fleet.plans[1]


def test_a_rescue_sends_nothing_and_says_what_stays_stopped(plan, fleet, capsys):
    runs, stopped, _, stays = plan.moves
    options = MigrationOptions(auto_start=True)
    runs = changed(runs, way=Way.RESCUE, forecast=None, options=options)
    stopped = changed(stopped, way=Way.RESCUE, forecast=None, why="", options=MigrationOptions())
    rescue = changed(
        plan, kind=EvacuationKind.RESCUE, moves=(runs, stopped, stays), warnings=(), link=None
    )
    fleet.plans = [rescue]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Plan: Rescue from kvm-01: 2 are rescued, 1 stays\n")
    lines = out.splitlines()
    assert not any(line.startswith(("sends", "link", "rests on")) for line in lines)
    assert lines[lines.index("Servers:") + 1 :] == [
        "  hot-1 did not run: it is defined there, and stays stopped",
        "  hot-1 goes to kvm-02 only",
        "  usb-1 stays: it has a passed-through device",
    ]


def test_a_deadline_that_cannot_be_kept_stands_with_its_lever(plan, fleet, capsys):
    fleet.plans = [changed(plan, deadline="1 min too late; hot-1 left alone would make it")]
    assert run(["host-evacuate", "--dry-run", "--empty-by", "2099-11-27T04:30", "kvm-01"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"empty by +2099-11-27 04:30:00", told)
    assert re.search(r"deadline +1 min too late; hot-1 left alone", told)


def test_a_refused_plan_is_shown_and_begins_nothing(plan, fleet, capsys):
    fleet.plans = [changed(plan, refusals=("kvm-01 is being emptied since 04:00 by bob.",))]
    assert run(["host-evacuate", "--dry-run", "kvm-01"]) == 1
    out, err = capsys.readouterr()
    assert "  kvm-01 is being emptied since 04:00 by bob." in out.splitlines()
    title = "Plan: Evacuation of kvm-01: refused as it is, else 2 leave, 1 waits for you, 1 stays"
    assert out.splitlines()[0] == title
    assert "if it starts now" not in out
    assert err == "godwit: kvm-01 is being emptied since 04:00 by bob\n"
    assert run(["host-evacuate", "--yes", "kvm-01"]) == 1
    assert capsys.readouterr() == ("", err)
    assert fleet.changed == []


def test_names_from_outside_command_no_terminal(plan, running, fleet, capsys):
    evil = "a\x1b[31m\nb\u202e"
    bad = changed(plan.moves[3], server_name=evil, why=evil)
    fleet.plans = [changed(plan, moves=(bad,), warnings=(evil,), deadline=evil)]
    server = changed(running.servers[2], plan=bad, reason=evil)
    note = Note(at_ms=1, text=evil, by=evil)
    fleet.evacuations = [
        changed(running, servers=(server,), notes=(note,), host_name=evil, requested_by=evil)
    ]
    for verb in (
        ["host-evacuate", "--dry-run", "kvm-01"],
        ["evacuation-list"],
        ["evacuation-show", "e-1"],
        ["evacuation-show", "--markdown", "e-1"],
        ["evacuation-pause", "e-1"],
    ):
        assert run(verb) == 0
        out, err = capsys.readouterr()
        assert all(each.isprintable() for each in (out + err).split("\n"))


# Consent


@pytest.mark.usefixtures("plan", "running")
def test_without_a_terminal_nothing_begins_without_yes(fleet, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("kvm-01\n"))
    assert run(["host-evacuate", "kvm-01"]) == 2
    assert "host-evacuate kvm-01 needs --yes" in words_of(capsys)[0]
    assert fleet.changed == []


@pytest.mark.usefixtures("plan", "running")
def test_yes_sums_the_plan_up_and_begins(fleet, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["host-evacuate", "--yes", "kvm-01"]) == 0
    out, err = capsys.readouterr()
    counts = "1 left, 1 waiting, 1 moving, 1 stayed"
    assert out == "e-1\n"
    assert err.splitlines() == [
        (
            "Evacuation of kvm-01: 2 leave, 1 waits for you, 1 stays, those that leave in "
            "2 min 20 s (2 min 00 s to 3 min 20 s)"
        ),
        "warning: usb-1 blocks the host: shut it down, or take its device away",
        f"Evacuation of kvm-01 has begun, {counts}; see it with: godwit evacuation-show kvm-01",
    ]
    assert fleet.changed == ["evacuate kvm-01"]
    assert fleet.bodies[-1] == PlanRequest(hosts=("kvm-01",), confirmed=("kvm-01",))


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("typed", "begins"),
    [("kvm-02 kvm-01", True), ("kvm-01", False), ("kvm-01 kvm-02 kvm-03", False), ("y", False)],
)
def test_on_a_terminal_every_name_is_typed_below_the_plan(
    running, fleet, capsys, monkeypatch, typed, begins
):
    fleet.evacuations.append(changed(running, evacuation_id="e-2", host_name="kvm-02"))
    monkeypatch.setattr("sys.stdin", _Terminal(f"{typed}\n"))
    hosts = [each.facts.host_id for each in fleet.hosts]
    assert run(["host-evacuate", *hosts]) == (0 if begins else 2)
    out, err = capsys.readouterr()
    assert "usb-1 stays: it has a passed-through device" in err
    assert "hot-1 waits: needs a pause" in err
    assert "Type the hosts' names" in err
    if begins:
        assert out == "e-1\ne-2\n"
        assert fleet.bodies[-1].confirmed == ("kvm-01", "kvm-02")
    else:
        assert (out, fleet.changed) == ("", [])
        assert "nothing was begun" in err


@pytest.mark.usefixtures("plan", "running")
def test_what_the_backend_refuses_meanwhile_keeps_its_sentence(fleet, capsys):
    fleet.refusal = GodwitError(ErrorCode.CONFLICT, "kvm-01 is being emptied by bob")
    assert run(["host-evacuate", "--yes", "kvm-01"]) == 1
    assert words_of(capsys)[-1] == "kvm-01 is being emptied by bob"


def test_what_begins_otherwise_than_the_plan_that_was_agreed_to_is_said(
    plan, running, fleet, capsys
):
    web, hot, old, usb = running.servers
    there = changed(web.plan, target_host_id="h-3", target_host_name="kvm-03")
    stays = changed(old.plan, way=Way.STAYS, why="nothing fits")
    late = changed(hot.plan, server_id="s-9", server_name="late-1")
    fleet.evacuations = [
        changed(
            running,
            host_id=plan.host_id,
            planned_finish_s=70,
            servers=(
                *(
                    changed(each, plan=move)
                    for each, move in ((web, there), (old, stays), (hot, late), (usb, usb.plan))
                ),
            ),
        )
    ]
    assert run(["host-evacuate", "--yes", "kvm-01"]) == 0
    assert words_of(capsys)[2] == (
        "kvm-01 is not as planned before: web-1 goes to kvm-03, not kvm-02, "
        "old-1 stays: nothing fits, late-1 has turned up and goes to kvm-02, "
        "hot-1 is not there any more, it takes 1 min 10 s, not 2 min 20 s"
    )


# Wishes


@pytest.mark.usefixtures("plan", "running")
def test_every_wish_reaches_the_backend(fleet):
    arguments = (
        "--yes --enable-tls --quickly-finish --skip-cpu-check --skip-kernel-check"
        " --downtime-limit-ms 500 --downtime-bound-ms 900 --max-bandwidth-mb 50 --keep-spare"
        " --empty-by 2099-11-27T04:30:00Z --move web-1=kvm-02 --first web-1 --stay usb-1"
        " --go old-1=cold --set hot-1:quickly-finish --set hot-1:downtime-limit-ms=800"
        " --set web-1:enable-tls=no kvm-01"
    )
    assert run(["host-evacuate", *arguments.split()]) == 0
    assert fleet.bodies[-1] == PlanRequest(
        hosts=("kvm-01",),
        options=MoveOptions(
            enable_tls=True,
            quickly_finish=True,
            skip_cpu_check=True,
            skip_kernel_check=True,
            downtime_limit_ms=500,
            downtime_bound_ms=900,
        ),
        max_bandwidth_bytes_per_s=50 * MIB,
        keep_spare=True,
        empty_by_ms=4_099_437_000_000,
        edits=(
            PlanEdit(
                server="web-1",
                target="kvm-02",
                first=True,
                options=MoveOptions(enable_tls=False),
            ),
            PlanEdit(server="usb-1", way=Way.STAYS),
            PlanEdit(server="old-1", way=Way.COLD),
            PlanEdit(
                server="hot-1", options=MoveOptions(quickly_finish=True, downtime_limit_ms=800)
            ),
        ),
        confirmed=("kvm-01",),
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--move web-1", "--move is 'web-1', and should be SERVER=HOST"),
        ("--move =kvm-02", "--move is '=kvm-02', and should be SERVER=HOST"),
        (
            "--move a=kvm-02 --move a=kvm-03",
            "--move gives a two targets: kvm-02 and kvm-03",
        ),
        ("--stay a --move a=kvm-02", "a cannot both stay and go to kvm-02"),
        ("--stay a --go a=live", "--go gives a two ways: stays and live"),
        ("--go a=warm", "--go is 'a=warm', and should be a=live or a=cold"),
        ("--set a:fast", "--set is 'a:fast', and should be SERVER:OPTION or"),
        ("--set quickly-finish", "--set is 'quickly-finish', and should be SERVER:OPTION or"),
        ("--set a:enable-tls=1", "enable-tls of a is '1', and should be yes or no"),
        ("--set a:downtime-limit-ms", "downtime-limit-ms of a is '', and should be a whole number"),
        ("--empty-by 25:00", "--empty-by is '25:00', and should be HH:MM, or a date and a time"),
        ("--empty-by 2020-01-01T00:00", "--empty-by is '2020-01-01T00:00', which is past"),
        (
            "--downtime-bound-ms 900",
            "--downtime-bound-ms 900 bounds --quickly-finish, which is not",
        ),
        (
            "--set a:quickly-finish --downtime-limit-ms 4000",
            "--downtime-bound-ms is 3000, and should be at least the limit of 4000 ms",
        ),
        (
            "--set a:downtime-bound-ms=5000",
            "downtime-bound-ms of a is 5000 and bounds its quickly-finish, which is not on; add",
        ),
        (
            "--quickly-finish --set a:quickly-finish=no --set a:downtime-bound-ms=5000",
            "downtime-bound-ms of a is 5000 and bounds its quickly-finish, which is not on",
        ),
        ("--dry-run --wait", "--wait waits for what begins, and --dry-run begins nothing"),
    ],
)
def test_wishes_that_cannot_be_meant_are_refused(arguments, sentence, fleet, capsys):
    assert run(["host-evacuate", "--yes", *arguments.split(), "kvm-01"]) == 2
    (told,) = words_of(capsys)
    assert told.startswith(sentence)
    assert fleet.bodies == []


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize("on", ["--set hot-1:quickly-finish", "--quickly-finish"])
def test_a_bound_of_its_own_for_one_that_quickly_finishes(fleet, on):
    arguments = f"--dry-run {on} --set hot-1:downtime-bound-ms=5000 kvm-01"
    assert run(["host-evacuate", *arguments.split()]) == 0
    (edit,) = fleet.bodies[0].edits
    assert edit.options.downtime_bound_ms == 5000


def test_a_bound_for_one_server_that_quickly_finishes(plan, fleet):
    arguments = "--dry-run --set hot-1:quickly-finish --downtime-bound-ms 900 kvm-01"
    assert run(["host-evacuate", *arguments.split()]) == 0
    assert fleet.bodies[0].options == MoveOptions(downtime_bound_ms=900)


def test_a_cap_without_its_number_means_none(plan, fleet):
    assert run(["host-evacuate", "kvm-01", "--dry-run", "--max-bandwidth-mb"]) == 0
    assert fleet.bodies[0].max_bandwidth_bytes_per_s is None


# The wait


def test_the_wait_tells_each_server_and_ends_with_the_report(running, plan, fleet, capsys):
    done = ended(running, hot_1=MoveState.LEFT, old_1=MoveState.LEFT)
    done = changed(
        done, servers=(*done.servers[:3], changed(done.servers[3], state=MoveState.LEFT))
    )
    fleet.events += [changed(running, state=EvacuationState.PAUSED), done]
    assert run(["host-evacuate", "--yes", "--wait", "kvm-01"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Evacuation of kvm-01: ended, 4 left")
    told = err.splitlines()
    assert told[2:6] == [
        "kvm-01: put hot-1 to kvm-02 (by bob)",
        "kvm-01: web-1 left, on kvm-02: 9.4 s, pause 43 ms, 226 MiB sent",
        "kvm-01: hot-1 goes to kvm-02",
        "kvm-01: old-1 waits: hot-1 needs the whole link",
    ]
    assert "kvm-01: paused: nothing new begins, and what moves goes on to its end" in told
    assert told[-1] == "kvm-01: ended: all 4 servers have left"


def test_a_host_that_is_not_empty_is_no_success(running, plan, fleet, capsys):
    fleet.events.append(ended(running, hot_1=MoveState.FAILED, old_1=MoveState.LEFT))
    assert run(["host-evacuate", "--yes", "--wait", "--json", "kvm-01"]) == 1
    out, err = capsys.readouterr()
    assert msgspec.json.decode(out, type=list[Evacuation]) == fleet.events
    assert err.splitlines()[-1] == "godwit: kvm-01 is not empty: hot-1 failed, usb-1 stayed"


def test_a_server_that_was_wished_to_stay_is_no_failure(running, plan, fleet):
    done = ended(running, hot_1=MoveState.LEFT, old_1=MoveState.LEFT)
    usb = changed(done.servers[3], plan=changed(plan.moves[3], chosen_way=True))
    fleet.events.append(changed(done, servers=(*done.servers[:3], usb)))
    assert run(["host-evacuate", "--yes", "--wait", "kvm-01"]) == 0


def test_the_wait_is_for_every_host(running, plan, fleet, capsys):
    other = changed(running, evacuation_id="e-2", host_name="kvm-02")
    fleet.evacuations = [running, other]
    states = {"hot_1": MoveState.LEFT, "old_1": MoveState.LEFT}
    fleet.events += [ended(other, **states), changed(running, sending_bytes_per_s=1)]
    fleet.events.append(ended(running, **states))
    assert run(["host-evacuate", "--yes", "--wait", "kvm-01", "kvm-02"]) == 1
    out, err = capsys.readouterr()
    assert out.index("Evacuation of kvm-01") < out.index("Evacuation of kvm-02")
    assert "kvm-01 is not empty: usb-1 stayed; kvm-02 is not empty: usb-1 stayed" in err


def test_interrupting_the_wait_says_that_it_goes_on(running, plan, fleet, capsys, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tui.commands.evacuation_progress.EvacuationProgress._draw", interrupt)
    assert run(["host-evacuate", "--yes", "--wait", "kvm-01"]) == 130
    assert words_of(capsys)[-1] == (
        "interrupted, but it goes on without us; see it with: godwit evacuation-show kvm-01"
    )
    assert fleet.changed == ["evacuate kvm-01"]


# Return


def test_a_return_is_planned_agreed_to_and_begun(plan, running, fleet, capsys):
    back = changed(plan, kind=EvacuationKind.RETURN, moves=plan.moves[:1], warnings=())
    fleet.plans = [back]
    fleet.evacuations = [changed(running, kind=EvacuationKind.RETURN)]
    assert run(["host-return", "kvm-01", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Plan: Return to kvm-01: 1 comes back")
    assert re.search(r"# +Server +Way +From", out)
    arguments = "--yes --max-bandwidth-mb 20 --quickly-finish --stay old-1 kvm-01"
    assert run(["host-return", *arguments.split()]) == 0
    assert capsys.readouterr().out == "e-1\n"
    assert fleet.bodies[-1] == ReturnRequest(
        options=MoveOptions(quickly_finish=True),
        max_bandwidth_bytes_per_s=20 * MIB,
        edits=(PlanEdit(server="old-1", way=Way.STAYS),),
    )
    assert run(["host-return", "--yes", "--json", "kvm-01"]) == 0
    assert json.loads(capsys.readouterr().out)["evacuation_id"] == "e-1"


# Maintenance


def test_maintenance_of_several_hosts(fleet, capsys):
    assert run(["host-maintenance", "kvm-01", "kvm-09", "kvm-02"]) == 2
    told = words_of(capsys)
    assert told[0].startswith("kvm-01 is in maintenance: no server comes to it until")
    assert told[2] == "kvm-09: no host is called 'kvm-09'"
    first = fleet.hosts[0]
    fleet.hosts[0] = changed(first, policy=changed(first.policy, maintenance=True))
    assert run(["host-exit-maintenance", "kvm-01"]) == 0
    assert words_of(capsys) == ["kvm-01 takes servers again"]
    assert fleet.changed == [
        "maintenance kvm-01 on",
        "maintenance kvm-02 on",
        "maintenance kvm-01 off",
    ]


def test_of_a_host_in_service_nothing_is_ended_and_what_left_it_is_named_if_anything_did(
    running, fleet, capsys
):
    assert run(["host-exit-maintenance", "kvm-02"]) == 0
    assert words_of(capsys) == ["kvm-02 was not in maintenance"]
    first = fleet.hosts[0]
    fleet.evacuations = [changed(ended(running), host_id=first.facts.host_id)]
    fleet.hosts[0] = changed(first, policy=changed(first.policy, maintenance=True))
    assert run(["host-exit-maintenance", "kvm-01"]) == 0
    back = "what left it comes back by godwit host-return kvm-01"
    assert words_of(capsys) == [f"kvm-01 takes servers again; {back}"]


def test_hosts_show_their_maintenance_and_what_is_open_about_them(fleet, capsys):
    first = fleet.hosts[0]
    policy = changed(first.policy, maintenance=True)
    fleet.hosts[0] = changed(first, policy=policy, evacuation_id="e-1")
    assert run(["host-list"]) == 0
    heading, one, other, _ = capsys.readouterr().out.splitlines()
    place = heading.split().index("enabled")
    assert (one.split()[place], other.split()[place]) == ("false", "true")
    assert run(["host-show", "kvm-01"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"evacuation +e-1", told)
    assert re.search(r"enabled +false, in maintenance", told)


# Showing


def test_the_list(running, fleet, capsys):
    done = ended(changed(running, evacuation_id="e-0"), hot_1=MoveState.FAILED)
    fleet.evacuations.append(done)
    assert run(["evacuation-list"]) == 0
    heading, first, second, total = capsys.readouterr().out.splitlines()
    cells = [re.split(r"  +", each) for each in (first, second)]
    assert cells[0][:4] == ["e-1", "kvm-01", "evacuate", "running"]
    assert cells[0][5].startswith("~")
    assert cells[0][-1] == "1 left, 1 waiting, 1 moving, 1 stayed"
    assert not cells[1][5].startswith("~")
    assert (heading.split()[-1], total) == ("Servers", "Total: 2")
    assert run(["evacuation-list", "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=list[Evacuation])
    assert told == fleet.evacuations


def test_the_report_holds_the_forecast_against_what_came(running, fleet, capsys):
    fleet.evacuations = [ended(running, hot_1=MoveState.FAILED, old_1=MoveState.LEFT)]
    assert run(["evacuation-show", "kvm-01"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("web-1"))
    assert re.split(r"  +", row) == [
        *("web-1", "live", "kvm-01", "kvm-02", "left", "2 min 20 s", "9.0 s", "43 ms", "40 ms"),
        *("226 MiB", "220 MiB", "1"),
    ]
    assert re.search(r"time +2 min 32 s, planned 2 min 20 s", out)
    assert re.search(r"sent +226 MiB, forecast 220 MiB", out)
    assert re.search(r"pauses +median 43 ms, longest 43 ms \(web-1\)", out)
    judged = "0 of 1 moves ended within their band, 1 of 1 sent as much, 0 of 1 paused no longer"
    assert re.search(f"forecasts +{judged}", out)
    assert "  usb-1 stayed: it has a passed-through device" in out.splitlines()
    assert "put hot-1 to kvm-02 (by bob)" in out
    assert re.search(r"state +ended: 2 of 4 servers have left", out)


def told_of_forecasts(capsys) -> str:
    assert run(["evacuation-show", "kvm-01"]) == 0
    (found,) = re.findall(r"^forecasts +(.*(?:\n {3,}.*)*)", capsys.readouterr().out, re.MULTILINE)
    return " ".join(found.split())


def test_time_bytes_and_pause_are_each_held_against_the_forecast(running, fleet, capsys):
    web = running.servers[0]
    again = changed(web, sent_bytes=1_900 * MIB, tries=2, downtime_ms=40)
    more = changed(web, sent_bytes=1_900 * MIB, downtime_ms=442)
    old = changed(running.servers[2], state=MoveState.LEFT)
    fleet.evacuations = [changed(running, servers=(web, again, more, old))]
    assert told_of_forecasts(capsys) == (
        "3 of 3 moves ended within their band, 1 of 2 sent as much, 1 of 3 paused no longer"
    )


def test_a_move_over_a_link_that_nobody_had_measured_is_within_no_band(running, fleet, capsys):
    web = running.servers[0]
    blind = changed(web, forecast=changed(web.forecast, link_seen=False))
    fleet.evacuations = [changed(running, servers=(blind, web))]
    assert told_of_forecasts(capsys) == (
        "1 of 1 moves ended within their band, 1 of 1 sent as much, 0 of 1 paused no longer, "
        "of 1 nothing was really forecast: its link had not been measured"
    )
    fleet.evacuations = [changed(running, servers=(blind,))]
    assert told_of_forecasts(capsys).startswith("of 1 nothing was really forecast")


@pytest.mark.parametrize(
    ("last", "late_ms", "told"),
    [
        (MoveState.LEFT, 0, "kept"),
        (MoveState.LEFT, 90_000, "not kept: 1 min 30 s late"),
        (MoveState.STAYED, 0, "not kept: it is not empty"),
    ],
)
def test_whether_the_deadline_was_kept(running, fleet, capsys, last, late_ms, told):
    states = {"hot_1": MoveState.LEFT, "old_1": MoveState.LEFT, "usb_1": last}
    done = ended(running, **states)
    fleet.evacuations = [changed(done, empty_by_ms=done.ended_at_ms - late_ms)]
    assert run(["evacuation-show", "kvm-01"]) == 0
    assert re.search(rf"deadline +{told}\n", capsys.readouterr().out)


def test_the_report_as_json_and_as_markdown(running, capsys):
    assert run(["evacuation-show", "--json", "e-1"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Evacuation) == running
    assert run(["evacuation-show", "--markdown", "e-1"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("# Evacuation of kvm-01: running, 1 left")
    assert "| web-1 | live | kvm-01 | kvm-02 | left | 9.4 s | 9.0 s | 43 ms | 40 ms |" in told
    assert "| it has a passed-through device |" in told
    assert "- **times**: UTC" in told
    assert run(["evacuation-show", "--markdown", "--json", "e-1"]) == 2


def test_a_host_means_what_is_open_about_it(running, fleet, capsys):
    fleet.evacuations = [ended(changed(running, evacuation_id="e-9")), running]
    for name, found in (("kvm-01", "e-1"), ("e-9", "e-9"), (running.host_id, "e-1")):
        assert run(["evacuation-show", "--json", name]) == 0
        assert json.loads(capsys.readouterr().out)["evacuation_id"] == found


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("kvm-02", "kvm-02 was never emptied, and is not now"),
        ("kvm-09", "no evacuation and no host is called 'kvm-09'"),
        ("a/b", "no evacuation and no host is called 'a/b'"),
    ],
)
def test_what_is_not_there_is_said(running, name, sentence, capsys):
    assert run(["evacuation-show", name]) == 2
    assert words_of(capsys) == [sentence]


# Steering


def test_acts_on_the_whole(running, fleet, capsys):
    for verb in ("pause", "resume", "replan"):
        assert run([f"evacuation-{verb}", "kvm-01"]) == 0
    assert fleet.changed == ["pause e-1", "resume e-1", "replan e-1"]
    assert words_of(capsys)[0].startswith("Evacuation of kvm-01 is paused: what moves goes on")


def test_a_rack_is_paused_at_once_and_what_is_not_there_is_said(running, fleet, capsys):
    fleet.evacuations.append(changed(running, evacuation_id="e-2", host_name="kvm-02"))
    assert run(["evacuation-pause", "kvm-01", "kvm-09", "kvm-02"]) == 2
    assert fleet.changed == ["pause e-1", "pause e-2"]
    assert words_of(capsys)[-1] == "kvm-09: no evacuation and no host is called 'kvm-09'"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_acts_on_some_servers_or_on_all(running, fleet, verb):
    assert run([f"evacuation-{verb}", "kvm-01", "hot-1", "old-1"]) == 0
    assert run([f"evacuation-{verb}", "e-1"]) == 0
    assert fleet.bodies == [ServersOf(servers=("hot-1", "old-1")), ServersOf()]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("--max-bandwidth-mb 30", EvacuationChange(max_bandwidth_bytes_per_s=30 * MIB)),
        ("--no-bandwidth-limit", EvacuationChange(no_bandwidth_limit=True)),
        ("--empty-by 2099-11-27T04:30Z", EvacuationChange(empty_by_ms=4_099_437_000_000)),
        ("--no-deadline", EvacuationChange(empty_by_ms=0)),
        (
            "--stay hot-1",
            EvacuationChange(edits=(PlanEdit(server="hot-1", way=Way.STAYS),)),
        ),
    ],
)
def test_a_change_reaches_the_backend(running, fleet, arguments, wanted):
    fleet.evacuations = [changed(running, deadline="it can be kept")]
    assert run(["evacuation-change", *arguments.split(), "kvm-01"]) == 0
    assert fleet.bodies == [wanted]


def test_a_change_says_where_its_servers_go_now_and_who_has_no_target_any_more(
    running, fleet, capsys
):
    web, hot, old, usb = running.servers
    without = changed(old.plan, target_host_name="", server_name="old-2")
    lost = changed(old, plan=without, reason="no host takes it now: kvm-02 is full")
    stays = changed(usb, plan=changed(usb.plan, why="an operator wants it to stay"))
    fleet.evacuations = [changed(running, servers=(web, hot, old, lost, stays))]
    arguments = "--move old-1=kvm-02 --stay usb-1 kvm-01"
    assert run(["evacuation-change", *arguments.split()]) == 0
    assert words_of(capsys)[1:] == [
        "old-1 goes to kvm-02",
        "old-2 waits: no host takes it now: kvm-02 is full",
        "usb-1 now stays: an operator wants it to stay",
    ]
    assert run(["evacuation-retry", "kvm-01", "old-2"]) == 0
    assert words_of(capsys)[1:] == ["old-2 waits: no host takes it now: kvm-02 is full"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "nothing to change"),
        ("--max-bandwidth-mb 3 --no-bandwidth-limit", "--max-bandwidth-mb sets a cap"),
        ("--no-deadline --empty-by 23:59", "--empty-by sets a deadline"),
    ],
)
def test_a_change_that_is_none(running, fleet, capsys, arguments, sentence):
    assert run(["evacuation-change", *arguments.split(), "kvm-01"]) == 2
    assert words_of(capsys)[0].startswith(sentence)
    assert fleet.changed == []


def test_a_refusal_of_an_act_keeps_its_sentence(running, fleet, capsys):
    fleet.refusal = GodwitError(ErrorCode.CONFLICT, "the evacuation has ended")
    assert run(["evacuation-pause", "kvm-01"]) == 1
    assert words_of(capsys) == ["kvm-01: the evacuation has ended"]
