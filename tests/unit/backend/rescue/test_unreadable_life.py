"""Nobody knows which life of a host was its last: nothing is proven, and nothing started."""

import pytest

from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.migration import MigrationOptions
from wire.rescue import IncidentState

KEY = keys.LIVES + "host-1"


async def declare_off(scene):
    await scene.desk._declare(scene.incident(), "ann")


async def test_a_host_is_not_dead_by_an_older_life(scene):
    scene.add("web-1")
    scene.etcd.put(KEY, b"?")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    await scene.pass_(12.0)
    incident = scene.incident()
    assert (incident.state, incident.dead_at_ms) == (IncidentState.HELD, 0)
    assert KEY in incident.held_reason
    await declare_off(scene)
    await scene.settle()
    assert (scene.incident().dead_at_ms, scene.migrations()) == (0, [])


async def test_a_proof_is_void_once_the_last_life_cannot_be_read(scene):
    scene.add("web-1")
    scene.put_policy("kvm-01", down=False)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    assert await scene.drive.is_dead("host-1")
    judged = await scene.starting.candidates(scene.record("web-1"), auto_start=True)
    target = next(one for one in judged if one.fits)
    scene.etcd.put(KEY, b"?")  # in etcd alone: this backend has not seen it yet
    assert not await scene.drive.is_dead("host-1")
    options = MigrationOptions(auto_start=True)
    record = scene.fleet.records["id-web-1"]
    with pytest.raises(GodwitError, match="cannot be read") as refused:
        await scene.starting.claim(scene.incident(), record, target, options, by="ann")
    assert refused.value.code is ErrorCode.CONFLICT


async def test_a_person_who_deletes_the_key_and_gives_a_word_has_the_servers_started(scene):
    scene.add("web-1")
    scene.etcd.put(KEY, b"?")
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    scene.etcd.delete(KEY)
    scene.sync()
    await scene.pass_(70.0)
    assert "unfenced" in scene.incident().held_reason
    await declare_off(scene)
    await scene.settle()
    assert len(scene.running("web-1")) == 1


async def test_nothing_is_proven_while_etcd_does_not_answer(scene, monkeypatch):
    scene.add("web-1")
    scene.put_policy("kvm-01", down=False)
    scene.cut("kvm-01")
    await scene.pass_(12.0)

    async def life(_host_id):
        raise EtcdUnreachable(("e:1",), "no answer in time")

    monkeypatch.setattr(scene.drive.journal, "life", life)
    assert not await scene.drive.is_dead("host-1")
