"""Racks that are emptied at once, on real hosts."""

from collections import defaultdict
from typing import Any

import pytest

from lab.server import MIB
from tests.evacuations.outcome import assert_true
from tests.fleet import Fleet
from wire.evacuation import MoveState

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(400)]

LARGE_MB, SMALL_MB = 64, 32


def test_a_rack_empties_into_another_and_overfills_none(six_hosts: Fleet, office_of_six: Any):
    fleet, office = six_hosts, office_of_six
    rack = ("kvm-01", "kvm-02", "kvm-03")
    # more than one way to fill them, and none by taking turns
    free_mb = {"kvm-04": 220, "kvm-05": 110, "kvm-06": 45}
    for host, room_mb in free_mb.items():
        fleet.lab.limit_pool(host, room_mb)
        fleet.until_pool(
            host, lambda pool, most=room_mb: pool["available_bytes"] < (most + 1) * MIB
        )
    size_mb = {}
    for host in rack:
        for disk_mb, stopped in ((LARGE_MB, True), (SMALL_MB, False)):
            name = fleet.add_server(
                host,
                storage="local",
                data_mb=disk_mb - 16,
                stopped=stopped,
            )
            size_mb[name] = disk_mb
    begun = office.begin(*rack)
    given_mb: dict[str, int] = defaultdict(int)
    for evacuation in begun:
        report = office.end(evacuation, within_s=240)
        assert set(office.states(report).values()) == {MoveState.LEFT}
        assert_true(office, report)
        for name, line in office.lines(report).items():
            assert line.tries == 1, line
            given_mb[line.plan.target_host_name] += size_mb[name]
            assert fleet.lab.data_losses(line.plan.target_host_name, name) == []
    assert {host: given_mb[host] <= room_mb for host, room_mb in free_mb.items()} == dict.fromkeys(
        free_mb, True
    )
    assert sum(given_mb.values()) == 3 * (LARGE_MB + SMALL_MB)
