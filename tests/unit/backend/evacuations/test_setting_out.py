"""Several moves that begin in one look: what one meets, and what each gets of a cap."""

import asyncio

import pytest

from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.forecast import Basis, Ease, Forecast

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
