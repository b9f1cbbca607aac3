"""A copy that breaks goes on where it was, or says why not; a cancelled one leaves nothing."""

import signal
import time

import msgspec
import pytest

from hostagent.copies.pull import PullRecord
from lab.state import LinkLimit
from wire.agent import Job, JobState, ParametersCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.migration import MigrationParameters

pytestmark = pytest.mark.lab

MIB = 1 << 20
SIZE_MIB = 768
PIECES = tuple((64 * number, 10) for number in range(12))
"""Twelve cells of the grid, so that some are whole when a copy breaks."""
DATA = 120 * MIB
CAP = 30 * MIB


def half_way(move, until) -> None:
    """Wait until half of the cells are on the target's disk."""
    record = move.lab.folders.node("kvm-02") / "godwit" / "pulls" / f"{move.id}.json"

    def half() -> bool:
        if not record.exists():
            return False
        progress = msgspec.json.decode(record.read_bytes(), type=PullRecord).progress
        done = [one.before + len(one.beyond) for one in progress.values()]
        return sum(done) >= len(PIECES) // 2

    until(half, "half of the cells are whole")


def test_source_daemon_killed_the_copy_goes_on_where_it_was(
    lab, cold_move, until, export_daemons, received_bytes
):
    move = cold_move(SIZE_MIB, *PIECES)
    incoming, export = move.prepare(), move.export()
    move.pull(incoming, export, cap=CAP)
    half_way(move, until)
    (daemon,) = export_daemons("kvm-01")
    lab.execute("kvm-01", "kill", "-9", str(daemon))
    job = move.ended()
    assert job.resumable
    assert "error" in job.error
    again = move.export()
    assert again.names != {}
    before = received_bytes("kvm-02")
    move.pull(incoming, again)
    job = move.ended()
    assert (job.error, job.resumable) == ("", False)
    assert received_bytes("kvm-02") - before < 0.65 * DATA
    until(lambda: move.exported().digests, "the source's digest")
    assert job.digests == move.exported().digests
    move.discard()
    move.close()
    move.give_up()


