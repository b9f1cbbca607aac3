"""Routes that show the fleet, and those that set a server right or forget it."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.audit import audited
from backend.api.context import Injected
from backend.api.questions import question
from backend.fleet.names import find_host, find_server
from backend.migrations.choice import all_candidates
from wire.candidates import Candidate
from wire.console import BackendStatus, ServerRemoved, SettleRequest
from wire.fleet import HostView, ServerView


@get("/status")
async def status(request: CallerRequest, context: Injected) -> BackendStatus:
    """Say who the caller is, whether etcd answers and whether this backend leads."""
    return context.status(request.user)


@get("/hosts")
async def hosts(context: Injected) -> list[HostView]:
    """List every host by name."""
    context.publisher.flush()
    return sorted(context.publisher.hosts.values(), key=lambda host: host.facts.name)


@get("/hosts/{host:str}")
async def host(host: FromPath[str], context: Injected) -> HostView:
    """Show one host, by name or id."""
    context.publisher.flush()
    return context.publisher.hosts[find_host(context.fleet, host).host_id]


@get("/servers")
async def servers(context: Injected) -> list[ServerView]:
    """List every server by name."""
    context.publisher.flush()
    return sorted(context.publisher.servers.values(), key=lambda server: server.name)


@get("/servers/{server:str}")
async def server(server: FromPath[str], context: Injected) -> ServerView:
    """Show one server, by name or id."""
    context.publisher.flush()
    return context.publisher.servers[find_server(context.fleet, server).server_id]


@get("/servers/{server:str}/candidates")
async def candidates(
    server: FromPath[str], request: CallerRequest, context: Injected
) -> tuple[Candidate, ...]:
    """Show every host with every filter's verdict on a migration of this server."""
    asked = question(request.query_params)
    if asked.kind == "rescue":
        return await context.rescue_desk.candidates(server)
    record = find_server(context.fleet, server)
    return await all_candidates(
        context.fleet, context.comparisons, record, asked.kind, asked.options
    )


@post("/servers/{server:str}/settle", status_code=200, guards=[operators_only])
@audited("server-settle")
async def settle(
    server: FromPath[str], request: CallerRequest, context: Injected, data: JSONBody[SettleRequest]
) -> ServerView:
    """Leave exactly one copy of a server that a failed migration left double, halted or nowhere."""
    record = await context.settler.settle(server, data.keep_host, requested_by=request.user.name)
    context.publisher.flush()
    return context.publisher.servers[record.server_id]


@post("/servers/{server:str}/forget", status_code=200, guards=[operators_only])
@audited("server-forget")
async def forget(server: FromPath[str], request: CallerRequest, context: Injected) -> ServerRemoved:
    """Delete what etcd keeps of a server that no host has."""
    record = await context.forgetter.forget(server, requested_by=request.user.name)
    return ServerRemoved(server_id=record.server_id)


ROUTES = [status, hosts, host, servers, server, candidates, settle, forget]
