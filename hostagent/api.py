"""The agent's HTTP API; its table is in :mod:`wire.agent`."""

from typing import Any

from litestar import Litestar, Request, Router, get, post
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.response import ServerSentEvent
from litestar.types import BeforeRequestHookHandler

from hostagent.agent import Agent
from hostagent.copies.api import COPY_ROUTES
from wire.agent import (
    AgentSnapshot,
    BreakOffCommand,
    CpuComparison,
    CpuQuestion,
    GuestTruth,
    Job,
    JobCommand,
    JobDetail,
    MigrateCommand,
    ParametersCommand,
    ServerCommand,
)
from wire.errors import ErrorCode, GodwitError
from wire.server import EXCEPTION_HANDLERS, bearer_token, event_stream, token_matches


@get("/snapshot")
async def snapshot(agent: Agent) -> AgentSnapshot:
    """Everything that the agent knows."""
    return agent.snapshot()


@get("/events")
async def events(agent: Agent) -> ServerSentEvent:
    """A snapshot, then what changes; refused while there is no snapshot."""
    agent.snapshot()
    return event_stream(agent.broadcast.listen())


@get("/servers/{server_id:str}")
async def server(agent: Agent, server_id: str) -> GuestTruth:
    """What libvirt knows of a guest at this moment."""
    return await agent.driver.truth(server_id)


@post("/servers/{server_id:str}/resume", status_code=200)
async def resume(agent: Agent, server_id: str, data: ServerCommand) -> GuestTruth:
    """Let a paused guest run."""
    return await agent.resume(server_id, data)


@post("/servers/{server_id:str}/break-off", status_code=200)
async def break_off(agent: Agent, server_id: str, data: BreakOffCommand) -> GuestTruth:
    """Let go of the connection by which a guest's memory comes."""
    return await agent.break_off(server_id, data)


@post("/migrations", status_code=202)
async def migrate(agent: Agent, data: MigrateCommand) -> Job:
    """Begin to move a guest away."""
    return await agent.migrate(data)


@get("/migrations/{migration_id:str}")
async def migration(agent: Agent, migration_id: str) -> JobDetail:
    """One job with its curve."""
    return agent.jobs_of(migration_id).detail(migration_id)


@post("/migrations/{migration_id:str}/cancel", status_code=200)
async def cancel(agent: Agent, migration_id: str, data: JobCommand) -> Job:
    """Abort a job."""
    return await agent.jobs_of(migration_id).cancel(migration_id, data)


@post("/migrations/{migration_id:str}/parameters", status_code=200)
async def parameters(agent: Agent, migration_id: str, data: ParametersCommand) -> Job:
    """Change a job's cap or downtime limit while it runs."""
    return await agent.jobs_of(migration_id).change(migration_id, data)


@post("/migrations/{migration_id:str}/postcopy", status_code=200)
async def postcopy(agent: Agent, migration_id: str, data: JobCommand) -> Job:
    """Let a guest run on its target now."""
    return await agent.jobs.switch_to_postcopy(migration_id, data)


@post("/migrations/{migration_id:str}/recover", status_code=200)
async def recover(agent: Agent, migration_id: str, data: JobCommand) -> Job:
    """Go on with a post-copy whose connection broke."""
    return await agent.jobs.recover(migration_id, data)


@post("/cpu-comparison", status_code=200)
async def cpu_comparison(agent: Agent, data: CpuQuestion) -> CpuComparison:
    """Whether a guest's CPU can be had on this host."""
    return await agent.driver.compare_cpu(data)


_LIVE_ROUTES: tuple[HTTPRouteHandler, ...] = (
    migrate,
    migration,
    cancel,
    parameters,
    postcopy,
    recover,
)


def make_app(agent: Agent, *, token_sha256: str) -> Litestar:
    """The application that serves one agent."""

    async def provide_agent() -> Agent:
        return agent

    routes = [snapshot, events, server, resume, break_off, cpu_comparison]
    routes += [*_LIVE_ROUTES, *COPY_ROUTES]
    return Litestar(
        route_handlers=[Router("/v1", route_handlers=routes)],
        dependencies={"agent": Provide(provide_agent)},
        before_request=_guard(agent, token_sha256),
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


def _guard(agent: Agent, token_sha256: str) -> BeforeRequestHookHandler:
    """Only who knows the token is answered, and orders are taken only by a host that may act."""

    def guard(request: Request[Any, Any, Any]) -> None:
        token = bearer_token(request)
        if not token:
            raise GodwitError(
                ErrorCode.UNAUTHENTICATED,
                "this call carries no token: send the agents' as 'Authorization: Bearer ...'",
            )
        if not token_matches(token, token_sha256):
            raise GodwitError(
                ErrorCode.UNAUTHENTICATED,
                "this token is not the one that the host agent was configured with",
            )

        if request.method == "POST":
            agent.life.require_ready()

    return guard
