"""A stopped server's files go to another host: whole, sparse, and the source gives them up."""

import subprocess

import pytest

from wire.agent import GuestTruth, JobState, ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.storage import DiscardCommand, Discarded

pytestmark = pytest.mark.lab

MIB = 1 << 20


def test_a_sparse_disk_arrives_whole_and_sparse(
    lab, cold_move, received_bytes, record_of, until, alive, export_daemons
):
    move = cold_move(2048, (0, 3), (700, 4), (1000, 2), (2047, 1))
    (disk,) = move.storage.files
    assert (disk.file_bytes, disk.pool_name, disk.owned) == (2048 * MIB, "local", True)
    assert disk.data_bytes < 16 * MIB
    before = received_bytes("kvm-02")
    job = move.copy()
    assert job.error == ""
    assert received_bytes("kvm-02") - before < 14 * MIB
    until(lambda: move.exported().digests, "the source's digest")
    assert move.exported().digests == job.digests
    assert move.there(disk.path).exists() is False

    assert move.close().changed == ""
    assert move.close().port == 0
    assert move.define().state is PowerState.SHUT_OFF
    assert move.define().state is PowerState.SHUT_OFF
    copy = move.there(disk.path)
    assert subprocess.run(["cmp", move.here(disk.path), copy], check=False).returncode == 0
    assert copy.stat().st_blocks * 512 < 16 * MIB
    assert move.left_there() == {copy.name}
    assert export_daemons("kvm-01") == export_daemons("kvm-02") == []

    with pytest.raises(GodwitError, match="belongs to this host") as refused:
        move.release()
    assert refused.value.code is ErrorCode.CONFLICT
    start = ServerCommand(generation=move.generation)
    with pytest.raises(GodwitError, match="and not to this host"):
        move.target.post(f"/v1/servers/{move.server_id}/start", start, GuestTruth)
    move.hand_over()
    move.complete()
    assert move.release().state is PowerState.ABSENT
    assert move.release().state is PowerState.ABSENT
    assert not move.here(disk.path).exists()
    started = move.target.post(
        f"/v1/servers/{move.server_id}/start", ServerCommand(generation=move.generation), GuestTruth
    )
    assert started.state is PowerState.RUNNING
    until(lambda: record_of(move.server_id).wanted_on, "the target's agent keeps the record")
    assert record_of(move.server_id).owner.host_id == move.target_host_id
    assert "disable" in lab.virsh("kvm-02", f"dominfo {move.name}")


def test_progress_never_runs_back(lab, cold_move):
    move = cold_move(200, (0, 30), (100, 50))
    move.pull(move.prepare(), move.export(), cap=40 * MIB)
    job = move.ended()
    samples = move.target.detail(move.id).samples
    left = [one.disk_remaining_bytes for one in samples]
    assert len(left) >= 4
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert {one.disk_total_bytes for one in samples} == {80 * MIB}
    assert (job.state, job.error) == (JobState.ENDED, "")
    assert job.statistics.disk_transferred_bytes == 80 * MIB
    move.discard()
    move.give_up()


def test_a_definition_that_libvirt_left_goes_too_and_the_owners_stays(lab, cold_move):
    move = cold_move(16)
    definition = lab.virsh("kvm-01", f"dumpxml {move.name}")
    (lab.folders.etc("kvm-02") / "godwit" / "left.xml").write_text(definition, encoding="utf-8")
    lab.virsh("kvm-02", "define /etc/godwit/left.xml")
    move.discard()
    assert move.name not in lab.virsh("kvm-02", "list --all --name").split()
    command = DiscardCommand(server_id=move.server_id, generation=move.generation)
    move.source.post(f"/v1/incoming/{move.id}/discard", command, Discarded)
    assert move.name in lab.virsh("kvm-01", "list --all --name").split()
    move.give_up()
