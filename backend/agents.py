"""Speaking to host agents: one HTTPS client for each, with certificate and token."""

import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from wire.agent import (
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
from wire.fleet import HostFacts
from wire.http import explain, raise_for_error
from wire.storage import (
    DefineCommand,
    DiscardCommand,
    Discarded,
    Export,
    ExportCommand,
    Incoming,
    Leftovers,
    PrepareCommand,
    PullCommand,
    ReleaseCommand,
    ServerStorage,
)

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
_FILES_TIMEOUT = httpx.Timeout(60.0, connect=3.0)
"""Making room for files, moving and deleting them takes a disk's time."""

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

    async def storage(self, server_id: str) -> ServerStorage:
        """Ask for a server's definition and files, read now; NOT_FOUND if it is not here."""
        path = f"/v1/servers/{server_id}/storage"
        return await self._call("GET", path, ServerStorage, within=_FILES_TIMEOUT)

    async def compare_cpu(self, question: CpuQuestion) -> CpuComparison:
        """Ask whether a guest could run here."""
        return await self._call("POST", "/v1/cpu-comparison", CpuComparison, question)

    async def resume(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Let a guest run again that a failed move left paused."""
        return await self._call("POST", f"/v1/servers/{server_id}/resume", GuestTruth, command)

    async def start(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Start a stopped server on its owner."""
        path = f"/v1/servers/{server_id}/start"
        return await self._call("POST", path, GuestTruth, command, _FILES_TIMEOUT)

    async def release(self, server_id: str, command: ReleaseCommand) -> GuestTruth:
        """Have a server that moved away undefined, and its files deleted."""
        path = f"/v1/servers/{server_id}/release"
        return await self._call("POST", path, GuestTruth, command, _FILES_TIMEOUT)

    async def remove(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Have a copy ended and undefined on a host that is not the owner."""
        path = f"/v1/servers/{server_id}/remove"
        return await self._call("POST", path, GuestTruth, command, _FILES_TIMEOUT)

    async def break_off(self, server_id: str, command: BreakOffCommand) -> GuestTruth:
        """Have the arrived half of a guest let go of a connection that may be dead."""
        return await self._call("POST", f"/v1/servers/{server_id}/break-off", GuestTruth, command)

    async def migrate(self, command: MigrateCommand) -> Job:
        """Have this host move a guest away."""
        return await self._call("POST", "/v1/migrations", Job, command)

    async def pull(self, command: PullCommand) -> Job:
        """Have this host copy a server's files; sent again, it goes on where it was."""
        return await self._call("POST", "/v1/pulls", Job, command, _FILES_TIMEOUT)

    async def job(self, migration_id: str) -> JobDetail:
        """Ask for a job with its curve; NOT_FOUND if the agent does not know it."""
        return await self._call("GET", f"/v1/migrations/{migration_id}", JobDetail)

    async def cancel(self, migration_id: str, command: JobCommand) -> Job:
        """Have a running job aborted."""
        return await self._call("POST", f"/v1/migrations/{migration_id}/cancel", Job, command)

    async def set_parameters(self, migration_id: str, command: ParametersCommand) -> Job:
        """Change a running job."""
        return await self._call("POST", f"/v1/migrations/{migration_id}/parameters", Job, command)

    async def postcopy(self, migration_id: str, command: JobCommand) -> Job:
        """Have a running job switched to post-copy."""
        return await self._call("POST", f"/v1/migrations/{migration_id}/postcopy", Job, command)

    async def recover(self, migration_id: str, command: JobCommand) -> Job:
        """Have a paused post-copy go on."""
        return await self._call(
            "POST", f"/v1/migrations/{migration_id}/recover", Job, command, _FILES_TIMEOUT
        )

    async def prepare(self, command: PrepareCommand) -> Incoming:
        """Have room made for a server's local files."""
        return await self._call("POST", "/v1/incoming", Incoming, command, _FILES_TIMEOUT)

    async def define(self, migration_id: str, command: DefineCommand) -> GuestTruth:
        """Have the arrived files put in their places and the server defined."""
        path = f"/v1/incoming/{migration_id}/define"
        return await self._call("POST", path, GuestTruth, command, _FILES_TIMEOUT)

    async def complete(self, migration_id: str) -> None:
        """Have all forgotten that was only kept until the move was over."""
        await self._request("POST", f"/v1/incoming/{migration_id}/complete")

    async def discard(self, migration_id: str, command: DiscardCommand) -> Discarded:
        """Have all removed that a migration made here."""
        path = f"/v1/incoming/{migration_id}/discard"
        return await self._call("POST", path, Discarded, command, _FILES_TIMEOUT)

    async def leftovers(self, migration_id: str) -> Leftovers:
        """Ask whether anything is still to be cleared up there after a migration."""
        return await self._call("GET", f"/v1/leftovers/{migration_id}", Leftovers)

    async def remove_kept(self, migration_id: str) -> None:
        """Have removed what a failed migration left here on request."""
        path = f"/v1/incoming/{migration_id}/remove-kept"
        await self._request("POST", path, within=_FILES_TIMEOUT)

    async def export(self, command: ExportCommand) -> Export:
        """Have a stopped server's files opened for reading."""
        return await self._call("POST", "/v1/exports", Export, command, _FILES_TIMEOUT)

    async def exported(self, migration_id: str) -> Export:
        """Ask how far the digests of opened files are."""
        return await self._call("GET", f"/v1/exports/{migration_id}", Export)

    async def close_export(self, migration_id: str) -> Export:
        """Have the files closed; says whether they are still as they were opened."""
        path = f"/v1/exports/{migration_id}/close"
        return await self._call("POST", path, Export, within=_FILES_TIMEOUT)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[AnswerT],
        body: msgspec.Struct | None = None,
        within: httpx.Timeout = _TIMEOUT,
    ) -> AnswerT:
        response = await self._request(method, path, body, within)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            reason = f"{self.url} does not answer as an agent of this version: {error}"
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, reason) from error

    async def _request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        within: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = await self.http.request(
                method, path, content=content, headers=headers, timeout=within
            )
            raise_for_error(response)
        except httpx.HTTPError as error:
            reason = explain(error, self.url)
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, reason) from error
        return response


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
