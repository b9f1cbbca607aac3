"""What the API fills in: when it ends, what the deadline says, and what waits."""

import msgspec

from backend.evacuations.view import evacuation_view
from backend.migrations.notes import now_ms
from wire.evacuation import Evacuation, EvacuationState, PlanEdit, Way


def shown(scene, evacuation: Evacuation) -> Evacuation:
    return evacuation_view(scene.fleet, scene.jobs, scene.known(evacuation), now_ms())


async def begun(scene, **changes: object) -> Evacuation:
    """An evacuation of two servers over cards of which the rate is known."""
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=50_000_000)
        scene.fleet.put_facts(host.host_id, facts)
    scene.add("a")
    scene.add("b")
    evacuation = await scene.start(**changes)
    await scene.look()
    return evacuation


async def test_one_under_way_tells_when_it_ends(scene):
    view = shown(scene, await begun(scene))
    assert view.finish_low_ms <= view.finish_at_ms <= view.finish_high_ms
    assert view.finish_at_ms > now_ms()
    assert view.link.bytes_per_s == 50_000_000
    assert (view.deadline, view.meets_deadline) == ("", True)
    assert any("the link is full" in one.reason for one in view.servers)


async def test_paused_nobody_can_say(scene):
    evacuation = await begun(scene, empty_by_ms=now_ms() + 3_600_000)
    await scene.steering.pause(evacuation.evacuation_id, requested_by="bob")
    view = shown(scene, evacuation)
    assert (view.finish_at_ms, view.meets_deadline) == (0, False)
    assert "it is paused" in view.deadline
    assert "the evacuation is paused" in {one.reason for one in view.servers}


async def test_the_deadline_is_judged_by_what_is_still_to_come(scene):
    far = await begun(scene, empty_by_ms=now_ms() + 36_000_000)
    view = shown(scene, far)
    assert view.meets_deadline
    assert "empty by" in view.deadline
    near = msgspec.structs.replace(scene.known(far), empty_by_ms=now_ms() + 2_000)
    view = evacuation_view(scene.fleet, scene.jobs, near, now_ms())
    assert not view.meets_deadline
    assert view.deadline.startswith("not empty by")


async def test_what_an_operator_has_stay_blocks_no_finish(scene):
    view = shown(scene, await begun(scene, edits=(PlanEdit(server="a", way=Way.STAYS),)))
    assert view.finish_at_ms > now_ms()


async def test_one_without_a_target_leaves_the_finish_open(scene):
    evacuation = await begun(scene)
    for name in ("kvm-02", "kvm-03"):
        scene.drop_host(name)
    scene.evacuator.replanner._planned_s.clear()
    await scene.look()
    view = shown(scene, evacuation)
    assert view.finish_at_ms == 0
    assert any("no host takes it now" in one.reason for one in view.servers)


async def test_an_ended_one_is_shown_as_it_is_kept(scene):
    evacuation = await scene.start()
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED
    assert shown(scene, evacuation) == scene.known(evacuation)
