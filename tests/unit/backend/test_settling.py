"""Settling a server: what is refused, and that exactly one copy is left in the safe order."""

import msgspec
import pytest

from backend.migrations.settling import Settler
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import OwnerPhase, PowerState, ServerRecord
from wire.life import HealthValue
from wire.migration import MigrationState, PostcopyState
from wire.rescue import Incident

RUNNING, PAUSED, SHUT_OFF, ABSENT = (
    PowerState.RUNNING,
    PowerState.PAUSED,
    PowerState.SHUT_OFF,
    PowerState.ABSENT,
)


@pytest.fixture
def settler(stage) -> Settler:
    stage.put_server(RUNNING)
    stage.put_migration(MigrationState.FAILED)
    return Settler(stage.drive, stage.leadership)


def both(stage, here: PowerState, there: PowerState, detail: str = "") -> None:
    stage.here.state, stage.there.state = here, there
    stage.here.detail = detail if here is PAUSED else ""
    stage.there.detail = detail if there is PAUSED else ""


async def settle(settler: Settler, host: str):
    return await settler.settle("web-1", host, requested_by="alice")


async def refused(asking, code: ErrorCode = ErrorCode.CONFLICT) -> str:
    with pytest.raises(GodwitError) as caught:
        await asking
    assert caught.value.code is code
    return caught.value.message


@pytest.mark.parametrize("state", [RUNNING, SHUT_OFF])
async def test_a_server_in_order_is_left_alone(stage, settler, state):
    both(stage, state, ABSENT)
    sentence = await refused(settle(settler, "kvm-02"))
    assert sentence.startswith("there is nothing to settle: web-1 is on kvm-01 alone")
    assert stage.owner.generation == 1


async def test_a_server_that_a_person_paused_is_in_order(stage, settler):
    both(stage, PAUSED, ABSENT, "user")
    assert "nothing to settle" in await refused(settle(settler, "kvm-01"))


async def test_a_server_under_migration_is_left_to_it(stage, settler):
    stage.put_server(RUNNING, phase=OwnerPhase.MIGRATING, migration_id="m2")
    stage.put_migration(MigrationState.COPYING_MEMORY, migration_id="m2")
    assert "migrates now (migration m2)" in await refused(settle(settler, "kvm-01"))


@pytest.mark.parametrize("host", ["here", "there"])
async def test_nothing_is_done_while_a_host_that_may_hold_a_copy_is_silent(stage, settler, host):
    both(stage, RUNNING, RUNNING)

    def away() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    agent = getattr(stage, host)
    agent.before["truth"] = away
    sentence = await refused(settle(settler, "kvm-01"), ErrorCode.AGENT_UNREACHABLE)
    assert sentence.startswith(f"{agent.name} may hold a copy of web-1 and does not answer")
    assert stage.owner.generation == 1


@pytest.mark.parametrize(
    ("keep", "kept", "ended"), [("kvm-01", "here", "there"), ("kvm-02", "there", "here")]
)
async def test_of_two_running_copies_one_stays(stage, settler, keep, kept, ended):
    both(stage, RUNNING, RUNNING)
    await settle(settler, keep)
    kept, ended = getattr(stage, kept), getattr(stage, ended)
    assert (kept.state, ended.state) == (RUNNING, ABSENT)
    assert (kept.calls, ended.calls) == (["truth"], ["truth", "remove"])
    owner = stage.owner
    assert (owner.host_id, owner.generation) == (f"host-{keep[-1]}", 2)
    note = stage.migration.notes[-1]
    assert (note.text, note.by) == (f"settled: kept on {keep}, ended on {ended.name}", "alice")


@pytest.mark.parametrize(("state", "wanted_on"), [(SHUT_OFF, False), (RUNNING, True)])
async def test_a_copy_that_is_off_stays_so_until_a_person_starts_it(
    stage, settler, state, wanted_on
):
    both(stage, state, PAUSED, "post-copy failed")
    await settle(settler, "kvm-01")
    item = stage.etcd.get(keys.SERVERS + "id-web-1")
    record = msgspec.json.decode(item.value, type=ServerRecord)
    assert (record.owner.phase, record.wanted_on) == (OwnerPhase.SETTLED, wanted_on)


async def test_a_copy_that_the_migration_paused_runs_again(stage, settler):
    both(stage, PAUSED, ABSENT, "migrating")
    await settle(settler, "kvm-01")
    assert stage.here.calls == ["truth", "resume"]
    assert stage.here.state is RUNNING


async def test_a_leftover_beside_a_running_guest_is_ended(stage, settler):
    both(stage, RUNNING, PAUSED, "migrating")
    await settle(settler, "kvm-01")
    assert (stage.here.state, stage.there.state) == (RUNNING, ABSENT)


