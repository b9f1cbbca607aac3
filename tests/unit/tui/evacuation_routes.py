"""The calls of a test's backend that empty and fill hosts."""

from typing import TYPE_CHECKING

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    Plan,
    PlanRequest,
    ReturnRequest,
    ServersOf,
)
from wire.fleet import HostView

if TYPE_CHECKING:
    from tests.unit.tui.conftest import Fleet


def evacuation_routes(fleet: "Fleet") -> list[HTTPRouteHandler]:
    """Plans and evacuations as the fleet has them; what is asked for is noted."""
    return [*_planning(fleet), *_running(fleet), *_maintenance(fleet)]


def _planning(fleet: "Fleet") -> list[HTTPRouteHandler]:
    @post("/v1/evacuations/plan", status_code=200)
    async def plan(data: JSONBody[PlanRequest]) -> list[Plan]:
        names = [fleet.host(name).facts.name for name in data.hosts]
        fleet.bodies.append(data)
        return [each for each in fleet.plans if each.host_name in names]

    @post("/v1/evacuations", status_code=202)
    async def evacuate(data: JSONBody[PlanRequest]) -> list[Evacuation]:
        fleet.change(f"evacuate {' '.join(data.hosts)}")
        fleet.bodies.append(data)
        return fleet.evacuations[: len(data.hosts)]

    @post("/v1/hosts/{name:str}/return-plan", status_code=200)
    async def return_plan(name: FromPath[str], data: JSONBody[ReturnRequest]) -> Plan:
        fleet.bodies.append(data)
        return next(each for each in fleet.plans if each.host_name == name)

    @post("/v1/hosts/{name:str}/return", status_code=202)
    async def bring_back(name: FromPath[str], data: JSONBody[ReturnRequest]) -> Evacuation:
        fleet.change(f"return {name}")
        fleet.bodies.append(data)
        return fleet.evacuations[0]

    return [plan, evacuate, return_plan, bring_back]


def _running(fleet: "Fleet") -> list[HTTPRouteHandler]:
    def found(evacuation_id: str) -> Evacuation:
        for each in fleet.evacuations:
            if each.evacuation_id == evacuation_id:
                return each
        raise GodwitError(ErrorCode.NOT_FOUND, f"no evacuation is called {evacuation_id!r}")

    @get("/v1/evacuations")
    async def evacuations() -> list[Evacuation]:
        return fleet.evacuations

    @get("/v1/evacuations/{evacuation_id:str}")
    async def evacuation(evacuation_id: FromPath[str]) -> Evacuation:
        return found(evacuation_id)

    @post("/v1/evacuations/{evacuation_id:str}/change", status_code=200)
    async def change(evacuation_id: FromPath[str], data: JSONBody[EvacuationChange]) -> Evacuation:
        fleet.change(f"change {evacuation_id}")
        fleet.bodies.append(data)
        return found(evacuation_id)

    @post(
        ["/v1/evacuations/{evacuation_id:str}/cancel", "/v1/evacuations/{evacuation_id:str}/retry"],
        status_code=200,
    )
    async def of_servers(evacuation_id: FromPath[str], data: JSONBody[ServersOf]) -> Evacuation:
        fleet.change(f"cancel or retry {evacuation_id}")
        fleet.bodies.append(data)
        return found(evacuation_id)

    @post("/v1/evacuations/{evacuation_id:str}/{verb:str}", status_code=200)
    async def act(evacuation_id: FromPath[str], verb: FromPath[str]) -> Evacuation:
        assert verb in {"pause", "resume", "replan"}
        fleet.change(f"{verb} {evacuation_id}")
        return found(evacuation_id)

    return [evacuations, evacuation, change, of_servers, act]


def _maintenance(fleet: "Fleet") -> list[HTTPRouteHandler]:
    def put(name: str, *, on: bool) -> HostView:
        view = fleet.host(name)
        fleet.change(f"maintenance {name} {'on' if on else 'off'}")
        policy = msgspec.structs.replace(view.policy, maintenance=on)
        return msgspec.structs.replace(view, policy=policy)

    @post("/v1/hosts/{name:str}/maintenance", status_code=200)
    async def maintenance(name: FromPath[str]) -> HostView:
        return put(name, on=True)

    @post("/v1/hosts/{name:str}/exit-maintenance", status_code=200)
    async def exit_maintenance(name: FromPath[str]) -> HostView:
        return put(name, on=False)

    return [maintenance, exit_maintenance]
