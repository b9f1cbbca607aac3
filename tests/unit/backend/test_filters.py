"""Each filter refuses what it is for, names both values, and lets a fitting host through."""

import msgspec
import pytest

from backend.scheduler.candidates import LIVE_FILTERS, candidates, fits
from backend.scheduler.move import HostState, Move
from wire.fleet import (
    Disk,
    HostMeters,
    HostPolicy,
    HostStatus,
    ServerStatus,
    StoragePool,
)

GIB = 1 << 30
LOCAL_DISK = Disk(target="vdb", source="/local/x.img", pool_id="p", pool_name="local")


@pytest.fixture
def move(make_host, make_server) -> Move:
    return Move(server=make_server(), status=ServerStatus.RUNNING, source=make_host(1))


@pytest.fixture
def target(make_host) -> HostState:
    return HostState(
        facts=make_host(2),
        status=HostStatus.ONLINE,
        meters=HostMeters(cpu_percent=0.0, memory_used_bytes=GIB),
    )


def with_facts(target: HostState, **changes: object) -> HostState:
    return msgspec.structs.replace(target, facts=msgspec.structs.replace(target.facts, **changes))


def with_server(move: Move, **changes: object) -> Move:
    return msgspec.structs.replace(move, server=msgspec.structs.replace(move.server, **changes))


def refusals(move: Move, target: HostState) -> dict[str, str]:
    judged = candidates(move, [target])[0]
    return {one.filter: one.reason for one in judged.verdicts if not one.passed}


def test_an_equal_host_passes_every_filter(move, target):
    assert refusals(move, target) == {}
    assert fits(move, target)


@pytest.mark.parametrize(
    ("changes", "filter_name", "words"),
    [
        ({"cpu_architecture": "aarch64"}, "cpu_architecture", ("x86_64", "aarch64")),
        ({"cpu_model_name": "EPYC"}, "cpu_model", ("Intel Xeon E5-2650 v2", "EPYC")),
        ({"microcode": "0x428"}, "microcode", ("0x42e on kvm-01", "0x428 on kvm-02")),
        ({"microcode": ""}, "microcode", ("0x42e", "none on kvm-02")),
        ({"kernel": "6.2"}, "kernel", ("6.1.0-1-amd64", "6.2")),
        ({"page_size_bytes": 65536}, "page_size", ("4096", "65536")),
        ({"hypervisor": "esxi"}, "hypervisor", ("kvm on kvm-01", "esxi on kvm-02")),
        ({"virt_types": ("kvm",)}, "virt_type", ("qemu", "kvm")),
        ({"machine_types": ("q35",)}, "machine_type", ("pc-i440fx-7.2", "kvm-02")),
        ({"pools": ()}, "shared_pools", ("vda in pool shared (pool-shared)", "kvm-02")),
    ],
)
def test_a_host_that_differs_is_refused_by_one_filter_with_both_values(
    move, target, changes, filter_name, words
):
    found = refusals(move, with_facts(target, **changes))
    assert list(found) == [filter_name]
    for word in words:
        assert word in found[filter_name]


def test_the_source_itself_is_refused(move, target):
    here = msgspec.structs.replace(target, facts=move.source)
    assert refusals(move, here) == {"not_source": "kvm-01 is where web-1 runs"}


@pytest.mark.parametrize("status", [HostStatus.OFFLINE, HostStatus.UNREACHABLE, HostStatus.UNKNOWN])
def test_a_host_that_is_not_online_is_refused_with_its_reason(move, target, status):
    away = msgspec.structs.replace(target, status=status, status_reason="no answer")
    assert refusals(move, away) == {"online": f"kvm-02 is {status}, not online: no answer"}


def test_a_host_in_maintenance_is_refused(move, target):
    closed = msgspec.structs.replace(target, policy=HostPolicy(maintenance=True))
    assert list(refusals(move, closed)) == ["maintenance"]


@pytest.mark.parametrize("status", [one for one in ServerStatus if one is not ServerStatus.RUNNING])
def test_only_a_running_server_moves_live(move, target, status):
    assert list(refusals(msgspec.structs.replace(move, status=status), target)) == ["running"]


def test_local_disks_are_named(move, target):
    found = refusals(with_server(move, disks=(*move.server.disks, LOCAL_DISK)), target)
    assert list(found) == ["local_disks"]
    assert "vdb in pool local" in found["local_disks"]
    assert "not supported" in found["local_disks"]


def test_a_disk_outside_of_any_pool_is_local(move, target):
    stray = Disk(target="vdc", source="/tmp/stray.img")  # noqa: S108 - a path in a definition
    assert "vdc" in refusals(with_server(move, disks=(stray,)), target)["local_disks"]


def test_an_empty_drive_holds_nothing_back(move, target):
    drive = Disk(target="hdc", source="", device="cdrom")
    assert refusals(with_server(move, disks=(*move.server.disks, drive)), target) == {}


def test_a_pool_of_the_same_name_but_another_identity_does_not_count(move, target):
    other = StoragePool(
        pool_id="another", name="shared", shared=True, path="/", capacity_bytes=1, available_bytes=1
    )
    assert list(refusals(move, with_facts(target, pools=(other,)))) == ["shared_pools"]


def test_memory_that_is_used_or_promised_is_not_free(move, target):
    full = msgspec.structs.replace(
        target, meters=HostMeters(cpu_percent=0.0, memory_used_bytes=15 * GIB + 1)
    )
    assert "needs 1024 MiB" in refusals(move, full)["memory"]
    promised = msgspec.structs.replace(target, incoming_bytes=15 * GIB)
    assert "promised" in refusals(move, promised)["memory"]


def test_a_host_without_meters_is_not_trusted_with_memory(move, target):
    assert list(refusals(move, msgspec.structs.replace(target, meters=None))) == ["memory"]


def test_fitting_hosts_come_first_by_free_memory_and_moves_under_way(move, target, make_host):
    def state(number: int, used: int, moves: int = 0) -> HostState:
        return msgspec.structs.replace(
            target,
            facts=make_host(number),
            meters=HostMeters(cpu_percent=0.0, memory_used_bytes=used),
            incoming_moves=moves,
        )

    unfit = with_facts(state(6, 0), microcode="0x1")
    hosts = [unfit, state(3, 8 * GIB), state(4, GIB, moves=2), state(5, 2 * GIB)]
    names = [one.host_name for one in candidates(move, hosts)]
    assert names == ["kvm-05", "kvm-03", "kvm-04", "kvm-06"]


def test_equal_hosts_keep_their_order_while_their_meters_jitter(move, target, make_host):
    def state(number: int, used: int, microcode: str) -> HostState:
        facts = make_host(number, microcode=microcode)
        meters = HostMeters(cpu_percent=0.0, memory_used_bytes=used)
        return msgspec.structs.replace(target, facts=facts, meters=meters)

    same = move.source.microcode
    for first, second in ((GIB, GIB + (9 << 20)), (GIB + (9 << 20), GIB)):
        hosts = [
            state(6, second, "0x1"),
            state(4, second, same),
            state(5, first, "0x1"),
            state(3, first, same),
        ]
        names = [one.host_name for one in candidates(move, hosts)]
        assert names == ["kvm-03", "kvm-04", "kvm-05", "kvm-06"]


def test_every_filter_speaks_for_every_host(move, target):
    away = msgspec.structs.replace(with_facts(target, microcode="0x1"), status=HostStatus.OFFLINE)
    judged = candidates(move, [away])[0]
    assert [one.filter for one in judged.verdicts] == [rule.name for rule in LIVE_FILTERS]
    assert len(judged.reasons) == 2
