"""Verdicts that are shared among hosts and servers that look alike are the scheduler's own."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.evacuations.alike import OF_IDENTITY, OF_ROOM, OF_THE_SERVER, Alike, bound, has_room
from backend.scheduler.candidates import candidates, filters_of
from backend.scheduler.move import HostState, Move, Skips
from tests.unit.backend.evacuations.planned import GIB, Planned, disk, pool
from wire.fleet import HostMeters, HostPolicy, HostStatus, PowerState, ServerFacts, ServerStatus

_HOST = Planned(hosts=1).fleet.facts["host-1"]

facts = st.builds(
    lambda number, **changes: msgspec.structs.replace(
        _HOST, host_id=f"host-{number}", name=f"kvm-{number:02}", **changes
    ),
    st.integers(2, 40),
    hypervisor=st.sampled_from(["kvm", "kvm", "xen"]),
    cpu_model_name=st.sampled_from(["Xeon", "Epyc"]),
    microcode=st.sampled_from(["0x1", "0x2"]),
    kernel=st.sampled_from(["6.1", "6.2"]),
    page_size_bytes=st.sampled_from([4096, 65536]),
    machine_types=st.sampled_from([("pc-i440fx-7.2",), ("pc-q35-7.2",)]),
    virt_types=st.sampled_from([("qemu",), ("kvm", "qemu")]),
    pools=st.sampled_from(
        [(pool("shared"), pool("local")), (pool("shared"),), (pool("local", free_gib=3),)]
    ),
)
states = st.builds(
    HostState,
    facts=facts,
    status=st.sampled_from([HostStatus.ONLINE, HostStatus.ONLINE, HostStatus.OFFLINE]),
    shutting_down=st.booleans(),
    policy=st.sampled_from([HostPolicy(), HostPolicy(), HostPolicy(maintenance=True)]),
    meters=st.sampled_from(
        [None, *(HostMeters(cpu_percent=5.0, memory_used_bytes=used * GIB) for used in (1, 60))]
    ),
)
moves = st.builds(
    Move,
    server=st.builds(
        ServerFacts,
        server_id=st.just("id-web-1"),
        name=st.just("web-1"),
        vcpu_count=st.just(1),
        memory_bytes=st.sampled_from([1 * GIB, 8 * GIB]),
        disks=st.sampled_from([(disk("shared"),), (disk("local", gib=4),), ()]),
        machine=st.sampled_from(["pc-i440fx-7.2", ""]),
        virt_type=st.sampled_from(["qemu", "kvm"]),
        state=st.just(PowerState.RUNNING),
        passthrough=st.sampled_from([(), (), ("PCI device 1",)]),
        snapshot_names=st.sampled_from([(), (), ("before",)]),
    ),
    status=st.sampled_from([ServerStatus.RUNNING, ServerStatus.READY, ServerStatus.UNKNOWN]),
    source=st.just(_HOST),
    kind=st.sampled_from(["live", "cold", "rescue"]),
    auto_start=st.booleans(),
    skips=st.builds(Skips, cpu=st.booleans(), kernel=st.booleans()),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(states, min_size=1, max_size=12, unique_by=lambda one: one.facts.host_id), moves)
def test_shared_verdicts_fit_the_hosts_that_the_scheduler_lets_through(hosts, move):
    by_id = {one.facts.host_id: one for one in hosts}
    alike = Alike(hosts)
    fitting = {
        host_id
        for verdict in alike.verdicts(move)
        if not verdict.refused
        for host_id in verdict.host_ids
        if has_room(move, by_id[host_id]) and not bound(move, by_id[host_id])
    }
    judged = candidates(move, hosts)
    assert fitting == {one.host_id for one in judged if one.fits}
    listed = [host_id for verdict in alike.verdicts(move) for host_id in verdict.host_ids]
    assert sorted(listed) == sorted(by_id)


def test_every_filter_is_of_the_server_of_room_of_identity_or_judged_by_kind():
    by_kind = {
        "online",
        "maintenance",
        "shutdown",
        "hypervisor",
        "cpu_architecture",
        "cpu_model",
        "microcode",
        "cpu_features",
        "kernel",
        "page_size",
        "virt_type",
        "machine_type",
        "shared_pools",
    }
    names = {rule.name for kind in ("live", "cold", "rescue") for rule in filters_of(kind)}
    assert names == by_kind | OF_THE_SERVER | OF_ROOM | OF_IDENTITY
