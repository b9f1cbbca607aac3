"""What goes wrong with one case is told in the status, and stops no other one's rescue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from backend.rescue import rescuer
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.rescue import RescueState


@contextlib.asynccontextmanager
async def leading(scene) -> AsyncIterator[None]:
    task = asyncio.create_task(scene.rescuer.lead())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.01)


def reasons(scene) -> list[str]:
    return [f"{one.name}: {one.reason}" for one in scene.faults.failing]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(rescuer, "_LOOK_S", 0.01)
    monkeypatch.setattr(rescuer, "_TRIM_EVERY", 1)


async def test_an_incident_that_cannot_be_read_stops_no_other_hosts_rescue(scene, monkeypatch):
    # the id of an incident follows from the life that was lost: here there was one before
    monkeypatch.setattr("backend.rescue.storm_guard.storm", lambda **_: "")
    scene.add("web-1", "kvm-02")
    scene.cut("kvm-01")
    await scene.look()
    key = keys.INCIDENTS + scene.incident("kvm-01").incident_id
    scene.etcd.put(key, b"{broken")
    scene.fleet.put_incident(key.removeprefix(keys.INCIDENTS), None)
    scene.cut("kvm-02")
    for _ in range(6):
        await scene.pass_(4.0)
        await scene.run_rescues()
    await scene.look()
    assert scene.fleet.open_incident("host-1") is None
    assert scene.fleet.open_incident("host-2").servers[0].state is RescueState.RESCUED
    async with leading(scene):
        assert reasons(scene)[0].startswith(f"rescues: kvm-01: what etcd holds under {key}")
        scene.etcd.delete(key)
        await until(lambda: setattr(scene, "now_s", scene.now_s + 1) or not reasons(scene))
    assert scene.fleet.open_incident("host-1")


async def test_a_look_that_cannot_be_ended_is_told_until_one_is(scene, monkeypatch):
    fault = GodwitError(ErrorCode.CONFLICT, "it cannot be read")

    async def fails() -> None:
        raise fault

    async with leading(scene):
        with monkeypatch.context() as patch:
            patch.setattr(scene.incidents, "trim", fails)
            await until(lambda: reasons(scene) == ["rescues: it cannot be read"])
        await until(lambda: not reasons(scene))


async def test_that_etcd_does_not_answer_is_told_elsewhere(scene, monkeypatch):
    asked = []

    async def fails() -> None:
        asked.append(1)
        raise GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")

    monkeypatch.setattr(scene.incidents, "trim", fails)
    async with leading(scene):
        await until(lambda: len(asked) > 2)
    assert reasons(scene) == []


async def test_a_fault_of_what_is_not_looked_at_any_more_is_forgotten(scene, monkeypatch):
    real = scene.incidents.open

    async def fails(_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(scene.incidents, "open", fails)
    scene.cut("kvm-01")
    async with leading(scene):
        await until(lambda: reasons(scene) == ["rescues: kvm-01: KeyError: 'x'"])
        scene.put_life("kvm-01", epoch=4)
        scene.sync()
        await until(lambda: not reasons(scene))
    monkeypatch.setattr(scene.incidents, "open", real)
