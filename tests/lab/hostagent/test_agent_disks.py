"""Local disks that move with a running guest, beside shared ones that stay, and encrypted."""

import signal

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.agent import Job, JobCommand, JobState
from wire.errors import GodwitError
from wire.fleet import PowerState

pytestmark = pytest.mark.lab

MIB = 1 << 20
IMAGES = "/var/lib/libvirt/images"
CALM = Workload(working_set_mb=4, dirty_mb_per_s=1)


def migrate(caller, command) -> Job:
    return caller.post("/v1/migrations", command, Job)


def test_a_local_disk_moves_encrypted_and_a_shared_one_stays(
    lab,
    agents,
    new_server,
    alive,
    command,
    ended,
    runs_once,
    filled,
    room,
    listen,
    until,
    data_digest,
    monitor,
):
    spec, server_id = new_server(memory_mb=64, storage="mixed", workload=CALM)
    before = alive("kvm-01", spec.name, beats=1)
    written = filled(spec.name)
    incoming = room(spec.name)
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=200_000_000))
    source = agents("kvm-01")
    listener = listen(source)
    order = command(
        server_id,
        "kvm-02",
        disks=(incoming,),
        enable_tls=True,
        max_bandwidth_bytes_per_s=6 * MIB,
    )
    migrate(source, order)
    until(
        lambda: source.detail(order["migration_id"]).job.state is JobState.COPYING_DISKS,
        "disks are copied",
    )
    assert monitor("kvm-01", spec.name, "query-migrate-parameters")["tls-hostname"] == "kvm-02"
    nodes = monitor("kvm-01", spec.name, "query-named-block-nodes")
    (copy,) = {node["file"] for node in nodes if node["file"].startswith("nbd://")}
    plain = lab.execute("kvm-01", "qemu-img", "info", copy)
    assert "TLS" in plain.stderr
    detail = ended(source, order["migration_id"])

    assert detail.job.error == ""
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    for option in ("", "--inactive"):
        disks = lab.virsh("kvm-02", f"domblklist {option} {spec.name}")
        assert incoming.path in disks
        assert f"/var/lib/libvirt/shared/{spec.name}.img" in disks
    assert data_digest(lab.folders.local("kvm-02") / f"{spec.name}-arrived.raw") == written
    assert (lab.folders.local("kvm-01") / f"{spec.name}-data.img").exists()
    after = alive("kvm-02", spec.name, beats=before.beats + 1)
    assert (after.boots, after.memory_faults, after.disk_splits) == (1, 0, 0)
    states = [job.state for job in listener.of(Job) if job.server_id == server_id]
    assert states == sorted(states, key=list(JobState).index)
    check_disk_curve(detail)


def check_disk_curve(detail) -> None:
    disks = [sample for sample in detail.samples if sample.pass_number == 0]
    memory = [sample for sample in detail.samples if sample.pass_number > 0]
    assert disks
    assert memory
    assert disks[0].disk_total_bytes >= 32 * MIB
    assert disks[0].disk_remaining_bytes > disks[-1].disk_remaining_bytes
    assert {sample.memory_processed_bytes for sample in disks} == {0}
    assert any(sample.disk_bandwidth_bytes_per_s for sample in disks)
    assert detail.job.passes[0].number == 1
    assert detail.job.statistics.disk_transferred_bytes >= 28 * MIB


def test_a_chain_arrives_flattened(
    lab, agents, new_server, alive, command, ended, runs_once, filled, room, until, data_digest
):
    spec, server_id = new_server(memory_mb=64, storage="mixed", workload=CALM)
    alive("kvm-01", spec.name, beats=1)
    written = filled(spec.name)
    overlay = f"{IMAGES}/{spec.name}-overlay.qcow2"
    lab.virsh(
        "kvm-01",
        f"snapshot-create-as {spec.name} --disk-only --no-metadata "
        f"--diskspec hda,snapshot=no --diskspec hdb,file={overlay}",
        # no event tells of a snapshot, and the next listing may be half a minute away
        f"suspend {spec.name}",
        f"resume {spec.name}",
    )
    base = f"{IMAGES}/{spec.name}-data.img"
    source = agents("kvm-01")

    def chains() -> list[tuple[str, ...]]:
        servers = {each.server_id: each for each in source.snapshot().servers}
        return [disk.backing_paths for disk in servers[server_id].disks]

    until(lambda: chains() == [(), (base,)], "the overlay is seen")
    incoming = room(spec.name, source=overlay, image_format="qcow2")
    order = command(server_id, "kvm-02", disks=(incoming,))
    migrate(source, order)
    detail = ended(source, order["migration_id"])
    assert detail.job.error == ""
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    arrived = lab.execute("kvm-02", "qemu-img", "info", "-U", incoming.path).stdout
    assert "file format: qcow2" in arrived
    assert "backing file" not in arrived
    assert "backingStore type" not in lab.virsh("kvm-02", f"dumpxml {spec.name}")
    raw = lab.folders.local("kvm-02") / f"{spec.name}-flat.raw"
    convert = ["qemu-img", "convert", "-U", "-O", "raw", incoming.path, f"{IMAGES}/{raw.name}"]
    assert lab.execute("kvm-02", *convert).returncode == 0
    assert data_digest(raw) == written
    raw.unlink()
    (lab.folders.local("kvm-01") / f"{spec.name}-overlay.qcow2").unlink()


