"""Plans that are asked for all at once."""

import asyncio

from backend.evacuations.planning import planner
from backend.evacuations.planning.queue import OF_ONE
from tests.unit.backend.evacuations.conftest import refused
from wire.errors import GodwitError
from wire.evacuation import Plan, PlanRequest, ReturnRequest


async def test_who_asks_in_a_loop_is_refused_and_others_are_not(scene, monkeypatch):
    scene.add("a")
    request = PlanRequest(hosts=("kvm-01",))
    real, opened = planner.plan, asyncio.Event()

    async def slow(*arguments: object) -> tuple[Plan, ...]:
        await opened.wait()
        return await real(*arguments)

    monkeypatch.setattr(planner, "plan", slow)
    asked = [
        asyncio.create_task(scene.desk.plan(request, asked_by="reader")) for _ in range(OF_ONE)
    ]
    await asyncio.sleep(0)
    for asking in (
        scene.desk.plan(request, asked_by="reader"),
        scene.desk.plan_return("kvm-01", ReturnRequest(), asked_by="reader"),
    ):
        sentence = await refused(asking)
        assert sentence.startswith(f"{OF_ONE} plans that reader asked for are being made already")
    other = asyncio.create_task(scene.desk.plan(request, asked_by="alice"))
    opened.set()
    plans = [await one for one in (*asked, other)]
    assert all(one.moves for (one,) in plans)
    assert (await scene.desk.plan(request, asked_by="reader"))[0].moves


async def test_a_plan_that_fails_or_is_let_go_gives_its_place_back(scene):
    for _ in range(2 * OF_ONE):
        failing = scene.desk.plan(PlanRequest(hosts=("kvm-99",)), asked_by="reader")
        try:
            await failing
        except GodwitError as error:
            assert "kvm-99" in error.message  # noqa: PT017 - each of them
        let_go = asyncio.create_task(
            scene.desk.plan(PlanRequest(hosts=("kvm-01",)), asked_by="reader")
        )
        await asyncio.sleep(0)
        let_go.cancel()
        await asyncio.gather(let_go, return_exceptions=True)
    assert await scene.desk.plan(PlanRequest(hosts=("kvm-01",)), asked_by="reader")
