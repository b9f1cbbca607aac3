"""What targets have room for, on real hosts."""

from typing import Any

import msgspec
import pytest

from lab.server import MIB
from tests.fleet import Fleet
from wire.evacuation import Plan, Way

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def test_a_spare_is_kept_and_what_would_take_it_stays(fleet: Fleet, office: Any):
    hosts = fleet.ask("host-list")
    free_bytes = min(
        one["facts"]["memory_total_bytes"] - one["meters"]["memory_used_bytes"] for one in hosts
    )
    # a host that runs one of them has no room for the other: their guests touch little of it
    memory_mb = int(0.6 * free_bytes / MIB)
    leaving = fleet.add_server("kvm-01", memory_mb=memory_mb)
    fleet.add_server("kvm-03", memory_mb=memory_mb)
    with fleet.maintenance("kvm-04"):
        (plan,) = office.plan("kvm-01")
        assert [(one.way, one.target_host_name) for one in plan.moves] == [(Way.LIVE, "kvm-02")]
        done = fleet.godwit("host-evacuate", "--dry-run", "--keep-spare", "--json", "kvm-01")
        assert done.returncode == 1, done.stderr
        (plan,) = msgspec.json.decode(done.stdout, type=list[Plan])
        (move,) = plan.moves
        assert (move.server_name, move.way) == (leaving, Way.STAYS)
        assert "kvm-02 takes it only without a spare: if kvm-0" in move.why
    (plan,) = office.plan("kvm-01", keep_spare=True)
    assert [(one.way, one.target_host_name) for one in plan.moves] == [(Way.LIVE, "kvm-02")]
