"""``godwit audit-list``."""

import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tui.cli import run
from wire.audit import AuditEntry, AuditObject
from wire.role import Role

pytestmark = pytest.mark.usefixtures("environment")

NOON_MS = 1_795_435_200_000
MIB = 1 << 20


def act(verb: str, user: str = "alice", *objects: AuditObject, **parameters: Any) -> AuditEntry:
    return AuditEntry(
        entry_id=verb,
        at_ms=NOON_MS,
        user=user,
        role=Role.OPERATOR,
        verb=verb,
        objects=objects,
        parameters=parameters,
    )


HOSTS = [AuditObject(kind="host", object_id=f"h-{name}", name=name) for name in ("a-01", "b-02")]
ACTS = [
    act(
        "host-evacuate",
        "alice",
        *HOSTS,
        max_bandwidth_bytes_per_s=110 * MIB,
        empty_by_ms=NOON_MS + 60_000,
        downtime_limit_ms=500,
        keep_spare=True,
    ),
    act("host-auto-migrate-on-host-down", "bob", HOSTS[0], auto_migrate_on_host_down=False),
    act("rescue-disarm", "bob", reason="work"),
    act("evacuation-change", "bob", HOSTS[1], empty_by_ms=0, evacuation="e1"),
]
EVACUATED = (
    "max bandwidth: 110 MiB/s, empty by: 2026-11-23 12:01:00, downtime limit: 500 ms, "
    "keep spare: yes"
)


@pytest.fixture(autouse=True)
def acts(fleet) -> None:
    fleet.audit = list(ACTS)


@pytest.fixture(autouse=True)
def utc(monkeypatch) -> Iterator[None]:
    """Moments are shown in local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_who_did_what_with_which_parameters(capsys):
    assert run(["audit-list"]) == 0
    heading, *rows, total = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Time", "User", "Verb", "Object", "Parameters"]
    assert [re.split(r"  +", row)[1:] for row in rows] == [
        ["alice", "host-evacuate", "a-01, b-02", EVACUATED],
        ["bob", "host-auto-migrate-on-host-down", "a-01", "auto migrate on host down: no"],
        ["bob", "rescue-disarm", "-", "reason: work"],
        ["bob", "evacuation-change", "b-02", "empty by: none, evacuation: e1"],
    ]
    assert rows[0].startswith("2026-11-23 12:00:00  ")
    assert total == "Total: 4"


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("ALICE", ["host-evacuate"]),
        ("a-01", ["host-evacuate", "host-auto-migrate-on-host-down"]),
        ("h-b-02", ["host-evacuate", "evacuation-change"]),
        ("disarm", ["rescue-disarm"]),
        ("Work", ["rescue-disarm"]),
        ("evacuation: e1", ["evacuation-change"]),
        ("nobody", []),
    ],
)
def test_a_search_finds_users_verbs_objects_and_parameters(text, verbs, capsys):
    assert run(["audit-list", "--search", text, "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=list[AuditEntry])
    assert [each.verb for each in told] == verbs
    assert all(each in ACTS for each in told)


def test_an_act_of_any_name_commands_no_terminal(fleet, capsys):
    hostile = "x\x1b]0;owned\x07\u202e"
    server = AuditObject(kind="server", object_id="s", name=hostile)
    fleet.audit = [act("server-forget", hostile, server, reason=hostile)]
    assert run(["audit-list"]) == 0
    assert capsys.readouterr().out.count(r"x\x1b]0;owned\x07\u202e") == 3
    assert run(["audit-list", "--json"]) == 0
    assert capsys.readouterr().out.isascii()


def test_a_terminal_is_shown_the_newest_and_told_of_the_rest(fleet, terminal, capsys, monkeypatch):
    fleet.audit = [act(f"verb-{number:03}") for number in range(250)]
    assert run(["audit-list"]) == 0
    *rows, total = capsys.readouterr().out.splitlines()
    assert (rows[-1].split()[3], total) == ("verb-249", "Total: 250")
    stream, shown = terminal
    monkeypatch.setattr("sys.stdout", stream)
    assert run(["audit-list"]) == 0
    stream.flush()
    *rows, total, rest = shown()
    assert rows[-1].split()[3] == "verb-199"
    assert (total + rest).startswith("Total: 250, of which the newest 200 are shown")
    assert run(["audit-list", "--search", "verb-24"]) == 0
    stream.flush()
    assert shown()[-1] == "Total: 10"
