"""What an agent publishes is what its host is."""

from pathlib import Path

import msgspec
import pytest

from wire.agent import CpuComparison, CpuQuestion
from wire.fleet import HostFacts, HostMeters, PowerState, ServerFacts
from wire.keys import DEFINITIONS, FACTS, HEALTH
from wire.life import HealthValue

pytestmark = pytest.mark.lab


def test_facts_are_the_hosts_own(lab, agents, etcd):
    for host in ("kvm-01", "kvm-02"):
        facts = agents(host).snapshot().facts
        cpuinfo = (lab.folders.node(host) / "cpuinfo").read_text()
        assert f"model name\t: {facts.cpu_model_name}\n" in cpuinfo
        assert f"microcode\t: {facts.microcode}\n" in cpuinfo
        assert facts.name == host == lab.execute(host, "hostname").stdout.strip()
        assert facts.kernel == lab.execute(host, "uname", "-r").stdout.strip()
        assert facts.host_id in lab.virsh(host, "capabilities")
        assert facts.libvirt_cpu_model in lab.virsh(host, "capabilities")
        assert "qemu" in facts.virt_types
        assert "pc" in facts.machine_types
        # QEMU runs as root on the lab's hosts
        assert facts.postcopy is Path("/proc/sys/vm/unprivileged_userfaultfd").exists()
        assert {pool.name: pool.shared for pool in facts.pools} == {"shared": True, "local": False}
        stored = etcd.get(FACTS + facts.host_id)
        published = msgspec.json.decode(stored.value, type=HostFacts)
        assert published.microcode == facts.microcode


def test_hosts_differ_and_share_one_pool(lab, agents):
    snapshots = [agents(host.name).snapshot().facts for host in lab.state.hosts]
    assert len({facts.host_id for facts in snapshots}) == len(snapshots)
    assert len({(facts.cpu_model_name, facts.microcode) for facts in snapshots}) >= 3
    shared = {pool.pool_id for facts in snapshots for pool in facts.pools if pool.shared}
    local = {pool.pool_id for facts in snapshots for pool in facts.pools if not pool.shared}
    assert len(shared) == 1
    assert len(local) == len(snapshots)


def test_health_key_is_held_under_a_lease(lab, agents, etcd):
    facts = agents("kvm-01").snapshot().facts
    stored = etcd.get(HEALTH + facts.host_id)
    health = msgspec.json.decode(stored.value, type=HealthValue)
    boot_id = lab.execute("kvm-01", "cat", "/proc/sys/kernel/random/boot_id").stdout.strip()
    assert stored.lease_id
    assert health.boot_id == boot_id
    assert health.epoch >= 1


def test_a_servers_record_and_definition(lab, agents, etcd, new_server, record_of):
    spec, server_id = new_server(memory_mb=64, storage="mixed")
    record = record_of(server_id)
    facts = agents("kvm-01").snapshot().facts
    assert (record.name, record.memory_bytes) == (spec.name, 64 << 20)
    assert (record.owner.host_id, record.owner.generation) == (facts.host_id, 1)
    assert record.wanted_on
    assert {disk.pool_name: disk.shared for disk in record.disks} == {
        "shared": True,
        "local": False,
    }
    assert all(disk.capacity_bytes > 0 for disk in record.disks)
    definition = etcd.get(DEFINITIONS + server_id).value.decode()
    assert f"<name>{spec.name}</name>" in definition
    assert "id=" not in definition.splitlines()[0]


def test_volatile_figures_stay_out_of_etcd(agents, etcd, new_server, until, listen):
    _, server_id = new_server()
    listener = listen(agents("kvm-01"))
    host_id = agents("kvm-01").snapshot().facts.host_id
    before = etcd.get(FACTS + host_id).mod_revision, etcd.get(DEFINITIONS + server_id).mod_revision
    until(lambda: len(listener.of(HostMeters)) >= 3, "meters are streamed")
    after = etcd.get(FACTS + host_id).mod_revision, etcd.get(DEFINITIONS + server_id).mod_revision
    assert before == after


def test_a_pool_that_comes_and_goes(lab, agents, listen, until):
    listener = listen(agents("kvm-01"))
    lab.virsh("kvm-01", "pool-create-as scratch dir --target /run")
    until(lambda: _has_pool(listener, "scratch"), "the new pool is told")
    lab.virsh("kvm-01", "pool-destroy scratch")
    until(lambda: not _has_pool(listener, "scratch"), "its end is told")


