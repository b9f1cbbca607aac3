"""Each option of ``godwit server-migrate`` on real hosts, and what goes along with a server."""

import hashlib
import json
from typing import Any

import pytest

from lab.disks import nvram_path
from lab.server import MIB

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]

SOURCE, TARGET, OTHER_CPU = "kvm-01", "kvm-02", "kvm-04"


def moved(fleet: Any, *arguments: str) -> dict[str, Any]:
    """Move a server cold with ``--wait``, which must succeed; the final record."""
    done = fleet.godwit("server-migrate", "--wait", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def files(fleet: Any, host: str, name: str) -> dict[str, str]:
    """Every file of a server in a host's local pool with its digest."""
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in fleet.lab.folders.local(host).iterdir()
        if name in each.name
    }


def test_prefer_host_is_where_it_goes_whatever_the_cpu(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True)
    assert moved(fleet, "--prefer-host", OTHER_CPU, name)["target_host_name"] == OTHER_CPU
    assert fleet.defined_on(name) == [OTHER_CPU]
    assert fleet.show(name)["status"] == "ready"


def test_without_prefer_host_the_best_host_is_chosen_and_named(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True)
    record = moved(fleet, name)
    assert record["target_host_name"] != SOURCE
    assert fleet.defined_on(name) == [record["target_host_name"]]


@pytest.mark.parametrize("auto_start", [False, True], ids=["stays off", "auto-start"])
def test_auto_start_decides_whether_it_starts(fleet: Any, *, auto_start: bool):
    name = fleet.add_server(SOURCE, stopped=True, storage="local")
    option = ["--auto-start"] if auto_start else []
    moved(fleet, *option, "--prefer-host", TARGET, name)
    assert fleet.running_on(name) == ([TARGET] if auto_start else [])
    assert fleet.show(name)["status"] == ("running" if auto_start else "ready")


def test_a_sparse_local_disk_moves_whole_and_only_its_data_crosses_the_link(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", disk_mb=2048, data_mb=48)
    before = files(fleet, SOURCE, name)
    received = fleet.lab.link_bytes(TARGET).received_bytes
    record = moved(fleet, "--prefer-host", TARGET, name)
    crossed_mb = (fleet.lab.link_bytes(TARGET).received_bytes - received) / MIB
    assert 48 <= crossed_mb < 60, crossed_mb
    assert record["statistics"]["disk_transferred_bytes"] < 60 * MIB
    assert files(fleet, TARGET, name) == before
    assert files(fleet, SOURCE, name) == {}
    (image,) = (each for each in fleet.lab.folders.local(TARGET).iterdir() if name in each.name)
    assert image.stat().st_size == 2048 * MIB
    assert image.stat().st_blocks * 512 < 60 * MIB


def test_max_bandwidth_caps_the_copy(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", data_mb=40)
    begun = fleet.ask("server-migrate", "--max-bandwidth-mb", "8", "--prefer-host", TARGET, name)
    fleet.until_state(begun["migration_id"], "copying_disks")
    rates = []
    while fleet.migration(begun["migration_id"])["state"] == "copying_disks":
        rates.append(fleet.received_mb_per_s(TARGET, over_s=0.7))
    assert fleet.end_of(begun["migration_id"])["state"] == "succeeded"
    assert max(rates) <= 8 * 1.25, rates
    assert max(rates) >= 8 * 0.4, rates


def test_a_copy_is_cancelled_in_its_middle_and_leaves_nothing(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", data_mb=64)
    before = files(fleet, SOURCE, name)
    fleet.limit_links("20mbit")
    begun = fleet.ask("server-migrate", "--prefer-host", TARGET, name)
    fleet.until_state(begun["migration_id"], "copying_disks")
    assert fleet.show(name)["status"] == "migrating"
    assert fleet.godwit("server-cancel-live-migrate", name).returncode == 0
    record = fleet.end_of(begun["migration_id"])
    assert record["state"] == "cancelled", record
    assert files(fleet, SOURCE, name) == before
    assert files(fleet, TARGET, name) == {}
    assert fleet.defined_on(name) == [SOURCE]


def test_a_chain_and_its_image_of_a_cache_go_along(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", chain=True, data_mb=8)
    moved(fleet, "--prefer-host", TARGET, name)
    assert fleet.lab.data_losses(TARGET, name) == []
    fleet.lab.virsh(TARGET, f"start {name}")
    assert fleet.running_on(name) == [TARGET]


def test_a_uefi_server_takes_its_variables_along(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", uefi=True)
    path = str(nvram_path(name))
    fleet.lab.execute(SOURCE, "sh", "-c", f"printf godwit | dd of={path} conv=notrunc status=none")
    moved(fleet, "--prefer-host", TARGET, name)
    there = fleet.lab.execute(TARGET, "head", "-c", "6", path)
    assert there.stdout == "godwit", there.stderr
    assert fleet.lab.execute(SOURCE, "test", "-e", path).returncode != 0


def test_wait_shows_progress_and_ends_with_the_outcome(fleet: Any):
    name = fleet.add_server(SOURCE, stopped=True, storage="local", data_mb=16)
    fleet.limit_links("100mbit")
    done = fleet.godwit("server-migrate", "--wait", "--prefer-host", TARGET, name)
    assert done.returncode == 0, done.stderr
    assert "copying disks" in done.stderr
    assert f"{name} is stopped on {TARGET}" in done.stdout
