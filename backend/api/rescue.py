"""Routes about hosts that died: incidents, rescues by hand, and the rescue guard."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.audit import audited
from backend.api.context import Injected
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration
from wire.rescue import DeclareOff, Disarm, Incident, RescueGuard, RescueOptions


@post("/servers/{server:str}/rescue", status_code=202, guards=[operators_only])
@audited("server-migrate --rescue-mode")
async def rescue(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[RescueOptions | None] = None,
) -> Migration:
    """Bring a server of a host that is dead to another one."""
    options = data or RescueOptions()
    return await context.rescue_desk.rescue(server, options, requested_by=request.user.name)


@post("/hosts/{host:str}/declare-off", status_code=200, guards=[operators_only])
@audited("host-declare-off")
async def declare_off(
    host: FromPath[str], request: CallerRequest, context: Injected, data: JSONBody[DeclareOff]
) -> Incident:
    """Take an operator's word that a host is switched off."""
    return await context.rescue_desk.declare_off(host, data, requested_by=request.user.name)


@post("/rescue/arm", status_code=200, guards=[operators_only])
@audited("rescue-arm")
async def arm(request: CallerRequest, context: Injected) -> RescueGuard:
    """Let servers of dead hosts be started elsewhere without being asked."""
    return await context.rescue_desk.arm(requested_by=request.user.name)


@post("/rescue/disarm", status_code=200, guards=[operators_only])
@audited("rescue-disarm")
async def disarm(
    request: CallerRequest, context: Injected, data: JSONBody[Disarm | None] = None
) -> RescueGuard:
    """Stop that until armed again."""
    reason = data.reason if data else ""
    return await context.rescue_desk.disarm(reason, requested_by=request.user.name)


@get("/incidents")
async def incidents(context: Injected) -> tuple[Incident, ...]:
    """List open incidents and the latest ended ones, newest first."""
    context.publisher.flush()
    return context.publisher.newest_incidents()


@get("/incidents/{incident:str}")
async def incident(incident: FromPath[str], context: Injected) -> Incident:
    """Show the report of one lost host."""
    found = context.fleet.incidents.get(incident)
    if found is None:
        raise GodwitError(ErrorCode.NOT_FOUND, f"no incident has the id {incident!r}")
    return found


ROUTES = [rescue, declare_off, arm, disarm, incidents, incident]
