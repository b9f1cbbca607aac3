"""Each filter refuses what it is for, names both values, and lets a fitting host through."""

import msgspec
import pytest

from backend.scheduler.candidates import COLD_FILTERS, LIVE_FILTERS, candidates, filters_of
from backend.scheduler.move import HostState, Move, Skips
from wire.agent import CpuComparison
from wire.candidates import Candidate
from wire.fleet import Disk, HostMeters, HostPolicy, HostStatus, ServerStatus, StoragePool

GIB = 1 << 30
LOCAL_DISK = Disk(
    target="vdb",
    source="/local/x.img",
    pool_id="p",
    pool_name="local",
    capacity_bytes=4 * GIB,
    allocation_bytes=GIB,
)
LOCAL_CDROM = Disk(
    target="hdc", source="/local/x.iso", device="cdrom", pool_id="p", pool_name="local"
)
LOCAL_POOL = StoragePool(
    pool_id="p-on-2",
    name="local",
    shared=False,
    path="/local",
    capacity_bytes=100 * GIB,
    available_bytes=10 * GIB,
)


@pytest.fixture
def move(make_host, make_server) -> Move:
    return Move(server=make_server(), status=ServerStatus.RUNNING, source=make_host(1))


@pytest.fixture
def cold(move) -> Move:
    return msgspec.structs.replace(move, kind="cold", status=ServerStatus.READY)


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


def judged(move: Move, target: HostState) -> Candidate:
    return candidates(move, [target])[0]


def refusals(move: Move, target: HostState) -> dict[str, str]:
    return {one.filter: one.reason for one in judged(move, target).verdicts if not one.passed}


def test_an_equal_host_passes_every_filter(move, cold, target):
    assert refusals(move, target) == {}
    assert refusals(cold, target) == {}
    assert judged(move, target).fits


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
    move, cold, target, changes, filter_name, words
):
    other = with_facts(target, **changes)
    found = refusals(move, other)
    assert list(found) == [filter_name]
    for word in words:
        assert word in found[filter_name]
    only_live = filter_name in {"cpu_model", "microcode", "kernel", "page_size"}
    assert list(refusals(cold, other)) == ([] if only_live else [filter_name])


def test_verdicts_carry_both_values_whether_they_pass_or_not(move, target):
    values = {
        one.filter: (one.wanted, one.found)
        for one in judged(move, with_facts(target, microcode="0x428")).verdicts
    }
    assert values["microcode"] == ("0x42e", "0x428")
    assert values["kernel"] == ("6.1.0-1-amd64", "6.1.0-1-amd64")
    assert values["memory"] == ("1024 MiB", "15360 MiB free")
    assert values["shared_pools"] == ("shared", "shared")
    assert values["not_source"] == ("not kvm-01", "kvm-02")
    assert values["disks"] == ("files in pools", "no local disks")


def test_the_source_itself_is_refused(move, target):
    here = msgspec.structs.replace(target, facts=move.source)
    assert refusals(move, here) == {"not_source": "kvm-01 is where web-1 runs"}


@pytest.mark.parametrize("status", [HostStatus.OFFLINE, HostStatus.UNREACHABLE, HostStatus.UNKNOWN])
def test_a_host_that_is_not_online_is_refused_with_its_reason(move, target, status):
    away = msgspec.structs.replace(target, status=status, status_reason="no answer")
    assert refusals(move, away) == {"online": f"kvm-02 is {status}, not online: no answer"}


def test_a_host_that_shuts_down_takes_no_servers(move, target):
    leaving = msgspec.structs.replace(target, shutting_down=True)
    assert refusals(move, leaving) == {"shutdown": "kvm-02 shuts down"}
    assert all(
        any(rule.name == "shutdown" for rule in filters_of(kind))
        for kind in ("live", "cold", "rescue")
    )


def test_a_host_in_maintenance_is_refused(move, target):
    closed = msgspec.structs.replace(target, policy=HostPolicy(maintenance=True))
    assert list(refusals(move, closed)) == ["maintenance"]


