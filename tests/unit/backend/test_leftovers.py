"""The note that a host may hold something of a migration is followed by one that it does not."""

import pytest

from backend.migrations.clearing import may_hold_files, may_hold_half
from backend.migrations.leftovers import Leftovers, gone
from backend.migrations.notes import noted
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.migration import Migration, MigrationState

RUNNING, PAUSED, ABSENT = PowerState.RUNNING, PowerState.PAUSED, PowerState.ABSENT


@pytest.fixture
def ended(stage) -> Migration:
    """A failed migration of web-1 from kvm-01 to kvm-02."""
    stage.put_server(RUNNING)
    return stage.put_migration(MigrationState.FAILED)


def told(stage, migration: Migration, text: str) -> None:
    stage.put_migration(migration.state, notes=noted(migration, f"{text}: no answer").notes)


def texts(stage) -> list[str]:
    return [note.text for note in stage.migration.notes]


async def look(stage) -> None:
    await Leftovers(stage.drive).look()


async def test_a_host_that_has_cleared_up_is_told_of_once(stage, ended):
    told(stage, ended, may_hold_files("kvm-02"))
    stage.there.held = True
    await look(stage)
    assert len(texts(stage)) == 1
    stage.there.held = False
    await look(stage)
    await look(stage)
    assert texts(stage)[1:] == [gone("kvm-02")]
    assert stage.there.calls.count("leftovers") == 2
    assert stage.here.calls == []


async def test_a_half_is_gone_once_libvirt_has_none(stage, ended):
    told(stage, ended, may_hold_half("kvm-01", ended))
    stage.here.state, stage.here.detail = PAUSED, "post-copy failed"
    await look(stage)
    assert len(texts(stage)) == 1
    stage.here.state, stage.here.detail = ABSENT, ""
    await look(stage)
    assert texts(stage)[1:] == [gone("kvm-01")]


async def test_a_host_that_does_not_answer_is_asked_again(stage, ended):
    told(stage, ended, may_hold_files("kvm-02"))

    def away() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    stage.there.before["leftovers"] = away
    await look(stage)
    assert len(texts(stage)) == 1
    del stage.there.before["leftovers"]
    await look(stage)
    assert texts(stage)[1:] == [gone("kvm-02")]


async def test_what_comes_after_it_is_told_of_anew(stage, ended):
    told(stage, ended, may_hold_files("kvm-02"))
    await look(stage)
    told(stage, stage.migration, may_hold_files("kvm-02"))
    await look(stage)
    assert texts(stage).count(gone("kvm-02")) == 2


async def test_nobody_is_asked_about_a_migration_under_way(stage, ended):
    told(stage, ended, may_hold_files("kvm-02"))
    changed = stage.migration
    stage.put_migration(MigrationState.COMPLETING, notes=changed.notes, migration_id="m2")
    stage.two.fleet.put_migration("m1", None)
    await look(stage)
    assert stage.there.calls == []
