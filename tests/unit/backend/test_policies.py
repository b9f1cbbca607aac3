"""What operators decide about hosts and servers, against a real etcd."""

import asyncio
import logging

import msgspec
import pytest

from backend.health.policies import Policies
from backend.leader_writes import LeaderWrites
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy, RescuePriority, ServerPolicy
from wire.rescue import HostPolicyChange, ServerPolicyChange


@pytest.fixture
def policies(two, etcd, leads) -> Policies:
    return Policies(LeaderWrites(etcd, leads), two.fleet, leads)


def stored(etcd, host_id: str = "host-1") -> HostPolicy:
    item = etcd.get(keys.POLICIES + host_id)
    return msgspec.json.decode(item.value, type=HostPolicy) if item else HostPolicy()


async def set_host(policies: Policies, **given: bool) -> None:
    await policies.change_host("kvm-01", HostPolicyChange(**given), requested_by="alice")


async def test_what_is_not_given_stays_as_it_is(two, etcd, policies):
    kept = HostPolicy(maintenance=True)
    etcd.put(keys.POLICIES + "host-1", msgspec.json.encode(kept))
    await set_host(policies, auto_migrate_on_host_down=True)
    await set_host(policies, auto_migrate_on_host_shutdown=True)
    expected = HostPolicy(
        maintenance=True, auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True
    )
    assert stored(etcd) == two.fleet.policies["host-1"] == expected


@pytest.mark.parametrize(
    ("before", "given"),
    [
        ({}, {"auto_migrate_on_host_shutdown": True}),
        ({}, {"auto_migrate_on_host_shutdown": True, "auto_migrate_on_host_down": False}),
        (
            {"auto_migrate_on_host_shutdown": True, "auto_migrate_on_host_down": True},
            {"auto_migrate_on_host_down": False},
        ),
    ],
)
async def test_shutdown_needs_down_after_the_change(etcd, policies, before, given):
    etcd.put(keys.POLICIES + "host-1", msgspec.json.encode(HostPolicy(**before)))
    with pytest.raises(GodwitError, match=r"kvm-01 .* enable both, or disable both") as caught:
        await set_host(policies, **given)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert stored(etcd) == HostPolicy(**before)


async def test_both_are_enabled_and_disabled_in_one_change(etcd, policies):
    for enabled in (True, False):
        await set_host(
            policies,
            auto_migrate_on_host_down=enabled,
            auto_migrate_on_host_shutdown=enabled,
        )
        assert stored(etcd).auto_migrate_on_host_down is enabled
        assert stored(etcd).auto_migrate_on_host_shutdown is enabled


async def test_a_change_of_nothing_is_refused(policies):
    with pytest.raises(GodwitError, match="nothing to change: give") as caught:
        await set_host(policies)
    assert caught.value.code is ErrorCode.BAD_REQUEST


async def test_changes_by_two_at_once_are_both_kept(etcd, policies):
    await set_host(policies, auto_migrate_on_host_down=True)
    maintained = msgspec.json.encode(HostPolicy(maintenance=True, auto_migrate_on_host_down=True))
    read = policies._etcd.get

    async def overtaken(key: str):
        item = await read(key)
        policies._etcd.get = read
        await asyncio.to_thread(etcd.put, key, maintained)
        return item

    policies._etcd.get = overtaken
    await set_host(policies, auto_migrate_on_host_shutdown=True)
    assert stored(etcd).maintenance
    assert stored(etcd).auto_migrate_on_host_shutdown


async def test_one_that_others_change_all_the_time_is_left_to_them(etcd, policies):
    read, theirs = policies._etcd.get, []

    async def overtaken(key: str):
        item = await read(key)
        theirs.append(HostPolicy(maintenance=len(theirs) % 2 == 0))
        await asyncio.to_thread(etcd.put, key, msgspec.json.encode(theirs[-1]))
        return item

    policies._etcd.get = overtaken
    with pytest.raises(GodwitError, match=r"host-1 keeps changing in etcd; try again") as caught:
        await set_host(policies, auto_migrate_on_host_down=True)
    assert caught.value.code is ErrorCode.CONFLICT
    assert stored(etcd) == theirs[-1]


async def test_one_that_cannot_be_read_is_told_and_stays(etcd, policies):
    etcd.put(keys.POLICIES + "host-1", "{")
    with pytest.raises(GodwitError, match=r"etcd holds under \S+host-1 cannot be read") as told:
        await set_host(policies, auto_migrate_on_host_down=True)
    assert told.value.code is ErrorCode.CONFLICT
    assert etcd.get(keys.POLICIES + "host-1").text == "{"


async def test_who_changed_what_is_in_the_log(policies, caplog):
    with caplog.at_level(logging.INFO):
        await set_host(policies, auto_migrate_on_host_down=True)
    assert "alice sets of host kvm-01: auto_migrate_on_host_down enable" in caplog.text


async def test_a_server_gets_its_priority(two, etcd, policies):
    change = ServerPolicyChange(rescue_priority=RescuePriority.HIGH)
    await policies.change_server("web-1", change, requested_by="alice")
    item = etcd.get(keys.SERVER_POLICIES + "id-web-1")
    assert item is not None
    expected = ServerPolicy(rescue_priority=RescuePriority.HIGH)
    assert msgspec.json.decode(item.value, type=ServerPolicy) == expected
    assert two.fleet.server_policies["id-web-1"] == expected


async def test_only_the_leader_writes(etcd, policies):
    etcd.put(keys.LEADER, b"backend-2")
    with pytest.raises(GodwitError) as caught:
        await set_host(policies, auto_migrate_on_host_down=True)
    assert caught.value.code is ErrorCode.NOT_LEADING
    assert etcd.get(keys.POLICIES + "host-1") is None
