"""An agent measures how fast its guests dirty their memory, while nothing moves."""

import pytest

from lab.server import Workload
from wire.forecast import Dirtying

pytestmark = pytest.mark.lab

MIB = 1 << 20


def measured(agent, server_id: str) -> Dirtying | None:
    told = (one for one in agent.snapshot().dirtying if one.server_id == server_id)
    return next(told, None)


def test_a_hot_guest_is_measured_as_hot_and_an_idle_one_as_idle(
    agents, new_server, listen, until, lab
):
    agent = agents("kvm-01")
    listener = listen(agent)
    _, idle = new_server(memory_mb=256)
    hot_workload = Workload(working_set_mb=64, dirty_mb_per_s=20)
    spec, hot = new_server(memory_mb=256, workload=hot_workload)
    for server_id in (idle, hot):
        until(lambda: measured(agent, server_id), "it is measured", within_s=120)  # noqa: B023
    until(
        lambda: {idle, hot} <= {one.server_id for one in listener.of(Dirtying)}, "both are told of"
    )

    # of 256 MiB QEMU looks at 128 pages: one is 2 MiB, and 20 MiB are 10 of them, give or take 3
    assert all(each.dirtied_bytes <= 6 * MIB for each in measured(agent, idle).samples)
    told = measured(agent, hot)
    assert {1_000, 3_000} <= {each.window_ms for each in told.samples}
    assert 16 * MIB <= told.samples[-1].dirtied_bytes <= 120 * MIB
    assert told.resident_bytes - measured(agent, idle).resident_bytes > 40 * MIB

    lab.virsh("kvm-01", f"destroy {spec.name}")
    until(lambda: measured(agent, hot) is None, "who does not run is forgotten")


def test_a_hosts_card_tells_its_speed(agents, lab):
    told = agents("kvm-01").snapshot().facts.link_bytes_per_s
    mbit = int(lab.execute("kvm-01", "cat", "/sys/class/net/eth0/speed").stdout)
    assert mbit > 0
    assert told == mbit * 125_000
