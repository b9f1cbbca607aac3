"""Routes about health: the report, and what operators decide about hosts and servers."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.audit import audited
from backend.api.context import Injected
from wire.fleet import HostView, ServerView
from wire.rescue import HealthReport, HostPolicyChange, ServerPolicyChange


@get("/health")
async def health(context: Injected) -> HealthReport:
    """Tell every host's health and etcd's own, asked of etcd now."""
    return await context.reporter.report()


@post("/hosts/{host:str}/policy", status_code=200, guards=[operators_only])
@audited("host-auto-migrate-on-host-down")
async def host_policy(
    host: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[HostPolicyChange],
) -> HostView:
    """Change what is done when a host dies or is shut down."""
    changed = await context.policies.change_host(host, data, requested_by=request.user.name)
    context.publisher.flush()
    return context.publisher.hosts[changed.host_id]


@post("/servers/{server:str}/policy", status_code=200, guards=[operators_only])
@audited("server-set-rescue-priority")
async def server_policy(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[ServerPolicyChange],
) -> ServerView:
    """Change when a server's turn comes among those of a host that died."""
    changed = await context.policies.change_server(server, data, requested_by=request.user.name)
    context.publisher.flush()
    return context.publisher.servers[changed.server_id]


ROUTES = [health, host_policy, server_policy]
