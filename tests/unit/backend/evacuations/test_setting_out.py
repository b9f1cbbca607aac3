"""Several moves that begin in one look: what one meets, and what each gets of a cap."""

import asyncio
import math

import msgspec
import pytest

from backend.evacuations.timing.outlook import Outlook
from tests.unit.backend.evacuations.test_under_way import Shown, sample
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import MoveState
from wire.fleet import PowerState
from wire.forecast import Basis, Ease, Forecast
from wire.migration import MigrationOptions

MIB = 1 << 20


async def test_a_begin_that_is_under_way_is_over_before_the_look_is(scene, monkeypatch):
    """Else it would go on after the lock was released, beside the next look or a person's act."""
    for name in ("a", "b"):
        scene.add(name, state=PowerState.SHUT_OFF)
    await scene.start()
    migrate = scene.migrations.migrate

    async def asked(kind, server, options, **by: str):
        if server == "id-a":
            raise GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")
        await asyncio.sleep(0.05)
        return await migrate(kind, server, options, **by)

    monkeypatch.setattr(scene.migrations, "migrate", asked)
    with pytest.raises(GodwitError, match="etcd does not answer"):
        await scene.look()
    assert list(scene.under_way()) == ["b"]


async def test_those_that_begin_at_once_share_the_cap(scene):
    for name in ("a", "b"):
        scene.add(name, state=PowerState.SHUT_OFF)
    await scene.start(max_bandwidth_bytes_per_s=8 * MIB)
    await scene.look()
    caps = {one.server_name: one.max_bandwidth_bytes_per_s for one in scene.under_way().values()}
    assert caps == {"a": 4 * MIB, "b": 4 * MIB}


@pytest.mark.parametrize(("cap", "begun"), [(None, ["a", "b"]), (MIB, ["a"])])
async def test_under_a_cap_nobody_is_nearly_through_who_would_be_on_the_whole_link(
    scene, cap, begun
):
    scene.fleet.traffic = Shown((48, 1), (47, 2))
    scene.evacuator._setting_out._lead._took_s.extend([1.5] * 8)
    for name in ("a", "b"):
        scene.add(name)
    await scene.start(max_bandwidth_bytes_per_s=cap)
    await scene.look()
    (first,) = scene.under_way().values()
    rate = {"bandwidth_bytes_per_s": MIB if cap else 48 * MIB}
    scene.jobs.put_sample(first.migration_id, sample(2, 9, 9, elapsed_ms=2_000, **rate))
    await scene.look()
    assert list(scene.under_way()) == begun


async def test_the_report_sets_the_end_against_the_moves_own_forecast(scene):
    """The plan's can be hours old; the move's was made when its target was chosen."""
    scene.add("a")
    evacuation = await scene.start()
    await scene.look()
    own = Forecast(
        ease=Ease.HEAVY,
        basis=Basis.MEASURED,
        total_ms=7_000,
        low_ms=5_000,
        high_ms=9_000,
        sent_bytes=1,
        downtime_ms=80,
        bandwidth_bytes_per_s=MIB,
    )
    await scene.end("a", forecast=own)
    await scene.look()
    assert scene.line(evacuation, "a").forecast == own


async def test_who_has_shown_to_need_the_whole_link_is_not_joined_again_once_it_has_it(scene):
    """Else those held back for it would come and go with every sample."""
    scene.show_links()
    moves = {}
    for name in ("a", "b", "c"):
        scene.add(name)
        moves[name] = await scene.migrations.migrate(
            "live", f"id-{name}", MigrationOptions(prefer_host="host-2"), requested_by="alice"
        )
    ids = {name: one.migration_id for name, one in moves.items()}
    scene.add("d")
    await scene.start()
    course = scene.evacuator._setting_out
    shares, alone = {"bandwidth_bytes_per_s": 40 * MIB}, {"bandwidth_bytes_per_s": 90 * MIB}
    dirties, least = {"dirty_bytes_per_s": 26 * MIB}, {"bandwidth_bytes_per_s": MIB}
    scene.jobs.put_sample(ids["a"], sample(2, 9, 9, **shares, **dirties))
    await scene.look()
    assert course.held_back == {ids["b"], ids["c"]}
    scene.jobs.put_sample(ids["a"], sample(2, 19, 9, elapsed_ms=2_000, **alone, **dirties))
    scene.jobs.put_sample(ids["b"], sample(2, 9, 9, dirty_bytes_per_s=MIB, **least))
    await scene.look()
    assert course.held_back == {ids["b"], ids["c"]}
    await scene.end("a")
    scene.jobs.put_sample(
        ids["b"], sample(2, 19, 9, elapsed_ms=2_000, dirty_bytes_per_s=MIB, **alone)
    )
    await scene.look()
    assert course.held_back == frozenset()


@pytest.mark.parametrize("wanted_on", [True, False])
async def test_what_stands_when_its_turn_comes_decides_whether_it_is_started_there(
    scene, wanted_on
):
    record = scene.add("a", state=PowerState.SHUT_OFF)
    scene.put(msgspec.structs.replace(record, wanted_on=not wanted_on))
    await scene.start()
    scene.put(msgspec.structs.replace(record, wanted_on=wanted_on))
    await scene.look()
    assert scene.under_way()["a"].options.auto_start is wanted_on


async def test_a_forecast_that_fails_for_one_evacuation_stops_no_other(scene, monkeypatch):
    for name in ("a", "b"):
        scene.add(name)
    course = scene.evacuator._setting_out
    course._not_before_s["id-b"], course._refusals["id-b"] = math.inf, "not yet"
    bad = await scene.start("kvm-01")
    await scene.look()
    assert {MoveState.MOVING, MoveState.WAITING} == set(scene.states(bad).values())
    scene.add("c", "kvm-03", state=PowerState.SHUT_OFF)
    await scene.start("kvm-03")
    real = Outlook.of

    def faulty(outlook, plan, cap, rates):
        if plan.source_host_id == "host-1":
            raise KeyError("host-9")
        return real(outlook, plan, cap, rates)

    monkeypatch.setattr(Outlook, "of", faulty)
    await scene.look()
    assert "c" in scene.under_way()
    assert "KeyError" in " ".join(scene.fleet.evacuation_waits[bad.evacuation_id].values())