def test_agents_killed_and_a_partition_healed(
    lab, cold_move, until, export_daemons, agents, received_bytes
):
    move = cold_move(SIZE_MIB, *PIECES)
    incoming, export = move.prepare(), move.export()
    move.pull(incoming, export, cap=CAP)
    half_way(move, until)
    daemons = export_daemons("kvm-01")
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    lab.signal_program("kvm-02", "hostagent", signal.SIGKILL)
    agents("kvm-01")
    agents("kvm-02")
    assert export_daemons("kvm-01") == daemons
    until(lambda: export_daemons("kvm-02") == [], "the daemon of the copy is ended")
    job = move.ended()
    assert job.resumable
    assert move.export().names == export.names

    move.pull(incoming, export, cap=CAP // 2)
    until(lambda: move.job().state is JobState.COPYING_DISKS, "it copies again")
    lab.partition("kvm-01")
    job = move.ended()
    assert job.resumable
    assert "nothing came from kvm-01" in job.error
    lab.heal("kvm-01")
    lab.wait_until_ready()
    before = received_bytes("kvm-02")
    move.pull(incoming, move.export())
    job = move.ended()
    assert job.error == ""
    assert received_bytes("kvm-02") - before < 0.65 * DATA
    until(lambda: move.exported().digests, "the source's digest")
    assert job.digests == move.exported().digests
    # whoever kills the daemon of the source while its agent is away finds it started anew
    (daemon,) = export_daemons("kvm-01")
    lab.execute("kvm-01", "kill", "-9", str(daemon))
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    agents("kvm-01")
    until(lambda: export_daemons("kvm-01") not in ([], [daemon]), "a new daemon")
    assert move.exported().names == export.names
    move.discard()
    move.close()
    move.give_up()


def test_a_source_file_that_was_changed_begins_anew(cold_move, until, received_bytes):
    move = cold_move(SIZE_MIB, *PIECES)
    incoming, export = move.prepare(), move.export()
    move.pull(incoming, export, cap=CAP)
    half_way(move, until)
    with move.here(move.storage.files[0].path).open("r+b") as image:
        image.write(b"changed")
    assert "was changed while it was copied" in move.close().changed
    job = move.ended()
    assert job.resumable
    storage = move.storage
    move.storage = move.source.get(f"/v1/servers/{move.server_id}/storage", type(storage))
    before = received_bytes("kvm-02")
    move.pull(incoming, move.export())
    assert move.ended().error == ""
    assert received_bytes("kvm-02") - before > DATA
    move.define()
    copy = move.there(move.storage.files[0].path)
    assert copy.read_bytes()[:7] == b"changed"
    move.discard()
    move.close()
    move.give_up()


def test_cancel_and_cap_in_flight(lab, cold_move, until, received_bytes, export_daemons):
    move = cold_move(SIZE_MIB, *PIECES)
    move.pull(move.prepare(), move.export(), cap=4 * MIB)
    until(lambda: move.copied_bytes() > 0, "it copies")

    def rate(seconds: float) -> float:
        began, before = time.monotonic(), received_bytes("kvm-02")
        time.sleep(seconds)
        return (received_bytes("kvm-02") - before) / (time.monotonic() - began)

    assert rate(2.0) < 1.3 * 4 * MIB
    change = ParametersCommand(
        server_id=move.server_id,
        generation=move.generation,
        parameters=MigrationParameters(max_bandwidth_bytes_per_s=16 * MIB),
    )
    move.target.post(f"/v1/migrations/{move.id}/parameters", change, Job)
    assert 1.5 * 4 * MIB < rate(2.0) < 1.3 * 16 * MIB
    assert move.cancel().cancel_requested
    job = move.ended()
    assert (job.resumable, job.error) == (False, "the copy was cancelled on request")
    assert export_daemons("kvm-02") == []
    assert move.discard().kept == ()
    assert move.discard().kept == ()
    assert move.left_there() == set()
    move.close()
    move.give_up()


def test_disk_full_is_told_with_the_systems_text(lab, cold_move, until):
    move = cold_move(SIZE_MIB, *PIECES)
    pool = "/var/lib/libvirt/images"
    try:
        mounted = lab.execute("kvm-02", "mount", "-t", "tmpfs", "-o", "size=800m", "tmpfs", pool)
        assert mounted.returncode == 0, mounted.stderr
        lab.execute("kvm-02", "fallocate", "-l", "100M", f"{pool}/filler")
        with pytest.raises(GodwitError, match="are free there") as refused:
            move.prepare()
        assert refused.value.code is ErrorCode.CONFLICT
        assert str(SIZE_MIB * MIB) in refused.value.message
        lab.execute("kvm-02", "rm", f"{pool}/filler")
        incoming = move.prepare()
        lab.execute("kvm-02", "fallocate", "-l", "700M", f"{pool}/filler")
        move.pull(incoming, move.export())
        job = move.ended()
        assert "No space left on device" in job.error
        assert not job.resumable
        assert move.discard().kept == ()
        assert lab.execute("kvm-02", "ls", "-A", pool).stdout.split() == ["filler"]
    finally:
        lab.execute("kvm-02", "umount", pool)
        lab.virsh("kvm-02", "pool-refresh local")
    move.close()
    move.give_up()


def test_a_server_that_is_started_meanwhile_makes_the_copy_void(lab, cold_move, until):
    move = cold_move()
    move.copy()
    lab.virsh("kvm-01", f"start {move.name}")
    until(lambda: "was started" in move.exported().changed, "the export says so")
    assert "was started" in move.close().changed
    move.discard()
    move.give_up()
    assert move.source.truth(move.server_id).state is PowerState.RUNNING


def test_a_slow_link_is_used_by_several_ranges_at_once(lab, cold_move, until):
    move = cold_move(SIZE_MIB, *PIECES)
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=200_000_000))
    move.pull(move.prepare(), move.export())
    shown = []

    def several() -> bool:
        found = lab.execute("kvm-02", "pgrep", "-x", "qemu-img").stdout.split()
        shown.append(len(found))
        return len(found) > 1

    until(several, "two ranges at a time")
    move.cancel()
    move.ended()
    assert max(shown) <= 4
    move.discard()
    move.close()
    move.give_up()
