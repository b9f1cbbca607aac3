"""Rescues by hand, declarations, and who is refused what."""

from typing import Any

import pytest

from backend.audit.entries import Audit
from wire import keys
from wire.audit import AuditEntry
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, OwnerPhase, PowerState
from wire.life import Fence
from wire.rescue import DeclareOff, IncidentState, RescueOptions, RescueState
from wire.role import Role

BOUND = "vda lies on this host alone (/local/db-1.img)"


async def refused(scene, **options: Any) -> GodwitError:
    with pytest.raises(GodwitError) as error:
        await scene.desk.rescue("web-1", RescueOptions(**options), requested_by="ann")
    assert scene.migrations() == []
    return error.value


async def dead(scene, **fields: Any):
    """kvm-01 is dead, and nobody wants its servers elsewhere without being asked."""
    scene.put_policy("kvm-01", down=False)
    scene.add("web-1", **fields)
    scene.cut("kvm-01")
    await scene.pass_(12.0)
    assert scene.incident().dead_at_ms


async def test_a_server_is_only_defined_unless_its_start_is_asked_for(scene):
    await dead(scene)
    migration = await scene.desk.rescue("web-1", RescueOptions(), requested_by="ann")
    assert (migration.kind, migration.requested_by) == ("rescue", "ann")
    await scene.settle()
    record = scene.record("web-1")
    assert scene.running("web-1") == []
    assert scene.agents[record.owner.host_id].states["id-web-1"] is PowerState.SHUT_OFF
    assert not record.wanted_on
    assert scene.line("web-1").state is RescueState.RESCUED
    assert scene.line("web-1").running_at_ms == 0


async def test_a_server_is_started_if_that_is_asked_for(scene):
    await dead(scene, suspended=True)
    options = RescueOptions(auto_start=True, prefer_host="kvm-03")
    await scene.desk.rescue("web-1", options, requested_by="ann")
    await scene.settle()
    assert scene.running("web-1") == ["kvm-03"]
    assert scene.record("web-1").wanted_on
    assert not scene.record("web-1").suspended


async def test_who_disarms_what_is_disarmed_adds_the_reason(scene):
    await scene.desk.disarm("2 of 4 hosts were lost together", requested_by="")
    for _ in range(2):
        await scene.desk.disarm("work until 04:00", requested_by="ann")
    guard = scene.fleet.guard
    assert guard.reason == "work until 04:00; before that: 2 of 4 hosts were lost together"
    assert (guard.armed, guard.by) == (False, "ann")


async def test_disarmed_does_not_stop_a_rescue_by_hand(scene):
    await dead(scene)
    await scene.desk.disarm("", requested_by="ann")
    await scene.desk.rescue("web-1", RescueOptions(auto_start=True), requested_by="ann")
    await scene.settle()
    assert len(scene.running("web-1")) == 1


async def test_a_host_that_is_named_is_the_only_one(scene):
    await dead(scene)
    scene.report(scene.hosts[2], used_bytes=16 << 30)
    error = await refused(scene, auto_start=True, prefer_host="kvm-03")
    assert error.code is ErrorCode.NO_TARGET
    assert "kvm-03 has 0 MiB free" in error.message
    assert [one.host_name for one in error.candidates] == ["kvm-02", "kvm-01", "kvm-03"]


async def test_a_named_host_that_fails_is_not_replaced(scene):
    await dead(scene)
    scene.agents["host-3"].refuses["define"] = GodwitError(ErrorCode.CONFLICT, "no")
    options = RescueOptions(auto_start=True, prefer_host="kvm-03")
    await scene.desk.rescue("web-1", options, requested_by="ann")
    await scene.settle()
    assert [one.target_host_name for one in scene.migrations()] == ["kvm-03"]


async def test_a_host_that_holds_its_key_is_not_down(scene):
    scene.add("web-1")
    error = await refused(scene)
    assert error.code is ErrorCode.NOT_PROVEN_DEAD
    assert "still holds its health key" in error.message
    assert "7 s left" in error.message


async def test_a_host_of_which_nobody_knows_yet_says_what_is_missing(scene):
    scene.add("web-1")
    scene.cut("kvm-01")
    error = await refused(scene, auto_start=True)
    assert error.code is ErrorCode.NOT_PROVEN_DEAD
    assert "has not watched etcd for a whole lease of 10 s: 11.0 s to go" in error.message


