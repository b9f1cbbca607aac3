"""What cannot be done is refused in one sentence, with the value and what would be right."""

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


LIVE, COLD = "server-live-migrate", "server-migrate"
BOUND_BELOW_LIMIT = ["--quickly-finish", "--downtime-limit-ms", "900", "--downtime-bound-ms", "500"]
CASES: dict[str, tuple[dict[str, Any], list[tuple[list[str], int, list[str]]]]] = {
    "running": (
        {},
        [
            ([COLD], 1, ["running", "server-live-migrate"]),
            ([LIVE, "--prefer-host", "kvm-99"], 2, ["'kvm-99'"]),
            ([LIVE, "--prefer-host", SOURCE], 1, [f"{SOURCE} is where"]),
            ([LIVE, "--max-bandwidth-mb", "0"], 2, ["0", "1"]),
            ([LIVE, "--max-bandwidth-mb", "-5"], 2, ["-5"]),
            ([LIVE, "--max-bandwidth-mb", "fast"], 2, ["'fast'"]),
            ([LIVE, "--downtime-limit-ms", "0"], 2, ["0", "2000000"]),
            ([LIVE, *BOUND_BELOW_LIMIT], 2, ["500", "900"]),
        ],
    ),
    "stopped": (
        {"stopped": True},
        [
            ([LIVE], 1, ["is stopped (ready)", "server-migrate"]),
            ([COLD, "--prefer-host", "kvm-99"], 2, ["'kvm-99'"]),
            ([COLD, "--max-bandwidth-mb", "0"], 2, ["0"]),
        ],
    ),
    "with a passthrough device": (
        {"stopped": True, "passthrough": True},
        [([COLD], 1, ["0000:", "cannot move"])],
    ),
    "with a local medium in the drive": (
        {"cdrom": "local"},
        [([LIVE, "--prefer-host", TARGET], 1, ["eject"])],
    ),
}


@pytest.mark.parametrize(("fields", "refusals"), CASES.values(), ids=CASES.keys())
def test_a_move_that_cannot_be(fleet: Any, fields: Any, refusals: Any):
    name = fleet.add_server(SOURCE, **fields)
    for arguments, status, told in refusals:
        code, sentences = refused(fleet, *arguments, name)
        assert code == status, (arguments, sentences)
        for part in told:
            assert part in sentences, arguments


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