@pytest.mark.parametrize("status", ServerStatus)
def test_only_a_server_that_is_on_moves_live_and_only_a_stopped_one_cold(
    move, cold, target, status
):
    live_refused = status not in {ServerStatus.RUNNING, ServerStatus.SUSPEND}
    found = refusals(msgspec.structs.replace(move, status=status), target)
    assert list(found) == (["status"] if live_refused else [])
    found = refusals(msgspec.structs.replace(cold, status=status), target)
    assert list(found) == ([] if status is ServerStatus.READY else ["status"])


def test_the_other_kind_of_move_is_advised(move, cold, target):
    stopped = msgspec.structs.replace(move, status=ServerStatus.READY)
    assert refusals(stopped, target)["status"].endswith("; use server-migrate")
    running = msgspec.structs.replace(cold, status=ServerStatus.RUNNING)
    assert refusals(running, target)["status"].endswith("; use server-live-migrate")


@pytest.fixture
def roomy(target) -> HostState:
    return with_facts(target, pools=(*target.facts.pools, LOCAL_POOL))


def test_local_disks_need_a_local_pool_of_the_same_name(move, cold, target, roomy):
    for one in (move, cold):
        mixed = with_server(one, disks=(*one.server.disks, LOCAL_DISK))
        found = refusals(mixed, target)
        assert list(found) == ["local_pools"]
        assert "kvm-02 has no local pool of this name" in found["local_pools"]
        assert refusals(mixed, roomy) == {}


def test_a_shared_pool_of_that_name_is_no_place_for_local_disks(move, target):
    shared = msgspec.structs.replace(LOCAL_POOL, shared=True)
    other = with_facts(target, pools=(*target.facts.pools, shared))
    mixed = with_server(move, disks=(*move.server.disks, LOCAL_DISK))
    assert list(refusals(mixed, other)) == ["local_pools"]


def test_a_sparse_disk_needs_room_for_its_full_size(move, roomy):
    sparse = msgspec.structs.replace(LOCAL_DISK, capacity_bytes=10 * GIB + 1)
    found = refusals(with_server(move, disks=(sparse,)), roomy)
    assert list(found) == ["local_pools"]
    assert "needs 10240 MiB in pool local" in found["local_pools"]


def test_room_that_moves_under_way_will_take_is_not_free(move, roomy):
    mixed = with_server(move, disks=(LOCAL_DISK,))
    busy = msgspec.structs.replace(roomy, incoming_pool_bytes={"local": 7 * GIB})
    assert "7168 MiB of it promised" in refusals(mixed, busy)["local_pools"]
    elsewhere = msgspec.structs.replace(roomy, incoming_pool_bytes={"other": 7 * GIB})
    assert refusals(mixed, elsewhere) == {}


def test_a_disk_outside_of_any_pool_is_refused_with_its_path(move, cold, target):
    stray = Disk(target="vdc", source="/dev/vg/stray", device="lun")
    for one in (move, cold):
        found = refusals(with_server(one, disks=(stray,)), target)
        assert list(found) == ["disks"]
        assert "vdc (/dev/vg/stray) in no storage pool of kvm-01" in found["disks"]


def test_a_local_disk_that_is_no_file_is_not_copied(move, cold, target, roomy):
    volume = msgspec.structs.replace(LOCAL_DISK, source="/dev/vg/x", kind="block")
    for one in (move, cold):
        held = with_server(one, disks=(volume,))
        found = refusals(held, roomy)
        assert list(found) == ["disks"]
        assert "vdb (/dev/vg/x) on kvm-01, which is no file" in found["disks"]
        (verdict,) = (each for each in judged(held, roomy).verdicts if not each.passed)
        assert (verdict.wanted, verdict.found) == ("files in pools", "vdb of kind block")
        shared = msgspec.structs.replace(volume, shared=True, pool_id="pool-shared")
        assert refusals(with_server(one, disks=(shared,)), target) == {}


