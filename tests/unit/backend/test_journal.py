"""The journal against a real etcd: one move at a time, never backwards, only by the leader."""

import asyncio
import signal

import msgspec
import pytest

from backend.fleet.known import Fleet
from backend.leader import Leadership
from backend.migrations.journal import Journal
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd, EtcdUnreachable
from wire.fleet import Owner, OwnerPhase, ServerRecord
from wire.migration import Migration, MigrationState

RECORD = ServerRecord(
    server_id="s",
    name="web-1",
    vcpu_count=1,
    memory_bytes=1,
    disks=(),
    owner=Owner(host_id="host-1", epoch=1, generation=4),
    wanted_on=True,
)


def migration(migration_id: str = "m1") -> Migration:
    return Migration(
        migration_id=migration_id,
        server_id="s",
        server_name="web-1",
        source_host_id="host-1",
        source_host_name="kvm-01",
    )


def put_record(etcd, record: ServerRecord = RECORD) -> None:
    etcd.put(keys.SERVERS + "s", msgspec.json.encode(record))


def record_of(etcd) -> ServerRecord:
    return msgspec.json.decode(etcd.get(keys.SERVERS + "s").value, type=ServerRecord)


def journaled(etcd, migration_id: str = "m1") -> Migration:
    item = etcd.get(keys.MIGRATIONS + migration_id)
    return msgspec.json.decode(item.value, type=Migration)


def to(state: MigrationState):
    return lambda known: msgspec.structs.replace(known, state=state)


@pytest.fixture
async def leadership(etcd):
    leads = asyncio.Event()
    leadership = Leadership(etcd, "backend-1")

    async def duty() -> None:
        leads.set()
        await asyncio.Event().wait()

    standing = asyncio.create_task(leadership.run(duty, lambda: None))
    await asyncio.wait_for(leads.wait(), 30)
    yield leadership
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)


@pytest.fixture
def journal(etcd, leadership) -> Journal:
    put_record(etcd)
    return Journal(etcd, leadership, Fleet())


async def test_a_beginning_locks_the_server_and_takes_its_generation(etcd, journal):
    begun = await journal.begin(migration())
    assert begun.generation == 4
    assert journaled(etcd) == begun
    owner = record_of(etcd).owner
    assert (owner.phase, owner.migration_id) == (OwnerPhase.MIGRATING, "m1")


async def test_of_many_requests_for_one_server_one_is_accepted(etcd, journal):
    answers = await asyncio.gather(
        *(journal.begin(migration(f"m{number}")) for number in range(5)), return_exceptions=True
    )
    accepted = [one for one in answers if isinstance(one, Migration)]
    refused = [one.code for one in answers if isinstance(one, GodwitError)]
    assert len(accepted) == 1
    assert refused == [ErrorCode.CONFLICT] * 4
    assert record_of(etcd).owner.migration_id == accepted[0].migration_id
    assert len(etcd.list(keys.MIGRATIONS).items) == 1


async def test_a_server_that_is_elsewhere_by_now_is_refused(etcd, journal):
    moved = msgspec.structs.replace(RECORD.owner, host_id="host-9")
    put_record(etcd, msgspec.structs.replace(RECORD, owner=moved))
    with pytest.raises(GodwitError, match="no longer on kvm-01"):
        await journal.begin(migration())
    assert etcd.list(keys.MIGRATIONS).items == ()


async def test_a_server_that_is_gone_is_refused(etcd, journal):
    etcd.delete(keys.SERVERS + "s")
    with pytest.raises(GodwitError, match="no server has the id") as caught:
        await journal.begin(migration())
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_a_state_never_goes_back(etcd, journal):
    await journal.begin(migration())
    await journal.advance("m1", to(MigrationState.COPYING_MEMORY))
    kept = await journal.advance("m1", to(MigrationState.PREPARING))
    assert kept.state is journaled(etcd).state is MigrationState.COPYING_MEMORY


async def test_changes_by_two_at_once_are_both_kept(etcd, journal):
    await journal.begin(migration())
    await asyncio.gather(
        journal.advance("m1", to(MigrationState.COPYING_MEMORY)),
        journal.advance(
            "m1", lambda known: msgspec.structs.replace(known, cancel_requested_by="alice")
        ),
    )
    kept = journaled(etcd)
    assert (kept.state, kept.cancel_requested_by) == (MigrationState.COPYING_MEMORY, "alice")