def _has_pool(listener, name: str) -> bool:
    told = listener.of(HostFacts)
    return bool(told) and name in {pool.name for pool in told[-1].pools}


def _states(listener, server_id: str) -> list[str]:
    return [
        f"{facts.state} {facts.state_detail}"
        for facts in listener.of(ServerFacts)
        if facts.server_id == server_id
    ]


def test_each_change_of_a_server_is_told(lab, agents, new_server, listen, until, record_of):
    spec, server_id = new_server()
    listener = listen(agents("kvm-01"))
    for verb, state in (
        ("suspend", "paused user"),
        ("resume", "running unpaused"),
        ("destroy", "shut_off destroyed"),
        ("start", "running booted"),
    ):
        lab.virsh("kvm-01", f"{verb} {spec.name}")
        # far less than the 30 s after which everything is read again anyway
        until(lambda: state in _states(listener, server_id)[-1:], f"{verb} is told", within_s=5)  # noqa: B023
        until(
            lambda: record_of(server_id).wanted_on is (verb != "destroy"),  # noqa: B023
            f"the wish after {verb} is recorded",
            within_s=8,
        )


def test_a_server_tells_what_a_host_needs_to_take_it(lab, agents, new_server, until):
    _, server_id = new_server(memory_mb=64, storage="mixed")
    agent = agents("kvm-01")

    def facts() -> ServerFacts:
        return next(each for each in agent.snapshot().servers if each.server_id == server_id)

    until(lambda: facts().state is PowerState.RUNNING, "it runs")
    assert (facts().architecture, facts().nvram_path, facts().passthrough) == ("x86_64", "", ())
    assert "<model" in facts().cpu_xml
    assert [disk.backing_paths for disk in facts().disks] == [(), ()]
    question = CpuQuestion(
        cpu_xml=facts().cpu_xml,
        architecture=facts().architecture,
        machine=facts().machine,
        virt_type=facts().virt_type,
    )
    asked = ("/v1/cpu-comparison", question, CpuComparison)
    assert agents("kvm-02").post(*asked).compatible
    demanding = msgspec.structs.replace(
        question,
        cpu_xml="<cpu mode='custom' match='exact'><model>qemu64</model>"
        "<feature policy='require' name='avx512f'/></cpu>",
        virt_type="qemu",
    )
    refused = agent.post("/v1/cpu-comparison", demanding, CpuComparison)
    assert (refused.compatible, refused.missing_features) == (False, ("avx512f",))
    unknown = msgspec.structs.replace(demanding, cpu_xml="<cpu><model>Nonsense</model></cpu>")
    refused = agent.post("/v1/cpu-comparison", unknown, CpuComparison)
    assert (refused.compatible, refused.error) == (
        False,
        "internal error: Unknown CPU model Nonsense",
    )


def test_a_stopped_servers_chain_and_snapshots(lab, agents, new_server, until):
    spec, server_id = new_server(memory_mb=64, storage="local", stopped=True)
    agent = agents("kvm-01")
    base = f"/var/lib/libvirt/images/{spec.name}.img"
    overlay = f"{base}.overlay"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, overlay]
    assert lab.execute("kvm-01", *create).returncode == 0
    xml = lab.virsh("kvm-01", f"dumpxml --inactive {spec.name}")
    changed = xml.replace(base, overlay).replace("type='raw'", "type='qcow2'")
    inside = lab.folders.local("kvm-01") / "changed.xml"
    inside.write_text(changed)
    lab.virsh("kvm-01", "define /var/lib/libvirt/images/changed.xml")
    inside.unlink()

    def facts() -> ServerFacts:
        return next(each for each in agent.snapshot().servers if each.server_id == server_id)

    until(lambda: [disk.backing_paths for disk in facts().disks] == [(base,)], "the chain is read")
    lab.virsh("kvm-01", f"snapshot-create-as {spec.name} before-update")
    lab.virsh("kvm-01", f"start {spec.name}")
    until(lambda: facts().snapshot_names == ("before-update",), "the snapshot is told")
    until(lambda: facts().state is PowerState.RUNNING, "it runs")
    assert [disk.backing_paths for disk in facts().disks] == [(base,)]
    lab.virsh("kvm-01", f"snapshot-delete {spec.name} before-update --metadata")
    lab.virsh("kvm-01", f"destroy {spec.name}")
    (lab.folders.local("kvm-01") / f"{spec.name}.img.overlay").unlink()
