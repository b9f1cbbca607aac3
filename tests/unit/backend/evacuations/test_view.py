"""What the API fills in: when it ends, what the deadline says, and what waits."""

import msgspec
import pytest

from backend.evacuations.timing.deadline import Verdicts
from backend.evacuations.view import evacuation_view
from backend.events import Broadcaster
from backend.fleet.cpus import Comparisons
from backend.moments import now_ms
from backend.publish import Publisher
from wire.evacuation import Evacuation, EvacuationState, MoveState, PlanEdit, Way


def shown(scene, evacuation: Evacuation) -> Evacuation:
    return evacuation_view(scene.fleet, scene.jobs, scene.known(evacuation), now_ms(), Verdicts())


async def begun(scene, **changes: object) -> Evacuation:
    """An evacuation of two servers over links of which the rate is known."""
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=50_000_000)
        scene.fleet.put_facts(host.host_id, facts)
    scene.show_links()
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


async def test_what_still_waits_counts_in_the_end_though_the_card_tells_of_a_fast_link(scene):
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=1_250_000_000)
        scene.fleet.put_facts(host.host_id, facts)
    for number in range(5):
        scene.add(f"idle-{number}", memory_bytes=64 << 20)
    evacuation = await scene.start()
    await scene.look()
    assert len(scene.under_way()) == 2
    later_ms = now_ms() + 60_000
    view = evacuation_view(scene.fleet, scene.jobs, scene.known(evacuation), later_ms, Verdicts())
    assert view.finish_at_ms >= later_ms + 3_000, "three are still to be prepared, two at a time"
    reasons = {one.reason for one in view.servers if one.state is MoveState.WAITING}
    assert any("is being sent first: it shows what the link carries" in one for one in reasons)


async def test_moves_that_took_longer_than_the_word_of_a_card_tell_of_those_that_wait(scene):
    for host in scene.hosts.values():
        facts = msgspec.structs.replace(host, link_bytes_per_s=1_250_000_000)
        scene.fleet.put_facts(host.host_id, facts)
    for name in "abc":
        scene.add(name, memory_bytes=64 << 20)
    evacuation = await scene.start()
    await scene.look()
    await scene.end(next(iter(scene.under_way())))
    await scene.look()
    record = scene.known(evacuation)

    def left_ms(times: int) -> int:
        servers = tuple(
            msgspec.structs.replace(
                one,
                started_at_ms=1,
                ended_at_ms=1 + times * one.plan.forecast.total_ms,
                forecast=one.plan.forecast,
            )
            if one.state is MoveState.LEFT
            else msgspec.structs.replace(one, state=MoveState.WAITING)
            for one in record.servers
        )
        changed = msgspec.structs.replace(record, servers=servers)
        at_ms = now_ms()
        view = evacuation_view(scene.fleet, scene.jobs, changed, at_ms, Verdicts())
        assert view.finish_low_ms <= view.finish_at_ms <= view.finish_high_ms
        return view.finish_at_ms - at_ms

    assert left_ms(12) == pytest.approx(12 * left_ms(1), rel=0.01)
    assert left_ms(1) >= 1_500


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
    assert "empty in time" in view.deadline
    near = msgspec.structs.replace(scene.known(far), empty_by_ms=now_ms() + 2_000)
    view = evacuation_view(scene.fleet, scene.jobs, near, now_ms(), Verdicts())
    assert not view.meets_deadline
    assert view.deadline.startswith("not empty in time")


@pytest.mark.parametrize("state", [MoveState.FAILED, MoveState.CANCELLED])
async def test_what_failed_does_not_stay_by_choice_whoever_chose_its_way(scene, state):
    far = await begun(scene, empty_by_ms=now_ms() + 36_000_000)
    known = scene.known(far)
    servers = list(known.servers)
    plan = msgspec.structs.replace(servers[0].plan, chosen_way=True)
    servers[0] = msgspec.structs.replace(servers[0], plan=plan, state=state)
    known = msgspec.structs.replace(known, servers=tuple(servers))
    view = evacuation_view(scene.fleet, scene.jobs, known, now_ms(), Verdicts())
    assert not view.meets_deadline
    assert f"{plan.server_name} stays" in view.deadline


async def test_an_evacuation_is_told_again_when_more_than_a_figure_has_changed_a_little(
    scene, monkeypatch
):
    evacuation = await begun(scene)
    publisher = Publisher(scene.fleet, scene.jobs, Broadcaster("1"), Comparisons(scene.agents))
    view = publisher.evacuation_view(scene.known(evacuation))
    paused = msgspec.structs.replace(view, state=EvacuationState.PAUSED)
    moved = msgspec.structs.replace
    views = [
        view,
        moved(
            view, finish_at_ms=view.finish_at_ms + 900, finish_high_ms=view.finish_high_ms + 9000
        ),
        moved(view, finish_at_ms=view.finish_at_ms + 5_001),
        moved(view, finish_at_ms=view.finish_at_ms + 5_002, sending_bytes_per_s=100),
        moved(view, finish_at_ms=view.finish_at_ms + 5_003, sending_bytes_per_s=110),
        moved(view, finish_at_ms=0, sending_bytes_per_s=110),
        paused,
    ]
    told = []
    for one in views:
        monkeypatch.setattr(publisher, "evacuation_view", lambda _, one=one: one)
        publisher._flush_evacuation(evacuation.evacuation_id)
        told.append(publisher.evacuations[evacuation.evacuation_id] is one)
    assert told == [True, False, True, True, False, True, True]


async def test_what_an_operator_has_stay_blocks_no_finish(scene):
    view = shown(scene, await begun(scene, edits=(PlanEdit(server="a", way=Way.STAYS),)))
    assert view.finish_at_ms > now_ms()


async def test_one_without_a_target_leaves_the_finish_open(scene):
    evacuation = await begun(scene)
    for name in ("kvm-02", "kvm-03"):
        scene.drop_host(name)
    scene.evacuator.replanner._attempts.clear()
    await scene.look()
    view = shown(scene, evacuation)
    assert view.finish_at_ms == 0
    assert any("no host takes it now" in one.reason for one in view.servers)


async def test_an_ended_one_is_shown_as_it_is_kept(scene):
    evacuation = await scene.start()
    await scene.look()
    assert scene.known(evacuation).state is EvacuationState.ENDED
    assert shown(scene, evacuation) == scene.known(evacuation)