def test_a_volume_group_takes_no_files(move, cold, target):
    group = msgspec.structs.replace(LOCAL_POOL, kind="logical")
    other = with_facts(target, pools=(*target.facts.pools, group))
    for one in (move, cold):
        found = refusals(with_server(one, disks=(LOCAL_DISK,)), other)
        assert list(found) == ["local_pools"]
        assert "which on kvm-02 is of type logical and holds no files" in found["local_pools"]


def test_devices_of_the_host_hold_a_server_where_it_is(move, cold, target):
    for one in (move, cold):
        found = refusals(with_server(one, passthrough=("PCI device 0000:3b:00.0",)), target)
        assert list(found) == ["devices"]
        assert "PCI device 0000:3b:00.0 of kvm-01" in found["devices"]


def test_local_media_are_ejected_for_a_live_move_and_go_along_with_a_cold_one(
    move, cold, target, roomy
):
    found = refusals(with_server(move, disks=(LOCAL_CDROM,)), target)
    assert list(found) == ["media"]
    assert "hdc (/local/x.iso)" in found["media"]
    assert "eject it first" in found["media"]
    assert refusals(with_server(cold, disks=(LOCAL_CDROM,)), roomy) == {}
    shared = msgspec.structs.replace(LOCAL_CDROM, shared=True, pool_id="pool-shared")
    assert refusals(with_server(move, disks=(shared,)), target) == {}


def test_snapshots_hold_back_a_live_move_only(move, cold, target):
    found = refusals(with_server(move, snapshot_names=("before", "after")), target)
    assert list(found) == ["snapshots"]
    assert "before, after" in found["snapshots"]
    assert refusals(with_server(cold, snapshot_names=("before",)), target) == {}


def lacking(*features: str, error: str = "") -> CpuComparison:
    return CpuComparison(compatible=False, missing_features=features, error=error)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu": lacking("avx2", "bmi1")}, "CPU features that kvm-02 lacks: avx2, bmi1"),
        ({"cpu": lacking(error="unknown CPU model X")}, "unknown CPU model X"),
        ({"cpu_silence": "kvm-02 is slow"}, "did not say"),
    ],
)
def test_a_cpu_that_does_not_offer_what_the_guest_has_is_refused(
    move, cold, target, changes, words
):
    other = msgspec.structs.replace(target, **changes)
    found = refusals(move, other)
    assert list(found) == ["cpu_features"]
    assert words in found["cpu_features"]
    assert refusals(cold, other) == {}


def test_a_cpu_that_offers_all_passes(move, target):
    fine = msgspec.structs.replace(target, cpu=CpuComparison(compatible=True))
    assert refusals(move, fine) == {}


def skipping(move: Move, **skips: bool) -> Move:
    return msgspec.structs.replace(move, skips=Skips(**skips))


def test_skipping_the_cpu_check_lifts_its_three_filters_and_nothing_else(move, target):
    other = msgspec.structs.replace(
        with_facts(target, cpu_model_name="EPYC", microcode="0x1", kernel="6.2", page_size_bytes=1),
        cpu=lacking("avx2"),
    )
    assert set(refusals(skipping(move, cpu=True), other)) == {"kernel", "page_size"}
    lifted = [one for one in judged(skipping(move, cpu=True), other).verdicts if one.skipped]
    assert [one.filter for one in lifted] == ["cpu_model", "microcode", "cpu_features"]
    assert all(one.passed and one.reason for one in lifted)


def test_skipping_the_kernel_check_lifts_the_kernel_and_nothing_else(move, target):
    other = with_facts(target, microcode="0x1", kernel="6.2", page_size_bytes=1)
    skipped = skipping(move, kernel=True)
    assert set(refusals(skipped, other)) == {"microcode", "page_size"}
    assert "6.1.0-1-amd64 on kvm-01, 6.2 on kvm-02" in judged(skipped, other).risk
    both = judged(skipping(move, cpu=True, kernel=True), other)
    assert "microcode" not in both.risk
    assert "the move is safe although the microcode differs" in both.safe


