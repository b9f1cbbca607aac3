"""A claim holds only while all that it was decided on holds; any leader can go on from any step."""

import asyncio

import msgspec
import pytest

from backend.leader import Leadership
from backend.leader_writes import LeaderWrites
from backend.migrations.journal import Journal
from backend.rescue.claims import Claims
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import OwnerPhase
from wire.life import Fence
from wire.migration import MigrationOptions
from wire.rescue import IncidentState, RescueState


class Crash(BaseException):
    """The backend is killed at this point."""


async def proven(scene):
    """A dead host with one server, and the target that was chosen for it."""
    scene.add("web-1")
    scene.put_policy("kvm-01", down=False)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    assert scene.incident().dead_at_ms
    judged = await scene.starting.candidates(scene.record("web-1"), auto_start=True)
    return next(one for one in judged if one.fits)


async def claim(scene, target, starting=None):
    options = MigrationOptions(auto_start=True)
    record = scene.fleet.records["id-web-1"]
    starting = starting or scene.starting
    return await starting.claim(scene.incident(), record, target, options, by="")


def key_is_back(scene):
    scene.put_life("kvm-01")


def short_life(scene):
    scene.put_life("kvm-01", epoch=4, fence=Fence.NONE)
    scene.etcd.delete(keys.HEALTH + "host-1")


def same_words_again(scene):
    """A later life whose value reads the same must not pass for the one that was proven."""
    scene.put_life("kvm-01", epoch=4)
    scene.etcd.delete(keys.HEALTH + "host-1")


def owner_changed(scene):
    record = scene.record("web-1")
    owner = msgspec.structs.replace(record.owner, host_id="host-3", generation=2)
    record = msgspec.structs.replace(record, owner=owner)
    scene.etcd.put(keys.SERVERS + "id-web-1", msgspec.json.encode(record))


def migrates(scene):
    record = scene.record("web-1")
    owner = msgspec.structs.replace(record.owner, phase=OwnerPhase.MIGRATING, migration_id="m9")
    record = msgspec.structs.replace(record, owner=owner)
    scene.etcd.put(keys.SERVERS + "id-web-1", msgspec.json.encode(record))


def target_is_gone(scene):
    for host_id in ("host-2", "host-3"):
        scene.etcd.delete(keys.HEALTH + host_id)


def unreadable_life(scene):
    scene.etcd.put(keys.LIVES + "host-1", b"?")


def vanished(scene):
    scene.etcd.delete(keys.SERVERS + "id-web-1")


@pytest.mark.parametrize(
    "change",
    [
        key_is_back,
        short_life,
        same_words_again,
        owner_changed,
        migrates,
        target_is_gone,
        unreadable_life,
        vanished,
    ],
)
async def test_a_claim_fails_on_whatever_changed_since(scene, change):
    target = await proven(scene)
    change(scene)  # in etcd alone: this backend has not seen it yet
    before = scene.etcd.get(keys.SERVERS + "id-web-1")
    with pytest.raises(GodwitError) as refused:
        await claim(scene, target)
    assert refused.value.code is ErrorCode.CONFLICT
    assert scene.etcd.get(keys.SERVERS + "id-web-1") == before
    assert scene.migrations() == []


@pytest.mark.parametrize("change", [key_is_back, short_life, owner_changed, target_is_gone])
async def test_a_claim_fails_on_what_changes_while_it_is_made(scene, monkeypatch, change):
    target = await proven(scene)
    transact = scene.writes.transact

    async def late(when, then):
        change(scene)
        return await transact(when, then)

    monkeypatch.setattr(scene.writes, "transact", late)
    with pytest.raises(GodwitError) as refused:
        await claim(scene, target)
    assert refused.value.code is ErrorCode.CONFLICT
    assert scene.migrations() == []


