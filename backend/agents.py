"""Speaking to host agents: one HTTPS client for each, with certificate and token."""

import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from wire.agent import (
    GuestTruth,
    Job,
    JobCommand,
    JobDetail,
    MigrateCommand,
    ServerCommand,
)
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostFacts
from wire.http import explain, raise_for_error

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class AgentClient:
    """One agent's API (:mod:`wire.agent`).

    Every call raises :class:`GodwitError`: the agent's own refusal, or AGENT_UNREACHABLE.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext, token: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(
            base_url=url,
            verify=context,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def truth(self, server_id: str) -> GuestTruth:
        """Ask what this hypervisor knows of a guest now."""
        return await self._call("GET", f"/v1/servers/{server_id}", GuestTruth)

    async def migrate(self, command: MigrateCommand) -> Job:
        """Have this host move a guest away."""
        return await self._call("POST", "/v1/migrations", Job, command)

    async def job(self, migration_id: str) -> JobDetail:
        """Ask for a job with its curve; NOT_FOUND if the agent does not know it."""
        return await self._call("GET", f"/v1/migrations/{migration_id}", JobDetail)

    async def cancel(self, migration_id: str, command: JobCommand) -> Job:
        """Have a running job aborted."""
        return await self._call("POST", f"/v1/migrations/{migration_id}/cancel", Job, command)

    async def resume(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Let a guest run again that a failed move left paused."""
        return await self._call("POST", f"/v1/servers/{server_id}/resume", GuestTruth, command)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    async def _call(
        self, method: str, path: str, kind: type[AnswerT], body: msgspec.Struct | None = None
    ) -> AnswerT:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = await self.http.request(method, path, content=content, headers=headers)
            raise_for_error(response)
            return msgspec.json.decode(response.content, type=kind)
        except httpx.HTTPError as error:
            reason = explain(error, self.url)
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, reason) from error
        except msgspec.DecodeError as error:
            reason = f"{self.url} does not answer as an agent of this version: {error}"
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, reason) from error


class Agents:
    """The client of each host's agent, by host id."""

    def __init__(
        self, facts: Mapping[str, HostFacts], *, context: ssl.SSLContext, token: str
    ) -> None:
        """Prepare.

        Args:
            facts: the fleet's, by host id; they tell where each agent listens.
            context: shows our certificate and checks the agents'.
            token: what every agent expects.
        """
        self._facts = facts
        self._context = context
        self._token = token
        self._clients: dict[str, AgentClient] = {}

    def of(self, host_id: str, host_name: str) -> AgentClient:
        """The client of a host's agent, made when first asked for.

        Raises:
            GodwitError: AGENT_UNREACHABLE, the host published no facts.
        """
        facts = self._facts.get(host_id)
        if facts is None:
            raise GodwitError(
                ErrorCode.AGENT_UNREACHABLE, f"{host_name} has told nobody where its agent listens"
            )
        client = self._clients.get(host_id)
        if client is None or client.url != facts.agent_url:
            client = AgentClient(facts.agent_url, context=self._context, token=self._token)
            self._clients[host_id] = client
        return client

    async def close(self, host_id: str, client: AgentClient) -> None:
        """Close a client, and forget it unless it was replaced meanwhile."""
        if self._clients.get(host_id) is client:
            del self._clients[host_id]
        await client.close()
