"""The journal stays short: the newest ended records stay, and what still matters."""

import asyncio

import msgspec
import pytest

from backend.duties import Faults
from backend.leader_writes import LeaderWrites, NotLeadingAnyMore
from backend.migrations import leading
from backend.migrations.leading import Leader, too_old
from backend.rescue.claims import Claims
from wire import keys
from wire.fleet import PowerState
from wire.migration import Kept, Migration, MigrationState


def ended(number: int, **changes: object) -> Migration:
    values: dict[str, object] = {
        "migration_id": f"m{number}",
        "server_id": "id-web-1",
        "server_name": "web-1",
        "source_host_id": "host-1",
        "source_host_name": "kvm-01",
        "state": MigrationState.SUCCEEDED,
        "created_at_ms": number,
    }
    return Migration(**(values | changes))


def leader_of(stage) -> Leader:
    drive = stage.drive
    claims = Claims(LeaderWrites(stage.etcd, stage.leadership), drive.journal, drive.fleet)
    return Leader(drive, claims, leading.asyncio.Event(), Faults(lambda: None))


@pytest.fixture(autouse=True)
def keep_three(monkeypatch):
    monkeypatch.setattr(leading, "ENDED_KEPT", 3)


def test_the_oldest_ended_records_beyond_the_newest_are_too_old():
    known = tuple(ended(number) for number in (5, 1, 4, 2, 3))
    assert [one.migration_id for one in too_old(known)] == ["m1", "m2"]


def test_what_is_under_way_or_keeps_files_stays_however_old():
    kept = (Kept(kind="disk", path="/kept/x", size_bytes=1),)
    known = (
        ended(1, state=MigrationState.COPYING_MEMORY),
        ended(2, kept=kept),
        *(ended(number) for number in (3, 4, 5, 6)),
    )
    assert [one.migration_id for one in too_old(known)] == ["m3"]


def test_a_short_journal_is_left_alone():
    assert too_old(tuple(ended(number) for number in (1, 2, 3))) == []


async def test_old_records_leave_etcd_and_the_fleet_model(stage, monkeypatch):
    monkeypatch.setattr(leading, "TRIM_BATCH", 2)
    stage.put_server(PowerState.RUNNING)
    for number in range(1, 7):
        one = ended(number)
        stage.etcd.put(keys.MIGRATIONS + one.migration_id, msgspec.json.encode(one))
        stage.two.fleet.put_migration(one.migration_id, one)
    leader = leader_of(stage)
    for left in (4, 3, 3):
        await leader._trim()
        assert len(stage.two.fleet.migrations) == left
    keys_left = {item.key for item in stage.etcd.list(keys.MIGRATIONS).items}
    assert keys_left == {keys.MIGRATIONS + f"m{number}" for number in (4, 5, 6)}


async def test_a_backend_that_no_longer_leads_deletes_nothing(stage):
    stage.put_server(PowerState.RUNNING)
    for number in range(1, 5):
        one = ended(number)
        stage.etcd.put(keys.MIGRATIONS + one.migration_id, msgspec.json.encode(one))
        stage.two.fleet.put_migration(one.migration_id, one)
    stage.etcd.put(keys.LEADER, b"backend-2")
    await leader_of(stage)._trim()
    assert len(stage.etcd.list(keys.MIGRATIONS).items) == 4
    assert len(stage.two.fleet.migrations) == 4


async def test_a_runner_that_starts_over_again_and_again_is_told_until_it_goes_on(
    stage, monkeypatch
):
    leader = leader_of(stage)
    one = ended(1, state=MigrationState.PREPARING)
    stage.two.fleet.put_migration(one.migration_id, one)
    faults: list[Exception] = [NotLeadingAnyMore(), KeyError("x")]

    async def runs(_migration):
        if faults:
            raise faults.pop(0)
        await asyncio.Event().wait()

    monkeypatch.setattr(leader, "_run", runs)

    async def sweep() -> list[str]:
        leader._sweep()
        await asyncio.sleep(0)
        return [one.reason for one in leader._faults.failing]

    assert await sweep() == []
    assert await sweep() == [], "another one leads: that is no fault"
    assert await sweep() == ["the migration of web-1: KeyError: 'x'"]
    assert await sweep() == ["the migration of web-1: KeyError: 'x'"]
    monkeypatch.setattr(leading, "_WELL_S", -1.0)
    assert await sweep() == []
    for task in leader._runners.values():
        task.cancel()