async def test_a_host_without_a_copy_keeps_nothing_while_another_has_one(stage, settler):
    both(stage, ABSENT, RUNNING)
    sentence = await refused(settle(settler, "kvm-01"))
    assert sentence == "kvm-01 has no whole copy of web-1 to keep; kvm-02 has one"
    await settle(settler, "kvm-02")
    assert stage.owner.host_id == "host-2"


async def test_memory_that_never_arrived_whole_is_not_kept(stage, settler):
    both(stage, RUNNING, PAUSED, "post-copy failed")
    assert "kvm-02 has no whole copy" in await refused(settle(settler, "kvm-02"))


async def test_a_server_that_no_host_has_is_defined_from_what_etcd_keeps(stage, settler):
    stage.put_server(RUNNING, phase=OwnerPhase.LOST)
    both(stage, ABSENT, ABSENT)
    assert "etcd keeps no definition" in await refused(settle(settler, "kvm-02"))
    stage.etcd.put(keys.DEFINITIONS + "id-web-1", b"<domain/>")
    phases = []
    stage.there.before["define"] = lambda: phases.append(stage.owner.phase)
    await settle(settler, "kvm-02")
    assert stage.there.calls == ["truth", "truth", "prepare", "define", "complete"]
    assert stage.there.commands["define"].definition == "<domain/>"
    assert stage.there.commands["prepare"].files == ()
    assert stage.there.state is SHUT_OFF
    # its agent may not forget the record before libvirt has the server
    assert phases == [OwnerPhase.MIGRATING]
    owner = stage.owner
    assert (owner.host_id, owner.phase, owner.migration_id) == ("host-2", OwnerPhase.SETTLED, "")
    stored = stage.etcd.get(keys.SERVERS + "id-web-1")
    assert not msgspec.json.decode(stored.value, type=ServerRecord).wanted_on
    assert stage.migration.notes[-1].by == "alice"


async def test_halves_of_a_lost_guest_are_ended_before_it_is_defined_again(stage, settler):
    stage.put_server(RUNNING, phase=OwnerPhase.LOST)
    both(stage, PAUSED, PAUSED, "post-copy failed")
    stage.etcd.put(keys.DEFINITIONS + "id-web-1", b"<domain/>")
    await settle(settler, "kvm-02")
    assert stage.here.calls == ["truth", "remove"]
    assert [one for one in stage.there.calls if one != "truth"] == [
        "remove",
        "prepare",
        "define",
        "complete",
    ]
    assert (stage.here.state, stage.there.state) == (ABSENT, SHUT_OFF)
    assert stage.owner.host_id == "host-2"


@pytest.fixture
def broken(stage) -> Settler:
    """A post-copy that was cut at its switch: half a guest here, and memory that stays paused."""
    stage.put_server(RUNNING, phase=OwnerPhase.MIGRATING, migration_id="m1")
    stage.put_migration(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.PAUSED)
    both(stage, PAUSED, PAUSED, "post-copy failed")
    stage.there.detail, stage.there.incoming_memory = "migrating", True
    stage.etcd.put(keys.DEFINITIONS + "id-web-1", b"<domain/>")
    return Settler(stage.drive, stage.leadership)


async def test_a_post_copy_that_broke_off_for_good_ends_by_settling(stage, broken):
    await settle(broken, "kvm-01")
    assert (stage.here.state, stage.there.state) == (SHUT_OFF, ABSENT)
    final = stage.migration
    assert final.state is MigrationState.FAILED
    assert final.outcome.startswith("web-1 is lost: it ran in post-copy")
    assert [one.text for one in final.notes] == [
        "post-copy given up by settling",
        "settled: defined again on kvm-01, stopped",
    ]
    owner = stage.owner
    assert (owner.host_id, owner.phase, owner.migration_id) == ("host-1", OwnerPhase.SETTLED, "")


async def test_a_post_copy_that_goes_on_is_not_given_up(stage, broken):
    stage.there.state, stage.there.detail, stage.there.incoming_memory = RUNNING, "", False
    assert "migrates now (migration m1)" in await refused(settle(broken, "kvm-01"))
    stage.put_migration(MigrationState.SWITCHING_OVER, postcopy=PostcopyState.ACTIVE)
    both(stage, PAUSED, PAUSED, "post-copy failed")
    assert "migrates now (migration m1)" in await refused(settle(broken, "kvm-01"))
    assert stage.owner.migration_id == "m1"
    assert (stage.here.calls, stage.there.calls) == (["truth"], ["truth"])


async def test_an_owner_that_changed_since_it_was_looked_at_is_not_overwritten(stage, settler):
    both(stage, RUNNING, RUNNING)

    def change() -> None:
        item = stage.etcd.get(keys.SERVERS + "id-web-1")
        record = msgspec.json.decode(item.value, type=type(stage.two.fleet.records["id-web-1"]))
        owner = msgspec.structs.replace(record.owner, generation=9)
        changed = msgspec.structs.replace(record, owner=owner)
        stage.etcd.put(item.key, msgspec.json.encode(changed))

    stage.there.before["truth"] = change
    assert "has just changed hands" in await refused(settle(settler, "kvm-01"))
    assert (stage.there.state, stage.owner.generation) == (RUNNING, 9)