def test_another_agent_cancels_while_disks_are_copied(
    lab, agents, new_server, alive, command, ended, runs_once, filled, room, until
):
    spec, server_id = new_server(memory_mb=64, storage="mixed", workload=CALM)
    before = alive("kvm-01", spec.name, beats=1)
    filled(spec.name)
    source = agents("kvm-01")
    order = command(
        server_id, "kvm-02", disks=(room(spec.name),), max_bandwidth_bytes_per_s=MIB, postcopy=True
    )
    migrate(source, order)
    migration_id = order["migration_id"]
    until(
        lambda: source.detail(migration_id).job.state is JobState.COPYING_DISKS, "disks are copied"
    )
    stop = JobCommand(server_id=server_id, generation=order["generation"])
    with pytest.raises(GodwitError, match="only while it copies memory"):
        source.post(f"/v1/migrations/{migration_id}/postcopy", stop, Job)
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    source = agents("kvm-01")
    until(lambda: source.detail(migration_id).samples, "sampling goes on")
    assert source.detail(migration_id).job.state is JobState.COPYING_DISKS
    source.post(f"/v1/migrations/{migration_id}/cancel", stop, Job)
    detail = ended(source, migration_id)
    assert detail.job.error == "libvirt aborted the migration, as it was asked to"
    runs_once(server_id, on="kvm-01", not_on="kvm-02")
    after = alive("kvm-01", spec.name, beats=before.beats + 2)
    assert (after.boots, after.memory_faults, after.disk_splits) == (1, 0, 0)


def test_a_disk_that_is_another_by_now_is_not_copied(lab, agents, new_server, alive, command, room):
    spec, server_id = new_server(storage="mixed")
    incoming = room(spec.name, source=f"{IMAGES}/of-yesterday.img")
    order = command(server_id, "kvm-02", disks=(incoming,))
    with pytest.raises(GodwitError, match="made room for '/var/lib/libvirt/images/of-yesterday"):
        migrate(agents("kvm-01"), order)


def test_a_target_with_another_ca_is_refused(
    lab, agents, new_server, alive, command, ended, runs_once, foreign_certificates
):
    spec, server_id = new_server(memory_mb=64)
    alive("kvm-01", spec.name, beats=1)
    source = agents("kvm-01")
    with foreign_certificates("kvm-02"):
        order = command(server_id, "kvm-02", enable_tls=True)
        migrate(source, order)
        detail = ended(source, order["migration_id"])
    assert "certificate" in detail.job.error, detail.job.error
    runs_once(server_id, on="kvm-01", not_on="kvm-02")


def test_a_suspended_server_arrives_suspended(
    lab, agents, new_server, alive, command, ended, filled, room, data_digest
):
    spec, server_id = new_server(memory_mb=64, storage="mixed")
    alive("kvm-01", spec.name, beats=1)
    lab.virsh("kvm-01", f"suspend {spec.name}")
    written = filled(spec.name)
    source, target = agents("kvm-01"), agents("kvm-02")
    order = command(server_id, "kvm-02", disks=(room(spec.name),), postcopy=True)
    migrate(source, order)
    detail = ended(source, order["migration_id"])
    assert detail.job.error == ""
    assert source.truth(server_id).state is PowerState.ABSENT
    truth = target.truth(server_id)
    assert (truth.state, truth.incoming, truth.job_active) == (PowerState.PAUSED, False, False)
    assert data_digest(lab.folders.local("kvm-02") / f"{spec.name}-arrived.raw") == written
    lab.virsh("kvm-02", f"resume {spec.name}")
    report = alive("kvm-02", spec.name, beats=2)
    assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)