def test_nothing_is_risked_where_no_skipped_filter_refuses(move, target):
    both = skipping(move, cpu=True, kernel=True)
    assert (judged(both, target).risk, judged(both, target).safe) == ("", "")
    assert not any(one.skipped for one in judged(both, target).verdicts)


def test_the_risk_names_the_features_that_the_guest_would_lose(move, target):
    other = msgspec.structs.replace(target, cpu=lacking("avx2", "bmi1"))
    found = judged(skipping(move, cpu=True), other)
    assert "would lose the CPU features avx2, bmi1 on kvm-02" in found.risk
    assert found.safe == ""


def test_a_move_is_called_safe_although_the_microcode_differs(move, target):
    other = msgspec.structs.replace(
        with_facts(target, microcode="0x1"), cpu=CpuComparison(compatible=True)
    )
    found = judged(skipping(with_server(move, cpu_xml="<cpu/>"), cpu=True), other)
    assert found.fits
    assert found.risk == ""
    assert found.safe == (
        "libvirt says that the CPU of kvm-02 offers all that web-1 was started with, so that the "
        "move is safe although the microcode differs"
    )


def test_the_risk_is_unknown_where_the_host_did_not_answer(move, target):
    silent = msgspec.structs.replace(with_facts(target, microcode="0x1"), cpu_silence="no answer")
    assert "did not say" in judged(skipping(move, cpu=True), silent).risk


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


def test_a_stopped_server_needs_free_memory_only_if_it_is_started(cold, target):
    full = msgspec.structs.replace(
        target, meters=HostMeters(cpu_percent=0.0, memory_used_bytes=16 * GIB)
    )
    assert refusals(cold, full) == {}
    started = msgspec.structs.replace(cold, auto_start=True)
    assert "0 MiB free" in refusals(started, full)["memory"]
    assert (
        "kvm-02 has 16384 MiB" in refusals(with_server(cold, memory_bytes=17 * GIB), full)["memory"]
    )


def test_a_host_with_less_to_do_and_fewer_servers_comes_first(move, target, make_host):
    def state(number: int, cpu_percent: float, servers: int) -> HostState:
        return msgspec.structs.replace(
            target,
            facts=make_host(number),
            meters=HostMeters(cpu_percent=cpu_percent, memory_used_bytes=GIB),
            server_count=servers,
        )

    hosts = [state(3, 90.0, 0), state(4, 10.0, 9), state(5, 10.0, 2)]
    assert [one.host_name for one in candidates(move, hosts)] == ["kvm-05", "kvm-04", "kvm-03"]


def test_a_host_that_needs_no_check_to_be_skipped_comes_before_one_that_does(
    move, target, make_host
):
    """And one that lacks features of the guest comes last, however much memory it has."""
    here = msgspec.structs.replace(target, cpu=CpuComparison(compatible=True))
    full = msgspec.structs.replace(
        here, meters=HostMeters(cpu_percent=99.0, memory_used_bytes=10 * GIB)
    )
    strict = msgspec.structs.replace(full, facts=make_host(3), incoming_moves=3)
    kernel = msgspec.structs.replace(full, facts=make_host(4, kernel="5.10"))
    lacks = msgspec.structs.replace(here, facts=make_host(5), cpu=lacking("aes"))
    asked = with_server(skipping(move, cpu=True, kernel=True), cpu_xml="<cpu/>")
    found = candidates(asked, [lacks, kernel, strict])
    assert [one.host_name for one in found] == ["kvm-03", "kvm-04", "kvm-05"]
    assert all(one.fits for one in found)


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


def test_every_filter_speaks_for_every_host(move, cold, target):
    away = msgspec.structs.replace(
        with_facts(target, microcode="0x1", hypervisor="esxi"), status=HostStatus.OFFLINE
    )
    for one, filters, count in ((move, LIVE_FILTERS, 3), (cold, COLD_FILTERS, 2)):
        found = judged(one, away)
        assert [verdict.filter for verdict in found.verdicts] == [rule.name for rule in filters]
        assert len(found.reasons) == count
        assert all(verdict.wanted and verdict.found for verdict in found.verdicts)
