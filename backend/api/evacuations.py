"""Routes that empty hosts, fill them again, and act on an evacuation under way."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.audit import audited
from backend.api.context import Context, Injected
from backend.evacuations.records import not_found
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    Plan,
    PlanRequest,
    ReturnRequest,
    ServersOf,
)
from wire.fleet import HostView


@post("/hosts/{host:str}/maintenance", status_code=200, guards=[operators_only])
@audited("host-maintenance")
async def maintenance(host: FromPath[str], request: CallerRequest, context: Injected) -> HostView:
    """Have a host take no servers any more; those on it stay."""
    return await _maintained(context, host, request.user.name, on=True)


@post("/hosts/{host:str}/exit-maintenance", status_code=200, guards=[operators_only])
@audited("host-exit-maintenance")
async def exit_maintenance(
    host: FromPath[str], request: CallerRequest, context: Injected
) -> HostView:
    """Have a host take servers again."""
    return await _maintained(context, host, request.user.name, on=False)


@post("/evacuations/plan", status_code=200)
async def plan(
    request: CallerRequest, context: Injected, data: JSONBody[PlanRequest]
) -> tuple[Plan, ...]:
    """Plan how hosts would be emptied, one plan for each; nothing is changed."""
    return await context.evacuation_desk.plan(data, asked_by=request.user.name)


@post("/evacuations", status_code=202, guards=[operators_only])
@audited("host-evacuate")
async def evacuate(
    request: CallerRequest, context: Injected, data: JSONBody[PlanRequest]
) -> tuple[Evacuation, ...]:
    """Begin to empty hosts; it needs no one to wait."""
    begun = await context.evacuation_desk.start(data, requested_by=request.user.name)
    return tuple(_shown(context, one) for one in begun)


@post("/hosts/{host:str}/return-plan", status_code=200)
async def return_plan(
    host: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[ReturnRequest | None] = None,
) -> Plan:
    """Plan how what left a host would come back to it; nothing is changed."""
    wanted = data or ReturnRequest()
    return await context.evacuation_desk.plan_return(host, wanted, asked_by=request.user.name)


@post("/hosts/{host:str}/return", status_code=202, guards=[operators_only])
@audited("host-return")
async def bring_back(
    host: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[ReturnRequest | None] = None,
) -> Evacuation:
    """Begin to bring back to a host what left it; it needs no one to wait."""
    wanted = data or ReturnRequest()
    begun = await context.evacuation_desk.bring_back(host, wanted, requested_by=request.user.name)
    return _shown(context, begun)


@get("/evacuations")
async def evacuations(context: Injected) -> tuple[Evacuation, ...]:
    """List open evacuations and the latest ended ones, newest first."""
    context.publisher.flush()
    return context.publisher.newest_evacuations()


@get("/evacuations/{evacuation:str}")
async def evacuation(evacuation: FromPath[str], context: Injected) -> Evacuation:
    """Show one evacuation: its course, or its report once it has ended."""
    found = context.fleet.evacuations.get(evacuation)
    if found is None:
        raise not_found(evacuation)
    return _shown(context, found)


@post("/evacuations/{evacuation:str}/pause", status_code=200, guards=[operators_only])
@audited("evacuation-pause")
async def pause(evacuation: FromPath[str], request: CallerRequest, context: Injected) -> Evacuation:
    """Let no further move begin; what moves goes on to its end."""
    changed = await context.steering.pause(evacuation, requested_by=request.user.name)
    return _shown(context, changed)


@post("/evacuations/{evacuation:str}/resume", status_code=200, guards=[operators_only])
@audited("evacuation-resume")
async def resume(
    evacuation: FromPath[str], request: CallerRequest, context: Injected
) -> Evacuation:
    """Let moves begin again."""
    changed = await context.steering.resume(evacuation, requested_by=request.user.name)
    return _shown(context, changed)


@post("/evacuations/{evacuation:str}/cancel", status_code=202, guards=[operators_only])
@audited("evacuation-cancel")
async def cancel(
    evacuation: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[ServersOf | None] = None,
) -> Evacuation:
    """Cancel the moves of some servers, or without a body the whole evacuation."""
    servers = data.servers if data else ()
    changed = await context.steering.cancel(evacuation, servers, requested_by=request.user.name)
    return _shown(context, changed)


@post("/evacuations/{evacuation:str}/retry", status_code=202, guards=[operators_only])
@audited("evacuation-retry")
async def retry(
    evacuation: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[ServersOf | None] = None,
) -> Evacuation:
    """Move servers again whose moves failed or were cancelled; without a body all of them."""
    servers = data.servers if data else ()
    changed = await context.steering.retry(evacuation, servers, requested_by=request.user.name)
    return _shown(context, changed)


@post("/evacuations/{evacuation:str}/replan", status_code=200, guards=[operators_only])
@audited("evacuation-replan")
async def replan(
    evacuation: FromPath[str], request: CallerRequest, context: Injected
) -> Evacuation:
    """Plan anew what has not begun, with what is known now."""
    changed = await context.steering.replan(evacuation, requested_by=request.user.name)
    return _shown(context, changed)


@post("/evacuations/{evacuation:str}/change", status_code=200, guards=[operators_only])
@audited("evacuation-change")
async def change(
    evacuation: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[EvacuationChange],
) -> Evacuation:
    """Change the cap, the deadline or the plan of single servers."""
    changed = await context.steering.change(evacuation, data, requested_by=request.user.name)
    return _shown(context, changed)


async def _maintained(context: Context, host: str, by: str, *, on: bool) -> HostView:
    facts = await context.evacuation_desk.set_maintenance(host, on=on, requested_by=by)
    context.publisher.flush()
    return context.publisher.hosts[facts.host_id]


def _shown(context: Context, record: Evacuation) -> Evacuation:
    return context.publisher.evacuation_view(record)


ROUTES = [
    maintenance,
    exit_maintenance,
    plan,
    evacuate,
    return_plan,
    bring_back,
    evacuations,
    evacuation,
    pause,
    resume,
    cancel,
    retry,
    replan,
    change,
]
