"""The agent's HTTP API; its table is in :mod:`wire.agent`."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, Request, get
from litestar.response import ServerSentEvent

from hostagent.agent import Agent
from wire.agent import AgentSnapshot, GuestTruth
from wire.errors import ErrorCode, GodwitError
from wire.server import (
    EXCEPTION_HANDLERS,
    Outgoing,
    bearer_token,
    event_stream,
    token_matches,
)


def make_app(agent: Agent, *, token_sha256: str) -> Litestar:
    """The application that serves one agent."""

    def require_token(request: Request[Any, Any, Any]) -> None:
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

    @get("/v1/snapshot", sync_to_thread=False)
    def snapshot() -> AgentSnapshot:
        return agent.snapshot()

    @get("/v1/events", sync_to_thread=False)
    def events() -> ServerSentEvent:
        agent.snapshot()  # refuse now, rather than break the stream, while there is none
        stream: AsyncIterator[Outgoing] = agent.broadcast.listen()
        return event_stream(stream)

    @get("/v1/servers/{server_id:str}")
    async def server(server_id: str) -> GuestTruth:
        return await agent.driver.truth(server_id)

    return Litestar(
        route_handlers=[snapshot, events, server],
        before_request=require_token,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
