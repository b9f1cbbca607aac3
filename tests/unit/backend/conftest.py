"""Hosts and servers for the backend's unit tests."""

from collections.abc import Callable

import pytest

from backend.fleet.known import Fleet
from wire.agent import AgentSnapshot
from wire.fleet import (
    Disk,
    HealthValue,
    HostFacts,
    HostMeters,
    Owner,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
    StoragePool,
)

GIB = 1 << 30
SHARED = StoragePool(
    pool_id="pool-shared",
    name="shared",
    shared=True,
    path="/shared",
    capacity_bytes=100 * GIB,
    available_bytes=50 * GIB,
)
SHARED_DISK = Disk(
    target="vda",
    source="/shared/web-1.img",
    pool_id="pool-shared",
    pool_name="shared",
    shared=True,
)

MakeHost = Callable[..., HostFacts]
MakeServer = Callable[..., ServerFacts]


@pytest.fixture
def make_host() -> MakeHost:
    def make(number: int, **changes: object) -> HostFacts:
        values: dict[str, object] = {
            "host_id": f"host-{number}",
            "name": f"kvm-{number:02}",
            "address": f"10.77.1.{10 + number}",
            "agent_url": f"https://10.77.1.{10 + number}:8600",
            "cpu_architecture": "x86_64",
            "cpu_model_name": "Intel Xeon E5-2650 v2",
            "microcode": "0x42e",
            "kernel": "6.1.0-1-amd64",
            "cpu_count": 8,
            "page_size_bytes": 4096,
            "memory_total_bytes": 16 * GIB,
            "libvirt_cpu_model": "IvyBridge",
            "cpu_features": (),
            "machine_types": ("pc-i440fx-7.2",),
            "virt_types": ("qemu",),
            "qemu_version": "7.2.0",
            "libvirt_version": "9.0.0",
            "agent_version": "0.1.0",
            "pools": (SHARED,),
        }
        return HostFacts(**(values | changes))  # type: ignore[arg-type]  # test data by field name

    return make


@pytest.fixture
def make_server() -> MakeServer:
    def make(name: str = "web-1", **changes: object) -> ServerFacts:
        values: dict[str, object] = {
            "server_id": f"id-{name}",
            "name": name,
            "vcpu_count": 1,
            "memory_bytes": GIB,
            "disks": (SHARED_DISK,),
            "machine": "pc-i440fx-7.2",
            "virt_type": "qemu",
            "state": PowerState.RUNNING,
        }
        return ServerFacts(**(values | changes))  # type: ignore[arg-type]  # test data by field name

    return make


class FleetOfTwo:
    """kvm-01 and kvm-02 online, web-1 running on kvm-01; tests change what they are about."""

    def __init__(self, make_host: MakeHost, make_server: MakeServer) -> None:
        self.fleet = Fleet()
        self.hosts = [make_host(1), make_host(2)]
        self.server = make_server()
        for host in self.hosts:
            self.add_host(host)
        self.add_record(self.server, self.hosts[0])
        self.report(self.hosts[0], self.server)
        self.report(self.hosts[1])

    def add_host(self, host: HostFacts) -> None:
        self.fleet.put_facts(host.host_id, host)
        self.fleet.put_health(host.host_id, HealthValue(boot_id="b", epoch=3))

    def add_record(
        self,
        server: ServerFacts,
        host: HostFacts,
        *,
        wanted_on: bool = True,
        migration_id: str = "",
    ) -> ServerRecord:
        record = ServerRecord(
            server_id=server.server_id,
            name=server.name,
            vcpu_count=server.vcpu_count,
            memory_bytes=server.memory_bytes,
            disks=server.disks,
            owner=Owner(
                host_id=host.host_id,
                epoch=3,
                generation=1,
                phase=OwnerPhase.MIGRATING if migration_id else OwnerPhase.SETTLED,
                migration_id=migration_id,
            ),
            wanted_on=wanted_on,
        )
        self.fleet.put_record(server.server_id, record)
        return record

    def report(self, host: HostFacts, *servers: ServerFacts, used_bytes: int = GIB) -> None:
        self.fleet.put_snapshot(
            host.host_id,
            AgentSnapshot(
                facts=host,
                servers=servers,
                jobs=(),
                meters=HostMeters(cpu_percent=1.0, memory_used_bytes=used_bytes),
            ),
        )


@pytest.fixture
def two(make_host: MakeHost, make_server: MakeServer) -> FleetOfTwo:
    return FleetOfTwo(make_host, make_server)
