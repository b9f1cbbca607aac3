"""What can be done to a migration under way, and to what a failed one left."""

import msgspec
import pytest

from tui.acts import MAKERS, Act, idle_acts
from tui.client import Event
from tui.paint import plain
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.migration import MigrationScreen
from tui.screens.settle import SettleDialog
from tui.store import Store
from tui.widgets.lines import Lines
from wire.errors import ErrorCode, GodwitError
from wire.fleet import ServerStatus
from wire.migration import (
    Kept,
    Migration,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Note,
    PostcopyState,
)

MIB = 1 << 20
DB_1 = "3f000003"
BATCH_1 = "7c1d0000-0000-4000-8000-000000000004"
ADVICE = "godwit server-settle --keep-host HOST batch-1 keeps the copy on HOST."


def text_of(pilot, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


def able(fleet):
    """The fleet, with hosts that can do post-copy."""
    hosts = [
        msgspec.structs.replace(each, facts=msgspec.structs.replace(each.facts, postcopy=True))
        for each in fleet.hosts
    ]
    return msgspec.structs.replace(fleet, hosts=tuple(hosts))


def moving_as(client, **changed: object) -> Migration:
    """Let db-1's migration be otherwise."""
    first, *others = client.fleet.migrations
    migration = msgspec.structs.replace(first, **changed)
    client.fleet = msgspec.structs.replace(client.fleet, migrations=(migration, *others))
    return migration


@pytest.fixture
def at_migration(open_console, settled):
    """Open db-1's migration, press keys, and hand the pilot to a check."""

    async def run(check, *keys: str) -> None:
        async with open_console().run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            for key in ["colon", *"mi", "space", "d", "b", "minus", "1", "enter", *keys]:
                await pilot.press(key)
                await settled(pilot)
            assert isinstance(pilot.app.frame, MigrationScreen)
            check(pilot)

    return run


async def test_a_cap_is_typed_and_its_effect_told_before(at_migration, client):
    def typed(pilot):
        assert isinstance(pilot.app.screen, Entry)
        assert "at most 50 MiB/s from now on (until now no cap)" in " ".join(
            text_of(pilot, "#sentence").split()
        )

    await at_migration(typed, "B", *"50")
    assert [call for call in client.asked if call[0] == "parameters"] == []

    def done(pilot):
        assert "db-1: cap of 50 MiB/s from now on" in text_of(pilot, "Notice")

    await at_migration(done, "B", *"50", "enter")
    assert ("parameters", DB_1) in client.asked
    assert client.parameters == MigrationParameters(max_bandwidth_bytes_per_s=50 * MIB)


async def test_a_cap_is_taken_away_where_no_number_stands(at_migration, client):
    moving_as(client, options=MigrationOptions(max_bandwidth_bytes_per_s=8 * MIB))

    def told(pilot):
        assert "Without a number there is no cap" in " ".join(text_of(pilot, "#sentence").split())
        assert "nothing holds the migration back from now on (until now 8 MiB/s)" in " ".join(
            text_of(pilot, "#sentence").split()
        )

    await at_migration(told, "B", "backspace")

    def done(pilot):
        assert "db-1: no cap from now on" in text_of(pilot, "Notice")

    await at_migration(done, "B", "ctrl+u", "enter")
    assert client.parameters == MigrationParameters(no_bandwidth_limit=True)


async def test_a_downtime_limit_is_typed(at_migration, client):
    await at_migration(lambda _: None, "L", "ctrl+u", *"800", "enter")
    assert client.parameters == MigrationParameters(downtime_limit_ms=800)


async def test_what_is_typed_takes_the_place_of_the_number_that_stands_there(at_migration, client):
    await at_migration(lambda _: None, "L", *"900", "enter")
    assert client.parameters == MigrationParameters(downtime_limit_ms=900)


@pytest.mark.parametrize("keys", [["escape"], ["ctrl+u", "enter", "escape"], [*"x", "enter"]])
@pytest.mark.parametrize("key", ["B", "L"])
async def test_nothing_is_sent_without_a_number(at_migration, client, key, keys):
    await at_migration(lambda _: None, key, *keys)
    assert [call for call in client.asked if call[0] == "parameters"] == []


async def test_post_copy_says_that_there_is_no_way_back(at_migration, client):
    client.fleet = able(client.fleet)

    def asked(pilot):
        assert isinstance(pilot.app.screen, Question)
        shown = " ".join(text_of(pilot, "#sentence").split())
        assert "it cannot be aborted after this" in shown
        assert "the loss of kvm-01 or of kvm-02 loses db-1" in shown

    await at_migration(asked, "P")
    await at_migration(lambda _: None, "P", "enter")
    assert [call for call in client.asked if call[0] == "postcopy"] == []
    await at_migration(lambda _: None, "P", "y")
    assert [call for call in client.asked if call[0] == "postcopy"] == [("postcopy", DB_1)]


async def test_hosts_that_cannot_do_post_copy_are_named(at_migration):
    def told(pilot):
        assert "P Post-copy" not in text_of(pilot, "#footer")
        assert "kvm-01 and kvm-02 cannot do post-copy" in text_of(pilot, "Notice")

    await at_migration(told, "P")


async def test_a_broken_post_copy_is_recovered(at_migration, client):
    moving_as(client, postcopy=PostcopyState.PAUSED)

    def told(pilot):
        assert "R Recover" in text_of(pilot, "#footer")
        assert "X Abort" not in text_of(pilot, "#footer")
        assert "post-copy stands still" in text_of(pilot, "#heading")
        assert "db-1 stands still on kvm-02 until it is recovered" in " ".join(
            text_of(pilot, "#report").split()
        )

    await at_migration(told)
    await at_migration(lambda _: None, "R", "y")
    assert ("recover", DB_1) in client.asked


async def test_a_refusal_of_an_act_is_told(at_migration, client):
    client.fleet = able(client.fleet)
    client.refusal = GodwitError(ErrorCode.CONFLICT, "db-1 is switching over already")

    def told(pilot):
        assert "db-1 is switching over already" in text_of(pilot, "Notice")

    await at_migration(told, "P", "y")


async def test_kept_files_are_shown_and_deleted_after_a_question(at_migration, client):
    kept = (Kept(kind="disk", path="/images/db-1.qcow2", size_bytes=3 << 30),)
    moving_as(client, state=MigrationState.FAILED, kept=kept, outcome="db-1 runs on kvm-01")

    def shown(pilot):
        assert "D Delete kept" in text_of(pilot, "#footer")
        report = text_of(pilot, "#report")
        assert "Kept on kvm-02 for debugging:" in report
        assert "/images/db-1.qcow2" in report

    await at_migration(shown)

    def asked(pilot):
        sentence = text_of(pilot, "#sentence")
        assert sentence.startswith("Delete what this migration kept on kvm-02, 3 GiB in all?")
        assert "/images/db-1.qcow2" in sentence

    await at_migration(asked, "D")
    assert [call for call in client.asked if call[0] == "remove_kept"] == []
    await at_migration(lambda _: None, "D", "y")
    assert ("remove_kept", DB_1) in client.asked


@pytest.fixture
def store(fleet) -> Store:
    store = Store()
    store.apply(Event(name="snapshot", payload=able(fleet)))
    return store


@pytest.mark.parametrize(
    ("changed", "sensible"),
    [
        ({}, {"abort", "cap", "limit", "postcopy"}),
        ({"state": MigrationState.PREPARING}, {"abort", "cap", "limit"}),
        ({"state": MigrationState.SWITCHING_OVER}, set()),
        ({"postcopy": PostcopyState.ACTIVE}, {"cap"}),
        ({"postcopy": PostcopyState.PAUSED}, {"cap", "recover"}),
        ({"kind": "cold", "state": MigrationState.COPYING_DISKS}, {"abort", "cap"}),
        ({"state": MigrationState.SUCCEEDED}, set()),
        (
            {
                "state": MigrationState.FAILED,
                "kept": (Kept(kind="log", path="/l", size_bytes=1),),
            },
            {"remove_kept"},
        ),
    ],
)
def test_only_what_makes_sense_now_is_offered(store, fleet, changed, sensible):
    migration = msgspec.structs.replace(fleet.migrations[0], **changed)
    assert set(MAKERS) - idle_acts(store, migration) == sensible


def test_what_makes_no_sense_says_why_in_one_sentence(store, fleet):
    ended = fleet.migrations[2]
    for make in MAKERS.values():
        sentence = make(store, ended)
        assert isinstance(sentence, str)
        assert len(sentence) > 20


def test_the_abort_of_a_cold_migration_speaks_of_it(store, fleet):
    cold = msgspec.structs.replace(
        fleet.migrations[0], kind="cold", state=MigrationState.COPYING_DISKS
    )
    act = MAKERS["abort"](store, cold)
    assert isinstance(act, Act)
    assert act.question == "Abort the cold migration of db-1 from kvm-01 to kvm-02?"
    assert act.done(cold) == "abort asked for: kvm-02 is told to stop the copy"


async def test_notes_and_options_stand_beside_wide_curves(open_console, client, settled):
    note = Note(at_ms=1_795_435_381_000, text="downtime limit set to 812 ms", by="bob")
    safe = "db-1 loses no CPU feature on kvm-02"
    asked = MigrationOptions(skip_cpu_check=True)
    moving_as(client, notes=(note,), options=asked, safe=safe)
    async with open_console().run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        for key in ("3", "enter"):
            await pilot.press(key)
            await settled(pilot)
        shown = text_of(pilot, "#report")
    assert "12:03:01 downtime limit set to 812 ms by bob" in shown
    assert "--skip-cpu-check" in shown
    assert f"safe {safe}" in " ".join(shown.split())


# Settling


def doubtful(client):
    servers = list(client.fleet.servers)
    servers[3] = msgspec.structs.replace(servers[3], status=ServerStatus.UNKNOWN)
    migrations = list(client.fleet.migrations)
    migrations[1] = msgspec.structs.replace(migrations[1], advice=ADVICE)
    client.fleet = msgspec.structs.replace(
        client.fleet, servers=tuple(servers), migrations=tuple(migrations)
    )


async def test_a_server_in_doubt_is_settled_by_its_name(open_console, client, settled):
    doubtful(client)
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for key in ("2", "g"):
            await pilot.press(key)
            await settled(pilot)
        assert "S Settle" in text_of(pilot, "#footer")
        await pilot.press("S")
        await settled(pilot)
        assert isinstance(pilot.app.screen, SettleDialog)
        rows = text_of(pilot, "#hosts").splitlines()
        assert [row.split()[0] for row in rows[1:]] == ["kvm-02", "kvm-03", "kvm-01", "kvm-04"]
        assert ADVICE in " ".join(text_of(pilot, "#doubt").split())
        for key in ("j", "enter", *"batch", "enter"):
            await pilot.press(key)
            await settled(pilot)
        assert isinstance(pilot.app.screen, Entry)
        assert "Type batch-1 to go on" in text_of(pilot, "#sentence")
        assert [call for call in client.asked if call[0] == "settle"] == []
        for key in ("minus", "1", "enter"):
            await pilot.press(key)
            await settled(pilot)
        kvm_03 = client.fleet.hosts[2].facts.host_id
        assert ("settle", f"{BATCH_1} {kvm_03}") in client.asked
        assert "batch-1 is settled on kvm-03" in text_of(pilot, "Notice")


async def test_a_server_that_is_in_no_doubt_has_nothing_to_settle(open_console, client, settled):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for key in ("2", "j", "j", "S"):
            await pilot.press(key)
            await settled(pilot)
        # mail-10 is unknown because its host is down: nothing can be settled now
        assert "mail-10 is unknown: there is nothing to settle" in text_of(pilot, "Notice")
        assert "Settle" not in text_of(pilot, "#footer")


async def test_what_was_settled_is_in_doubt_no_more(open_console, client, settled):
    doubtful(client)
    migrations = list(client.fleet.migrations)
    note = Note(at_ms=1, text="settled: kept on kvm-03, ended on kvm-02", by="bob")
    migrations[1] = msgspec.structs.replace(migrations[1], notes=(note,))
    client.fleet = msgspec.structs.replace(client.fleet, migrations=tuple(migrations))
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for key in ("2", "g"):
            await pilot.press(key)
            await settled(pilot)
        assert "Settle" not in text_of(pilot, "#footer")


# By name


@pytest.mark.parametrize(
    ("command", "kind"),
    [("migrate web-2", "LiveDialog"), ("migrate old-1", "ColdDialog"), ("cancel db-1", "Question")],
)
async def test_a_command_opens_what_its_key_opens(open_console, client, settled, command, kind):
    async with open_console().run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        named = {" ": "space", "-": "minus"}
        for key in ["colon", *(named.get(each, each) for each in command), "enter"]:
            await pilot.press(key)
            await settled(pilot)
        assert type(pilot.app.screen).__name__ == kind
        assert not [call for call in client.asked if call[0] not in {"candidates", "migration"}]


async def test_read_only_knows_no_acting_command(open_console, client, settled):
    async with open_console(read_only_wanted=True).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        for key in ["colon", *"cancel", "space", *"db", "minus", "1", "enter"]:
            await pilot.press(key)
            await settled(pilot)
        assert "no view is called 'cancel'" in text_of(pilot, "Notice")
        await pilot.press("3", "enter", "B", "L", "P", "X", "S", "D", "R")
        await settled(pilot)
        assert isinstance(pilot.app.screen, MigrationScreen)
        assert not [call for call in client.asked if call[0] != "migration"]