@pytest.mark.parametrize(
    ("by", "fields", "words"),
    [
        ("alice", {"bound_by": "vda is on a local disk"}, "vda is on a local disk"),
        ("", {"wanted_on": False}, "stopped, stays stopped"),
        ("", {"suspended": True}, "it was paused by a person"),
    ],
)
async def test_a_claim_fails_on_what_its_record_says_by_then(scene, by, fields, words):
    target = await proven(scene)
    stale = scene.record("web-1")
    changed = msgspec.structs.replace(stale, **fields)
    scene.etcd.put(keys.SERVERS + "id-web-1", msgspec.json.encode(changed))
    options = MigrationOptions(auto_start=True)
    with pytest.raises(GodwitError, match=words) as refused:
        await scene.starting.claim(scene.incident(), stale, target, options, by=by)
    assert refused.value.code is ErrorCode.CONFLICT
    assert scene.migrations() == []


async def test_of_two_claims_one_holds(scene):
    target = await proven(scene)
    done = await asyncio.gather(claim(scene, target), claim(scene, target), return_exceptions=True)
    assert sorted(isinstance(one, GodwitError) for one in done) == [False, True]
    assert len(scene.migrations()) == 1
    assert scene.record("web-1").owner.generation == 2


async def test_a_backend_that_does_not_lead_any_more_claims_nothing(scene, etcd):
    target = await proven(scene)
    other = Leadership(etcd, "backend-2")
    journal = Journal(etcd, other, scene.fleet)
    scene.starting._claims = Claims(LeaderWrites(etcd, other), journal, scene.fleet)
    with pytest.raises(GodwitError) as refused:
        await claim(scene, target)
    assert refused.value.code is ErrorCode.NOT_LEADING
    assert scene.migrations() == []


async def test_a_claim_says_what_was_claimed(scene):
    target = await proven(scene)
    migration = await claim(scene, target)
    owner = scene.record("web-1").owner
    assert (owner.host_id, owner.generation, owner.epoch) == (target.host_id, 2, 3)
    assert (owner.phase, owner.migration_id) == (OwnerPhase.MIGRATING, migration.migration_id)
    assert migration.generation == 2
    assert scene.migrations() == [migration]


@pytest.mark.parametrize("at", range(1, 11))
async def test_a_leader_that_dies_after_any_write_leaves_what_the_next_one_ends(
    scene, monkeypatch, at
):
    scene.add("web-1")
    scene.add("web-2")
    writes = 0
    transact = LeaderWrites.transact

    async def counted(self, when, then):
        nonlocal writes
        done = await transact(self, when, then)
        writes += 1
        if writes == at:
            raise Crash
        return done

    monkeypatch.setattr(LeaderWrites, "transact", counted)
    scene.cut("kvm-01")
    with pytest.raises(Crash):
        await scene.settle()
    monkeypatch.setattr(LeaderWrites, "transact", transact)
    scene.lead()
    await scene.settle()
    incident = scene.incident()
    assert incident.state is IncidentState.RESCUED
    assert [one.state for one in incident.servers] == [RescueState.RESCUED] * 2
    for name in ("web-1", "web-2"):
        owner = scene.record(name).owner
        assert scene.running(name) == [scene.agents[owner.host_id].facts.name]
        assert (owner.generation, owner.phase) == (2, OwnerPhase.SETTLED)
    assert len(scene.etcd.list(keys.INCIDENTS).items) == 1


@pytest.mark.parametrize("call", ["prepare", "define", "start", "complete"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_leader_that_dies_around_any_call_leaves_what_the_next_one_ends(scene, call, when):
    def crash() -> None:
        raise Crash

    scene.add("web-1")
    for agent in scene.agents.values():
        getattr(agent, when)[call] = crash
    scene.cut("kvm-01")
    with pytest.raises(Crash):
        await scene.settle()
    for agent in scene.agents.values():
        agent.before.clear()
        agent.after.clear()
    scene.lead()
    await scene.settle()
    assert len(scene.running("web-1")) == 1
    assert scene.line("web-1").state is RescueState.RESCUED
    assert scene.record("web-1").owner.phase is OwnerPhase.SETTLED