async def test_a_settling_that_broke_off_can_be_asked_for_again(stage, settler):
    both(stage, RUNNING, RUNNING)

    def away() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    stage.there.before["remove"] = away
    await refused(settle(settler, "kvm-01"), ErrorCode.AGENT_UNREACHABLE)
    stage.there.before.clear()
    await settle(settler, "kvm-01")
    assert (stage.here.state, stage.there.state) == (RUNNING, ABSENT)


async def test_a_definition_that_broke_off_can_be_asked_for_again(stage, settler):
    stage.put_server(RUNNING, phase=OwnerPhase.LOST)
    both(stage, ABSENT, ABSENT)
    stage.etcd.put(keys.DEFINITIONS + "id-web-1", b"<domain/>")

    def away() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    stage.there.before["define"] = away
    await refused(settle(settler, "kvm-02"), ErrorCode.AGENT_UNREACHABLE)
    assert stage.owner.phase is OwnerPhase.MIGRATING
    stage.there.before.clear()
    await settle(settler, "kvm-02")
    assert (stage.there.state, stage.owner.phase) == (SHUT_OFF, OwnerPhase.SETTLED)


def die(stage, *, proven: bool) -> None:
    """kvm-01 is away, with its key gone from etcd."""

    def silent() -> None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")

    stage.here.before["truth"] = silent
    fleet = stage.two.fleet
    fleet.put_health("host-1", None)
    life = HealthValue(boot_id="b", epoch=3)
    stage.etcd.put(keys.LIVES + "host-1", msgspec.json.encode(life))
    fleet.put_life("host-1", life)
    incident = Incident(
        incident_id="i1",
        host_id="host-1",
        host_name="kvm-01",
        life=life,
        lost_at_ms=1,
        dead_at_ms=2 if proven else 0,
    )
    fleet.put_incident("i1", incident)


async def test_a_dead_host_has_no_copy(stage, settler):
    both(stage, RUNNING, PAUSED, "user")
    die(stage, proven=True)
    await settle(settler, "kvm-02")
    assert stage.owner.host_id == "host-2"


async def test_a_host_that_is_merely_gone_may_hold_one(stage, settler):
    both(stage, RUNNING, PAUSED, "user")
    die(stage, proven=False)
    sentence = await refused(settle(settler, "kvm-02"), ErrorCode.AGENT_UNREACHABLE)
    assert "kvm-01 may hold a copy" in sentence
    assert stage.owner.host_id == "host-1"


@pytest.mark.parametrize("declared_off_by", ["", "alice"])
async def test_a_guest_that_its_fence_leaves_alive_is_settled_only_on_somebodys_word(
    stage, settler, declared_off_by
):
    both(stage, RUNNING, PAUSED, "user")
    die(stage, proven=True)
    fleet = stage.two.fleet
    record = msgspec.structs.replace(fleet.records["id-web-1"], bound_by="vda is on a local disk")
    stage.etcd.put(keys.SERVERS + "id-web-1", msgspec.json.encode(record))
    fleet.put_record("id-web-1", record)
    incident = msgspec.structs.replace(fleet.incidents["i1"], declared_off_by=declared_off_by)
    fleet.put_incident("i1", incident)
    if declared_off_by:
        await settle(settler, "kvm-02")
        assert stage.owner.host_id == "host-2"
        return
    sentence = await refused(settle(settler, "kvm-02"), ErrorCode.AGENT_UNREACHABLE)
    assert "vda is on a local disk, so that the fence of kvm-01 leaves web-1 alive" in sentence
    assert "host-declare-off kvm-01" in sentence
    assert stage.owner.host_id == "host-1"


async def test_nothing_is_settled_if_the_dead_host_has_lived_again_meanwhile(stage, settler):
    both(stage, RUNNING, PAUSED, "user")
    die(stage, proven=True)

    def live() -> None:  # its key is gone again; this backend has seen neither
        life = HealthValue(boot_id="b", epoch=4)
        stage.etcd.put(keys.LIVES + "host-1", msgspec.json.encode(life))
        stage.two.fleet.put_incident("i1", None)

    transact = stage.drive.journal._etcd.transact

    async def late(when, then):
        live()
        return await transact(when, then)

    stage.drive.journal._etcd.transact = late
    await refused(settle(settler, "kvm-02"))
    assert stage.owner.host_id == "host-1"


async def test_nothing_is_settled_if_the_dead_host_is_back_by_then(stage, settler):
    both(stage, RUNNING, PAUSED, "user")
    die(stage, proven=True)
    life = msgspec.json.encode(HealthValue(boot_id="b", epoch=4))
    stage.etcd.put(keys.HEALTH + "host-1", life)  # not seen by this backend yet
    await refused(settle(settler, "kvm-02"))
    assert stage.owner.host_id == "host-1"
