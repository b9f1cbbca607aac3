"""What cannot be done is refused in one sentence, with the value and what would be right."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.server import MIB

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

SOURCE, TARGET = "kvm-01", "kvm-02"


def refused(fleet: Any, *arguments: str) -> tuple[int, str]:
    """Exit status and sentences of a verb that must do nothing."""
    before = fleet.migration_ids()
    done = fleet.godwit(*arguments)
    assert done.returncode in {1, 2}, done
    assert fleet.migration_ids() == before, "something was begun"
    assert "Traceback" not in done.stderr
    return done.returncode, str(done.stderr)


def running(fleet: Any) -> str:
    return str(fleet.add_server(SOURCE))


def stopped(fleet: Any) -> str:
    return str(fleet.add_server(SOURCE, stopped=True))


LIVE, COLD = "server-live-migrate", "server-migrate"
CASES: dict[str, tuple[Callable[[Any], str], list[str], int, list[str]]] = {
    "stopped server moved live": (stopped, [LIVE], 1, ["is stopped (ready)", "server-migrate"]),
    "running server moved cold": (running, [COLD], 1, ["running", "server-live-migrate"]),
    "unknown host": (running, [LIVE, "--prefer-host", "kvm-99"], 2, ["'kvm-99'"]),
    "unknown host, cold": (stopped, [COLD, "--prefer-host", "kvm-99"], 2, ["'kvm-99'"]),
    "bandwidth of zero": (running, [LIVE, "--max-bandwidth-mb", "0"], 2, ["0", "1"]),
    "negative bandwidth": (running, [LIVE, "--max-bandwidth-mb", "-5"], 2, ["-5"]),
    "bandwidth that is no number": (running, [LIVE, "--max-bandwidth-mb", "fast"], 2, ["'fast'"]),
    "cold bandwidth of zero": (stopped, [COLD, "--max-bandwidth-mb", "0"], 2, ["0"]),
    "downtime of zero": (running, [LIVE, "--downtime-limit-ms", "0"], 2, ["0", "2000000"]),
    "bound below the limit": (
        running,
        [LIVE, "--quickly-finish", "--downtime-limit-ms", "900", "--downtime-bound-ms", "500"],
        2,
        ["500", "900"],
    ),
    "to where it is": (running, [LIVE, "--prefer-host", SOURCE], 1, [f"{SOURCE} is where"]),
    "passthrough device": (
        lambda fleet: fleet.add_server(SOURCE, passthrough=True, stopped=True),
        [COLD],
        1,
        ["0000:", "cannot move"],
    ),
    "local medium in the drive": (
        lambda fleet: fleet.add_server(SOURCE, cdrom="local"),
        [LIVE, "--prefer-host", TARGET],
        1,
        ["eject"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_move_that_cannot_be(fleet: Any, case: Any):
    make, arguments, status, told = case
    name = make(fleet)
    code, sentences = refused(fleet, *arguments, name)
    assert code == status, sentences
    for part in told:
        assert part in sentences, sentences


def test_a_sparse_disk_needs_room_for_its_full_size(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", disk_mb=512, data_mb=8)
    fleet.lab.limit_pool(TARGET, 100)
    fleet.until_pool(TARGET, lambda pool: pool and pool["available_bytes"] < 200 * MIB)
    _, sentences = refused(fleet, COLD, "--prefer-host", TARGET, name)
    assert "512 MiB" in sentences, sentences
    assert "local" in sentences


def test_a_target_without_the_pool_is_named(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local")
    fleet.lab.virsh(TARGET, "pool-destroy local")
    try:
        fleet.until_pool(TARGET, lambda pool: pool is None)
        _, sentences = refused(fleet, COLD, "--prefer-host", TARGET, name)
    finally:
        fleet.lab.virsh(TARGET, "pool-start local")
    assert f"{TARGET} has no" in sentences, sentences
    assert "local" in sentences


def test_a_block_device_in_a_local_pool_is_not_copied(fleet: Any):
    name, volume = fleet.add_server(SOURCE), "/var/lib/libvirt/images/volume"
    make = f"truncate -s 8M /run/volume; cp -a $(losetup --find --show /run/volume) {volume}"
    assert fleet.lab.execute(SOURCE, "sh", "-c", make).returncode == 0
    try:
        fleet.lab.virsh(
            SOURCE,
            f"attach-disk {name} {volume} vdb --sourcetype block --live",
            f"suspend {name}",
            f"resume {name}",
        )
        fleet.until_disks(name, 2)
        _, sentences = refused(fleet, LIVE, "--prefer-host", TARGET, name)
        assert f"vdb ({volume}) on {SOURCE}, which is no file" in sentences
        fleet.lab.virsh(SOURCE, f"destroy {name}")
    finally:
        clear = f"losetup --detach $(losetup --associated /run/volume -O NAME -n); rm {volume}"
        fleet.lab.execute(SOURCE, "sh", "-c", clear)


def test_two_moves_of_one_server_at_once(fleet: Any):
    fleet.limit_links("50mbit")
    name = fleet.add_server(SOURCE, working_set_mb=32, dirty_mb_per_s=4)
    migration_id = fleet.start_migration(name, TARGET)
    _, sentences = refused(fleet, LIVE, "--prefer-host", TARGET, name)
    assert migration_id in sentences
    fleet.godwit("server-cancel-live-migrate", name)
    fleet.end_of(migration_id)


def test_a_move_to_a_host_that_is_being_emptied(fleet: Any):
    name = fleet.add_server(SOURCE)
    with fleet.maintenance(TARGET):
        _, sentences = refused(fleet, LIVE, "--prefer-host", TARGET, name)
        assert f"{TARGET} is in maintenance" in sentences
        _, sentences = refused(fleet, LIVE, name)
        assert "kvm-03" in sentences, "the error carries the table of all hosts"
