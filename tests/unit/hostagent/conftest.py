"""A host's facts for the agent's unit tests."""

from collections.abc import Callable

import msgspec
import pytest

from wire.fleet import HostFacts, StoragePool

FACTS = HostFacts(
    host_id="host-1",
    name="kvm-01",
    address="10.0.0.1",
    agent_url="https://10.0.0.1:8600",
    cpu_architecture="x86_64",
    cpu_model_name="Xeon",
    microcode="0x1",
    kernel="6.1",
    cpu_count=2,
    page_size_bytes=4096,
    memory_total_bytes=1 << 30,
    libvirt_cpu_model="Broadwell",
    cpu_features=(),
    machine_types=("pc",),
    virt_types=("qemu",),
    qemu_version="7.2.22",
    libvirt_version="9.0.0",
    agent_version="0.1.0",
    pools=(
        StoragePool(
            pool_id="pool-1",
            name="shared",
            shared=True,
            path="/pool",
            capacity_bytes=1000,
            available_bytes=500,
        ),
    ),
)


@pytest.fixture
def make_facts() -> Callable[..., HostFacts]:
    """Facts of ``kvm-01``; ``available_bytes`` is that of its only pool."""

    def make(*, available_bytes: int = 500, **fields: object) -> HostFacts:
        pool = msgspec.structs.replace(FACTS.pools[0], available_bytes=available_bytes)
        return msgspec.structs.replace(FACTS, **{"pools": (pool,), **fields})

    return make
