"""Every refusal of a migration that is asked for: one sentence, and nothing was changed."""

import asyncio

import msgspec
import pytest

from backend.migrations.desk import Desk
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, HostPolicy, OwnerPhase, PowerState
from wire.migration import MigrationOptions, MigrationState

RUNNING, SHUT_OFF = PowerState.RUNNING, PowerState.SHUT_OFF
LOCAL = Disk(target="vdb", source="/l/x", pool_id="p", pool_name="local", capacity_bytes=8 << 30)


@pytest.fixture
def desk(stage) -> Desk:
    stage.put_server(RUNNING)
    return Desk(stage.drive, stage.leadership, asyncio.Event())


async def ask(desk: Desk, kind: str = "live", server: str = "web-1", **options: object):
    return await desk.migrate(kind, server, MigrationOptions(**options), requested_by="alice")


async def refused(stage, asking, code: ErrorCode = ErrorCode.CONFLICT) -> GodwitError:
    with pytest.raises(GodwitError) as caught:
        await asking
    assert caught.value.code is code, caught.value.message
    assert "\n" not in caught.value.message
    assert stage.etcd.list(keys.MIGRATIONS).items == ()
    return caught.value


def change_server(stage, state: PowerState = RUNNING, **changes: object) -> None:
    stage.two.server = msgspec.structs.replace(stage.two.server, **changes)
    stage.put_server(state)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("live", {"max_bandwidth_bytes_per_s": 0}, "is 0, and must be at least 1048576 (1 MiB/s)"),
        ("live", {"max_bandwidth_bytes_per_s": -1}, "is -1"),
        ("cold", {"max_bandwidth_bytes_per_s": 1000}, "is 1000"),
        ("live", {"downtime_limit_ms": 0}, "downtime_limit_ms is 0, and must be 1 to 2000000"),
        ("live", {"downtime_limit_ms": 2_000_001}, "downtime_limit_ms is 2000001"),
        ("live", {"downtime_bound_ms": 0}, "downtime_bound_ms is 0"),
        (
            "live",
            {"quickly_finish": True, "downtime_limit_ms": 900, "downtime_bound_ms": 800},
            "downtime_bound_ms is 800, and must be at least downtime_limit_ms, which is 900",
        ),
        ("live", {"auto_start": True}, "auto_start is true, and only a cold migration has it"),
        ("cold", {"skip_cpu_check": True}, "skip_cpu_check is true, and only a live migration"),
        ("cold", {"skip_kernel_check": True}, "skip_kernel_check"),
        ("cold", {"enable_tls": True}, "enable_tls"),
        ("cold", {"quickly_finish": True}, "quickly_finish"),
        ("cold", {"downtime_limit_ms": 500}, "downtime_limit_ms is 500, and only a live"),
        ("cold", {"keep_dest_guest_on_failed": True}, "keep_dest_guest_on_failed"),
    ],
)
async def test_options_that_cannot_be_meant_are_refused(stage, desk, kind, options, words):
    error = await refused(stage, ask(desk, kind, **options), ErrorCode.BAD_REQUEST)
    assert words in error.message


async def test_a_stopped_server_is_not_moved_live(stage, desk):
    change_server(stage, SHUT_OFF)
    error = await refused(stage, ask(desk))
    assert error.message == (
        "web-1 is stopped (ready), and a live migration needs it running or paused; "
        "use server-migrate"
    )


async def test_a_running_server_is_not_moved_cold(stage, desk):
    error = await refused(stage, ask(desk, "cold"))
    assert error.message == (
        "web-1 is running, and a cold migration needs it stopped; use server-live-migrate"
    )


@pytest.mark.parametrize("kind", ["live", "cold"])
async def test_what_does_not_exist_is_named(stage, desk, kind):
    error = await refused(stage, ask(desk, kind, "web-9"), ErrorCode.NOT_FOUND)
    assert "'web-9'" in error.message
    asking = ask(desk, kind, prefer_host="kvm-77")
    assert "'kvm-77'" in (await refused(stage, asking, ErrorCode.NOT_FOUND)).message


@pytest.mark.parametrize(("kind", "state"), [("live", RUNNING), ("cold", SHUT_OFF)])
async def test_the_source_as_preferred_host_is_refused(stage, desk, kind, state):
    change_server(stage, state)
    asking = ask(desk, kind, prefer_host="kvm-01")
    error = await refused(stage, asking, ErrorCode.NO_TARGET)
    assert error.message.startswith("web-1 is on kvm-01 already")


@pytest.mark.parametrize(("kind", "state"), [("live", RUNNING), ("cold", SHUT_OFF)])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passthrough": ("PCI device 0000:3b:00.0",)}, "holds PCI device 0000:3b:00.0"),
        ({"disks": (LOCAL,)}, "no local pool of this name"),
        ({"disks": (msgspec.structs.replace(LOCAL, pool_id="", pool_name=""),)}, "in no storage"),
        ({"memory_bytes": 17 << 30}, "needs 17408 MiB of memory"),
    ],
)
@pytest.mark.parametrize("prefer_host", ["", "kvm-02"])
async def test_what_fits_nowhere_says_why_and_carries_every_candidate(
    stage, desk, kind, state, changes, words, prefer_host
):
    change_server(stage, state, **changes)
    asking = ask(desk, kind, prefer_host=prefer_host)
    error = await refused(stage, asking, ErrorCode.NO_TARGET)
    assert words in error.message
    assert {one.host_name for one in error.candidates} == {"kvm-01", "kvm-02"}


@pytest.mark.parametrize(("kind", "state"), [("live", RUNNING), ("cold", SHUT_OFF)])
async def test_a_host_in_maintenance_takes_nothing(stage, desk, kind, state):
    change_server(stage, state)
    stage.two.fleet.put_policy("host-2", HostPolicy(maintenance=True))
    asking = ask(desk, kind, prefer_host="kvm-02")
    error = await refused(stage, asking, ErrorCode.NO_TARGET)
    assert "kvm-02 is in maintenance and takes no servers" in error.message
    assert "emptied" not in error.message


@pytest.mark.parametrize(("kind", "state"), [("live", RUNNING), ("cold", SHUT_OFF)])
async def test_of_two_moves_of_one_server_the_second_is_refused(stage, desk, kind, state):
    change_server(stage, state)
    first = await ask(desk, kind)
    assert (first.kind, first.state, first.requested_by) == (kind, MigrationState.QUEUED, "alice")
    with pytest.raises(GodwitError) as caught:
        await ask(desk, kind)
    assert f"web-1 already migrates (migration {first.migration_id})" in caught.value.message


async def test_a_server_that_was_lost_names_the_command_that_defines_it_again(stage, desk):
    stage.put_server(RUNNING, phase=OwnerPhase.LOST)
    error = await refused(stage, ask(desk))
    assert "godwit server-settle --keep-host HOST web-1" in error.message


async def test_a_server_whose_host_is_silent_is_not_moved(stage, desk):
    stage.two.fleet.agent_lost("host-1", "connection refused", silent=True)
    error = await refused(stage, ask(desk), ErrorCode.AGENT_UNREACHABLE)
    assert "kvm-01 does not say now how web-1 stands" in error.message


async def test_a_paused_server_moves_live(stage, desk):
    change_server(stage, PowerState.PAUSED)
    assert (await ask(desk)).state is MigrationState.QUEUED