async def test_an_unfenced_host_has_to_be_declared_off(scene):
    scene.put_life("kvm-01", fence=Fence.NONE)
    await scene.look()
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(30.0)
    error = await refused(scene, auto_start=True)
    assert error.code is ErrorCode.NOT_PROVEN_DEAD
    assert "kvm-01 is unfenced" in error.message
    assert "godwit host-declare-off kvm-01" in error.message
    error = await refused(scene, auto_start=True, host_is_off="kvm-02")
    assert error.code is ErrorCode.BAD_REQUEST
    assert "'kvm-02'" in error.message
    assert not scene.incident().declared_off_by
    scene.put_policy("kvm-01", down=False)
    scene.sync()
    options = RescueOptions(auto_start=True, host_is_off="kvm-01")
    await scene.desk.rescue("web-1", options, requested_by="ann")
    await scene.settle()
    assert len(scene.running("web-1")) == 1
    incident = scene.incident()
    assert incident.declared_off_by == "ann"
    assert "ann has declared that kvm-01 is switched off" in incident.proof
    assert ("kvm-01 is declared to be switched off", "ann") in [
        (one.text, one.by) for one in incident.notes
    ]


async def test_a_host_that_is_alive_cannot_be_declared_off(scene):
    with pytest.raises(GodwitError) as error:
        await scene.desk.declare_off("kvm-01", DeclareOff(host_name="kvm-01"), requested_by="ann")
    assert error.value.code is ErrorCode.NOT_PROVEN_DEAD


async def test_a_declaration_is_void_for_the_next_life(scene):
    scene.put_life("kvm-01", fence=Fence.NONE)
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.pass_(2.0)
    await scene.desk.declare_off("kvm-01", DeclareOff(host_name="kvm-01"), requested_by="ann")
    scene.put_life("kvm-01", epoch=4, fence=Fence.NONE)
    scene.cut("kvm-01")
    await scene.settle()
    incident = scene.incident()
    assert (incident.life.epoch, incident.declared_off_by) == (4, "")
    assert incident.state is IncidentState.HELD
    assert scene.record("web-1").owner.generation == 1


async def test_a_declaration_does_not_shorten_the_wait_for_the_lease(scene):
    scene.put_life("kvm-01", fence=Fence.NONE)
    scene.add("web-1")
    scene.cut("kvm-01")
    await scene.look()
    error = await refused(scene, auto_start=True, host_is_off="kvm-01")
    assert error.code is ErrorCode.NOT_PROVEN_DEAD
    assert "unfenced" not in error.message
    assert "s to go" in error.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bound_by": BOUND}, "vda lies on kvm-01 alone (/local/db-1.img)"),
        ({"definition": ""}, "no definition"),
        ({"phase": OwnerPhase.MIGRATING, "migration_id": "m1"}, "held by migration m1"),
        ({"phase": OwnerPhase.LOST}, "server-settle"),
    ],
)
async def test_a_server_that_no_other_host_can_start_is_refused(scene, fields, words):
    await dead(scene, **fields)
    error = await refused(scene, auto_start=True)
    assert error.code is ErrorCode.CONFLICT
    assert words in error.message


async def test_the_forecast_has_every_host_with_every_verdict(scene):
    scene.add("web-1", memory_bytes=15 << 30)
    scene.report(scene.hosts[1], used_bytes=2 << 30)
    hosts = {one.host_name: one for one in await scene.desk.candidates("web-1")}
    assert [name for name, one in hosts.items() if one.fits] == ["kvm-03"]
    assert "13312" in hosts["kvm-02"].reasons[0] or "MiB free" in hosts["kvm-02"].reasons[0]
    names = [verdict.filter for verdict in hosts["kvm-03"].verdicts]
    assert "microcode" not in names
    assert {"shared_disks", "shared_pools", "memory", "cpu_architecture"} <= set(names)


async def test_the_candidates_of_another_pool_are_refused(scene):
    disk = Disk(target="vda", source="/x", pool_id="pool-x", pool_name="x", shared=True)
    scene.add("web-1", disks=(disk,))
    for one in await scene.desk.candidates("web-1"):
        assert not one.fits
        assert any("has no such shared pool" in reason for reason in one.reasons)


async def test_only_what_a_person_did_is_entered(scene):
    """What a look writes on the way, such as the loss itself, is nobody's act."""
    scene.add("web-1")
    scene.cut("kvm-01")
    audit = Audit(scene.writes, scene.fleet)
    entry = AuditEntry(
        entry_id="a1", at_ms=1, user="ann", role=Role.OPERATOR, verb="server-migrate"
    )
    with pytest.raises(GodwitError), audit.entered(entry):
        await scene.desk.rescue("web-1", RescueOptions(), requested_by="ann")
    assert scene.incident().open
    assert scene.etcd.list(keys.AUDIT).items == ()
    with audit.entered(entry):
        await scene.desk.declare_off("kvm-01", DeclareOff(host_name="kvm-01"), requested_by="ann")
    assert scene.incident().declared_off_by == "ann"
    assert [one.key for one in scene.etcd.list(keys.AUDIT).items] == [keys.AUDIT + "a1"]
