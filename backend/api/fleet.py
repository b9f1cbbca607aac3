"""Routes that show the fleet."""

from litestar import get

from backend.api.access import CallerRequest
from backend.api.context import Context
from backend.fleet.names import find_host, find_server
from backend.migrations.choice import all_candidates
from wire.console import BackendStatus
from wire.fleet import Candidate, HostView, ServerView


@get("/status")
async def status(request: CallerRequest, context: Context) -> BackendStatus:
    """Say who the caller is, whether etcd answers and whether this backend leads."""
    return context.status(request.user)


@get("/hosts")
async def hosts(context: Context) -> list[HostView]:
    """List every host by name."""
    context.publisher.flush()
    return sorted(context.publisher.hosts.values(), key=lambda host: host.facts.name)


@get("/hosts/{host:str}")
async def host(host: str, context: Context) -> HostView:
    """Show one host, by name or id."""
    context.publisher.flush()
    return context.publisher.hosts[find_host(context.fleet, host).host_id]


@get("/servers")
async def servers(context: Context) -> list[ServerView]:
    """List every server by name."""
    context.publisher.flush()
    return sorted(context.publisher.servers.values(), key=lambda server: server.name)


@get("/servers/{server:str}")
async def server(server: str, context: Context) -> ServerView:
    """Show one server, by name or id."""
    context.publisher.flush()
    return context.publisher.servers[find_server(context.fleet, server).server_id]


@get("/servers/{server:str}/candidates")
async def candidates(server: str, context: Context) -> tuple[Candidate, ...]:
    """Show every host with every filter's verdict on a live migration of this server."""
    return all_candidates(context.fleet, find_server(context.fleet, server))


ROUTES = [status, hosts, host, servers, server, candidates]
