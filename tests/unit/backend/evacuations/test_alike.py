"""Verdicts that are shared among hosts and servers that look alike are the scheduler's own."""

from itertools import product

import msgspec

from backend.evacuations.placing.alike import (
    OF_IDENTITY,
    OF_ROOM,
    OF_THE_SERVER,
    Alike,
    bound,
    has_room,
)
from backend.scheduler.candidates import candidates, filters_of
from backend.scheduler.move import HostState, Move, Skips
from tests.unit.backend.evacuations.planned import GIB, Planned, disk, pool
from wire.fleet import HostMeters, HostPolicy, HostStatus, PowerState, ServerFacts, ServerStatus

HOST = Planned(hosts=1).fleet.facts["host-1"]
SERVER = ServerFacts(
    server_id="id-web-1",
    name="web-1",
    vcpu_count=1,
    memory_bytes=GIB,
    disks=(disk("shared"),),
    machine="pc-i440fx-7.2",
    virt_type="qemu",
    state=PowerState.RUNNING,
)
FACTS: list[dict[str, object]] = [
    {},
    {"hypervisor": "xen"},
    {"cpu_architecture": "aarch64"},
    {"cpu_model_name": "Epyc"},
    {"microcode": "0x1"},
    {"kernel": "6.2"},
    {"page_size_bytes": 65536},
    {"machine_types": ("pc-q35-7.2",)},
    {"virt_types": ("kvm",)},
    {"pools": (pool("shared"),)},
    {"pools": (pool("local", free_gib=3),)},
    {"pools": (pool("other"), pool("local"))},
]
"""Hosts and sources differ in one thing at most: each alone has to keep them apart."""
STATES: list[dict[str, object]] = [
    {"status": HostStatus.OFFLINE},
    {"shutting_down": True},
    {"policy": HostPolicy(maintenance=True)},
    {"meters": None},
    {"meters": HostMeters(cpu_percent=5.0, memory_used_bytes=64 * GIB)},
]
SERVERS: list[dict[str, object]] = [
    {},
    {"memory_bytes": 8 * GIB},
    {"disks": (disk("local", gib=4),)},
    {"disks": (disk("other"),)},
    {"disks": (msgspec.structs.replace(disk("local"), pool_id=""),)},
    {"disks": (msgspec.structs.replace(disk("local"), device="cdrom"),)},
    {"disks": ()},
    {"machine": "pc-q35-7.2"},
    {"virt_type": "kvm"},
    {"passthrough": ("PCI device 1",)},
    {"snapshot_names": ("before",)},
]


def hosts() -> list[HostState]:
    """One of each, in the order of their numbers."""
    changed = [(facts, {}) for facts in FACTS] + [({}, state) for state in STATES]
    found = []
    for number, (facts, state) in enumerate(changed, start=2):
        named = {"host_id": f"host-{number}", "name": f"kvm-{number:02}"}
        base = HostState(
            facts=msgspec.structs.replace(HOST, **named, **facts),
            status=HostStatus.ONLINE,
            meters=HostMeters(cpu_percent=5.0, memory_used_bytes=GIB),
        )
        found.append(msgspec.structs.replace(base, **state))
    return found


def moves() -> list[Move]:
    """Servers that differ in one thing, and sources that do, in every kind and with every skip."""
    pairs = [(server, {}) for server in SERVERS] + [({}, source) for source in FACTS]
    ways = [
        ("live", ServerStatus.RUNNING),
        ("live", ServerStatus.READY),
        ("cold", ServerStatus.READY),
        ("rescue", ServerStatus.UNKNOWN),
    ]
    return [
        Move(
            server=msgspec.structs.replace(SERVER, **server),
            status=status,
            source=msgspec.structs.replace(HOST, **source),
            kind=kind,
            skips=Skips(cpu=cpu, kernel=kernel),
        )
        for (server, source), (kind, status), cpu, kernel in product(
            pairs, ways, (False, True), (False, True)
        )
    ]


def test_shared_verdicts_let_through_whom_the_scheduler_lets_through():
    listed = hosts()
    alike, by_id = Alike(listed), {one.facts.host_id: one for one in listed}
    let_through = 0
    for move in moves():
        verdicts = alike.verdicts(move)
        fitting = {
            host_id
            for verdict in verdicts
            if not verdict.refused
            for host_id in verdict.host_ids
            if has_room(move, by_id[host_id]) and not bound(move, by_id[host_id])
        }
        assert fitting == {one.host_id for one in candidates(move, listed) if one.fits}
        assert sorted(one for each in verdicts for one in each.host_ids) == sorted(by_id)
        let_through += len(fitting)
    assert let_through > len(listed)


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
