import msgspec
import pytest

from wire.compatibility import differences
from wire.fleet import HostFacts

HERE = HostFacts(
    host_id="11111111-1111-1111-1111-111111111111",
    name="kvm-01",
    address="10.0.0.1",
    agent_url="https://10.0.0.1:8600",
    cpu_architecture="x86_64",
    cpu_model_name="Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz",
    microcode="0x42e",
    kernel="6.1.0-18-amd64",
    cpu_count=16,
    page_size_bytes=4096,
    memory_total_bytes=64 << 30,
    libvirt_cpu_model="IvyBridge-IBRS",
    cpu_features=("pcid",),
    machine_types=("pc", "q35"),
    virt_types=("kvm",),
    qemu_version="7.2.0",
    libvirt_version="9.0.0",
    agent_version="0.1.0",
    pools=(),
)


def test_hosts_that_differ_only_in_name_are_the_same():
    there = msgspec.structs.replace(HERE, host_id="2", name="kvm-02", qemu_version="8.0.0")
    assert differences(HERE, there) == ()


@pytest.mark.parametrize(
    ("change", "label", "here", "there"),
    [
        ({"cpu_architecture": "aarch64"}, "CPU architecture", "x86_64", "aarch64"),
        ({"cpu_model_name": "AMD EPYC"}, "CPU model", HERE.cpu_model_name, "AMD EPYC"),
        ({"microcode": "0x428"}, "microcode", "0x42e", "0x428"),
        ({"kernel": "6.1.0-20-amd64"}, "kernel", "6.1.0-18-amd64", "6.1.0-20-amd64"),
        ({"page_size_bytes": 65536}, "page size", "4096", "65536"),
    ],
)
def test_each_compared_fact_names_both_values(change, label, here, there):
    (found,) = differences(HERE, msgspec.structs.replace(HERE, **change))
    assert (found.label, found.here, found.there) == (label, here, there)


def test_differences_come_in_the_order_of_the_rule():
    there = msgspec.structs.replace(HERE, kernel="5", microcode="0x1", cpu_model_name="other")
    assert [one.field for one in differences(HERE, there)] == ["cpu_model", "microcode", "kernel"]
