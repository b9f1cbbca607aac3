"""From the loss of a host to its servers on others, without anybody asking."""

from wire.fleet import Disk, OwnerPhase
from wire.rescue import IncidentState, RescueState

LOCAL = Disk(target="vda", source="/local/db-1.img", pool_id="p", pool_name="local")


async def test_running_servers_on_shared_disks_start_elsewhere(scene):
    scene.add("web-1")
    scene.add("web-2")
    scene.cut("kvm-01")
    await scene.settle()
    for name in ("web-1", "web-2"):
        owner = scene.record(name).owner
        assert [scene.running(name)] == [[host_name(scene, owner.host_id)]]
        assert (owner.generation, owner.phase) == (2, OwnerPhase.SETTLED)
        assert owner.host_id in {"host-2", "host-3"}
        assert scene.line(name).state is RescueState.RESCUED
    incident = scene.incident()
    assert incident.state is IncidentState.RESCUED
    assert incident.dead_at_ms >= incident.lost_at_ms > 0
    assert incident.first_running_at_ms > 0
    assert "watchdog" in incident.proof
    assert incident.held_reason == ""


def host_name(scene, host_id: str) -> str:
    return scene.agents[host_id].facts.name
