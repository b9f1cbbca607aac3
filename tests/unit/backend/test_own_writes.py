"""What this backend wrote itself is not undone by a watch that is still behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from backend.fleet.known import Fleet
from backend.follow.store import Follower
from wire import keys
from wire.etcd import Etcd
from wire.migration import Migration, MigrationState


def migration(target: str) -> Migration:
    return Migration(
        migration_id="m1",
        server_id="s1",
        server_name="web-1",
        source_host_id="h1",
        source_host_name="kvm-01",
        target_host_name=target,
        state=MigrationState.SCHEDULING,
    )


@asynccontextmanager
async def following(etcd: Etcd, fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(Follower(etcd, fleet).run())
    while fleet.etcd_error:
        await asyncio.sleep(0.02)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def put(etcd: Etcd, value: Migration) -> None:
    await asyncio.to_thread(etcd.put, keys.MIGRATIONS + "m1", msgspec.json.encode(value))


async def test_an_older_change_does_not_replace_what_was_written_since(etcd: Etcd):
    fleet = Fleet()
    async with following(etcd, fleet):
        revision = etcd.list(keys.MIGRATIONS).revision
        fleet.written[keys.MIGRATIONS + "m1"] = revision + 2
        fleet.put_migration("m1", migration("kvm-02"))
        await put(etcd, migration(""))
        await put(etcd, migration("kvm-03"))
        while fleet.migrations["m1"].target_host_name == "kvm-02":
            await asyncio.sleep(0.02)
        assert fleet.migrations["m1"].target_host_name == "kvm-03"


async def test_an_older_listing_neither_replaces_nor_removes(etcd: Etcd):
    fleet = Fleet()
    await put(etcd, migration(""))
    fleet.written[keys.MIGRATIONS + "m1"] = fleet.written[keys.MIGRATIONS + "m2"] = 1_000
    fleet.put_migration("m1", migration("kvm-02"))
    fleet.put_migration("m2", migration("kvm-02"))
    async with following(etcd, fleet):
        assert fleet.migrations["m1"].target_host_name == "kvm-02"
        assert "m2" in fleet.migrations
