"""Forgetting a server: only what no host has, whatever it takes to know that."""

import logging

import msgspec
import pytest

from backend.leader_writes import LeaderWrites
from backend.migrations.forgetting import Forgetter
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import OwnerPhase, PowerState, ServerPolicy
from wire.life import HealthValue
from wire.migration import MigrationState
from wire.rescue import Incident

KEPT = (keys.SERVERS, keys.DEFINITIONS, keys.SERVER_POLICIES)
LIFE = HealthValue(boot_id="b", epoch=3)


@pytest.fixture
def forgetter(stage) -> Forgetter:
    """Of web-1, which is lost: neither kvm-01, its owner, nor kvm-02 has it."""
    stage.put_server(PowerState.ABSENT, phase=OwnerPhase.LOST)
    stage.put_migration(MigrationState.FAILED)
    stage.etcd.put(keys.DEFINITIONS + "id-web-1", b"<domain/>")
    policy = msgspec.json.encode(ServerPolicy())
    stage.etcd.put(keys.SERVER_POLICIES + "id-web-1", policy)
    writes = LeaderWrites(stage.etcd, stage.leadership)
    return Forgetter(stage.drive, writes, stage.leadership)


def kept(stage) -> list[str]:
    return [prefix for prefix in KEPT if stage.etcd.get(prefix + "id-web-1") is not None]


async def refused(stage, forgetter, code: ErrorCode = ErrorCode.CONFLICT) -> str:
    with pytest.raises(GodwitError) as caught:
        await forgetter.forget("web-1", requested_by="alice")
    assert caught.value.code is code
    assert kept(stage) == list(KEPT)
    return caught.value.message


def away() -> None:
    raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")


def lose(stage, *, dead: bool) -> None:
    """kvm-01 is gone, and its agent silent."""
    fleet = stage.two.fleet
    stage.here.before["truth"] = away
    fleet.put_health("host-1", None)
    stage.etcd.put(keys.LIVES + "host-1", msgspec.json.encode(LIFE))
    fleet.put_life("host-1", LIFE)
    incident = Incident(
        incident_id="i1",
        host_id="host-1",
        host_name="kvm-01",
        life=LIFE,
        lost_at_ms=1,
        dead_at_ms=2 if dead else 0,
    )
    fleet.put_incident("i1", incident)


async def test_all_that_is_kept_of_a_server_that_no_host_has_goes(stage, forgetter, caplog):
    caplog.set_level(logging.WARNING)
    await forgetter.forget("web-1", requested_by="alice")
    assert kept(stage) == []
    assert "id-web-1" not in stage.two.fleet.records
    assert (stage.here.calls, stage.there.calls) == (["truth"], ["truth"])
    assert "alice forgets web-1" in caplog.text


@pytest.mark.parametrize("state", [PowerState.RUNNING, PowerState.SHUT_OFF, PowerState.PAUSED])
@pytest.mark.parametrize("host", ["here", "there"])
async def test_a_server_that_a_host_has_stays(stage, forgetter, host, state):
    agent = getattr(stage, host)
    agent.state = state
    assert f"{agent.name} has it" in await refused(stage, forgetter)


@pytest.mark.parametrize("host", ["here", "there"])
async def test_a_host_that_does_not_answer_may_have_it(stage, forgetter, host):
    agent = getattr(stage, host)
    agent.before["truth"] = away
    sentence = await refused(stage, forgetter, ErrorCode.AGENT_UNREACHABLE)
    assert sentence.startswith(f"{agent.name} may hold a copy of web-1")


async def test_an_owner_that_is_lost_may_have_it_until_it_is_dead(stage, forgetter):
    lose(stage, dead=False)
    await refused(stage, forgetter, ErrorCode.AGENT_UNREACHABLE)
    lose(stage, dead=True)
    await forgetter.forget("web-1", requested_by="alice")
    assert kept(stage) == []


async def test_a_dead_owner_that_comes_back_meanwhile_keeps_it(stage, forgetter, monkeypatch):
    lose(stage, dead=True)
    transact = forgetter._etcd.transact

    async def late(when, then):
        newer = msgspec.structs.replace(LIFE, epoch=4)
        stage.etcd.put(keys.LIVES + "host-1", msgspec.json.encode(newer))
        return await transact(when, then)

    monkeypatch.setattr(forgetter._etcd, "transact", late)
    assert "or a host is back" in await refused(stage, forgetter)


async def test_a_server_that_was_just_found_again_stays(stage, forgetter):
    stage.there.after["truth"] = lambda: stage.put_server(PowerState.SHUT_OFF)
    assert "has just changed in etcd" in await refused(stage, forgetter)


@pytest.mark.parametrize("lock", ["m2", "what a settling left"])
async def test_a_server_that_something_holds_stays(stage, forgetter, lock):
    stage.put_server(PowerState.ABSENT, phase=OwnerPhase.MIGRATING, migration_id=lock)
    assert f"web-1 is held by {lock}" in await refused(stage, forgetter)


async def test_an_old_leader_forgets_nothing(stage, forgetter):
    stage.etcd.put(keys.LEADER, b"another")
    await refused(stage, forgetter, ErrorCode.NOT_LEADING)