async def test_an_end_changes_record_and_owner_together_and_keeps_the_agents_facts(etcd, journal):
    begun = await journal.begin(migration())
    agents = msgspec.structs.replace(record_of(etcd), memory_bytes=99)
    put_record(etcd, agents)
    final = msgspec.structs.replace(begun, state=MigrationState.SUCCEEDED)
    new_owner = Owner(host_id="host-2", epoch=1, generation=5)
    await journal.advance_with_owner(final, lambda _: new_owner)
    assert journaled(etcd).state is MigrationState.SUCCEEDED
    assert (record_of(etcd).owner, record_of(etcd).memory_bytes) == (new_owner, 99)


async def test_an_end_leaves_a_server_of_another_migration_alone(etcd, journal):
    begun = await journal.begin(migration())
    put_record(etcd)
    final = msgspec.structs.replace(begun, state=MigrationState.FAILED)
    await journal.advance_with_owner(final, lambda owner: owner)
    assert journaled(etcd).state is MigrationState.FAILED
    assert record_of(etcd) == RECORD


async def test_an_end_is_written_once(etcd, journal):
    begun = await journal.begin(migration())
    for state in (MigrationState.FAILED, MigrationState.SUCCEEDED):
        await journal.advance_with_owner(
            msgspec.structs.replace(begun, state=state), lambda owner: owner
        )
    assert journaled(etcd).state is MigrationState.FAILED


async def test_writes_wait_for_etcd_and_then_succeed(server, etcd, journal):
    await journal.begin(migration())
    server.send(signal.SIGSTOP)
    writing = asyncio.create_task(journal.advance("m1", to(MigrationState.PREPARING)))
    await asyncio.sleep(1.5)
    assert not writing.done()
    server.send(signal.SIGCONT)
    assert (await writing).state is MigrationState.PREPARING
    assert journaled(etcd).state is MigrationState.PREPARING


async def test_a_beginning_without_etcd_is_refused_at_once(server, journal):
    server.kill()
    with pytest.raises(GodwitError) as caught:
        await journal.begin(migration())
    assert caught.value.code is ErrorCode.ETCD_UNREACHABLE


class LosesAnswers(Etcd):
    """Does what it is told, or not, and then the connection breaks."""

    def __init__(self, config, *, done: bool) -> None:
        super().__init__(config)
        self._done = done

    def transact(self, *, when, then) -> int:
        if self._done:
            super().transact(when=when, then=then)
        raise EtcdUnreachable(["here"], "the answer was lost")


async def test_a_beginning_whose_answer_was_lost_counts_if_it_was_done(etcd, server, leadership):
    put_record(etcd)
    lossy = LosesAnswers(server.config, done=True)
    fleet = Fleet()
    begun = await Journal(lossy, leadership, fleet).begin(migration())
    assert journaled(etcd) == begun
    assert fleet.migrations == {"m1": begun}, "told ahead of the watch"
    assert fleet.records[begun.server_id].owner.migration_id == "m1"
    lossy.close()


async def test_a_beginning_whose_answer_was_lost_is_refused_if_it_was_not_done(
    etcd, server, leadership
):
    put_record(etcd)
    lossy = LosesAnswers(server.config, done=False)
    with pytest.raises(EtcdUnreachable):
        await Journal(lossy, leadership, Fleet()).begin(migration())
    assert record_of(etcd) == RECORD
    lossy.close()


async def test_whoever_lost_the_leadership_writes_nothing(etcd, journal):
    await journal.begin(migration())
    etcd.put(keys.LEADER, b"backend-2")
    with pytest.raises(GodwitError) as caught:
        await journal.advance("m1", to(MigrationState.COPYING_MEMORY))
    assert caught.value.code is ErrorCode.NOT_LEADING
    with pytest.raises(GodwitError):
        await journal.begin(migration("m2"))
    assert journaled(etcd).state is MigrationState.QUEUED


async def test_a_second_backend_leads_only_after_the_first(etcd, leadership):
    leads = asyncio.Event()
    second = Leadership(etcd, "backend-2")

    async def duty() -> None:
        leads.set()
        await asyncio.Event().wait()

    standing = asyncio.create_task(second.run(duty, lambda: None))
    await asyncio.sleep(2)
    assert not second.leading
    assert etcd.get(keys.LEADER).value == b"backend-1"
    etcd.delete(keys.LEADER)
    await asyncio.wait_for(leads.wait(), 30)
    assert etcd.get(keys.LEADER).value == b"backend-2"
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)
