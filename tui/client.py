"""The backend's API as methods: what the console and every verb of the command line use."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import quote, urlencode

import httpx
import msgspec

from tui.errors import BackendUnreachable
from tui.settings import Settings
from wire.config import read_token
from wire.console import (
    CONSOLE_EVENTS,
    BackendStatus,
    FleetSnapshot,
    HostGone,
    MigrationSample,
    ServerRemoved,
    SettleRequest,
)
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    Plan,
    PlanRequest,
    ReturnRequest,
    ServersOf,
)
from wire.fleet import Candidate, HostView, ServerView
from wire.http import explain, raise_for_error
from wire.migration import (
    Migration,
    MigrationDetail,
    MigrationKind,
    MigrationOptions,
    MigrationParameters,
)
from wire.rescue import (
    DeclareOff,
    Disarm,
    HealthReport,
    HostPolicyChange,
    Incident,
    RescueGuard,
    RescueOptions,
    ServerPolicyChange,
)
from wire.stream import StreamDown, StreamEvent, StreamUp, follow
from wire.tls import client_context

__all__ = [
    "BackendUnreachable",
    "Client",
    "Connected",
    "ConsoleEvent",
    "Disconnected",
    "Event",
]

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
"""The backend itself waits up to 10 s for an agent before it answers."""

ConsoleEvent = (
    FleetSnapshot
    | BackendStatus
    | HostView
    | HostGone
    | ServerView
    | ServerRemoved
    | Migration
    | Incident
    | Evacuation
    | MigrationSample
)
"""Every payload of the backend's stream."""

AnswerT = TypeVar("AnswerT")


class Connected(msgspec.Struct, frozen=True):
    """The stream is up; a snapshot or the missed events follow."""


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """The stream is down, and is being tried again: what is known may be stale."""

    reason: str
    error: GodwitError | None = None
    """Set when the backend answered and refused, such as a token that it does not accept."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the stream."""

    name: str
    payload: ConsoleEvent


class Client:
    """One backend. Use it as an async context manager.

    Every method raises :class:`wire.errors.GodwitError` when the backend refuses, and
    :class:`tui.errors.BackendUnreachable` when it gives no usable answer. A call that changes
    something is never sent twice.
    """

    def __init__(
        self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Read token and certificate; nothing is sent yet.

        Raises:
            wire.config.ConfigError: the token file or a TLS file cannot be used.
        """
        token = read_token(settings.token_file)
        self._url = settings.backend_url
        # trust_env would let a proxy variable or ~/.netrc replace the address or the token.
        self._http = httpx.AsyncClient(
            base_url=settings.backend_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            trust_env=False,
            transport=transport,
            verify=client_context(settings.tls) if transport is None else False,
        )

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        await self._http.__aexit__(kind, error, trace)

    async def status(self) -> BackendStatus:
        """Ask who we are for the backend, and whether it reaches etcd."""
        return await self._get("/v1/status", BackendStatus)

    async def hosts(self) -> list[HostView]:
        """List every host."""
        return await self._get("/v1/hosts", list[HostView])

    async def host(self, name_or_id: str) -> HostView:
        """Fetch one host."""
        return await self._get(_path("host", name_or_id), HostView)

    async def servers(self) -> list[ServerView]:
        """List every server."""
        return await self._get("/v1/servers", list[ServerView])

    async def server(self, name_or_id: str) -> ServerView:
        """Fetch one server."""
        return await self._get(_path("server", name_or_id), ServerView)

    async def candidates(
        self, server: str, kind: MigrationKind, options: MigrationOptions
    ) -> list[Candidate]:
        """List every host with each filter's verdict on such a migration of this server.

        Of the options only the skipped checks matter.
        """
        asked = {
            "kind": kind,
            "skip_cpu_check": str(options.skip_cpu_check).lower(),
            "skip_kernel_check": str(options.skip_kernel_check).lower(),
        }
        path = f"{_path('server', server)}/candidates?{urlencode(asked)}"
        return await self._get(path, list[Candidate])

    async def migrate(
        self, server: str, kind: MigrationKind, options: MigrationOptions
    ) -> Migration:
        """Begin a live or cold migration; it goes on in the backend whatever happens to us."""
        verb = "live-migrate" if kind == "live" else "migrate"
        path = f"{_path('server', server)}/{verb}"
        return await self._post(path, Migration, msgspec.json.encode(options))

    async def rescue(self, server: str, options: RescueOptions) -> Migration:
        """Begin to bring a server of a host that is down to another one."""
        body = msgspec.json.encode(options)
        return await self._post(_path("server", server) + "/rescue", Migration, body)

    async def set_server_policy(self, server: str, changed: ServerPolicyChange) -> ServerView:
        """Change what is decided about a server."""
        body = msgspec.json.encode(changed)
        return await self._post(_path("server", server) + "/policy", ServerView, body)

    async def set_host_policy(self, host: str, changed: HostPolicyChange) -> HostView:
        """Change what is decided about a host."""
        body = msgspec.json.encode(changed)
        return await self._post(_path("host", host) + "/policy", HostView, body)

    async def declare_off(self, host: str, typed_name: str) -> Incident:
        """Give our word that a host is switched off; its name is typed once more."""
        body = msgspec.json.encode(DeclareOff(host_name=typed_name))
        return await self._post(_path("host", host) + "/declare-off", Incident, body)

    async def health(self) -> HealthReport:
        """Ask etcd, through the backend, how every host is at this moment."""
        return await self._get("/v1/health", HealthReport)

    async def arm(self) -> RescueGuard:
        """Let servers of dead hosts be started elsewhere without being asked."""
        return await self._post("/v1/rescue/arm", RescueGuard, b"")

    async def disarm(self, reason: str) -> RescueGuard:
        """Stop rescues that nobody asks for, until armed again."""
        body = msgspec.json.encode(Disarm(reason=reason))
        return await self._post("/v1/rescue/disarm", RescueGuard, body)

    async def incidents(self) -> list[Incident]:
        """List lost hosts, newest first."""
        return await self._get("/v1/incidents", list[Incident])

    async def incident(self, incident_id: str) -> Incident:
        """Fetch the report of one lost host."""
        return await self._get(_path("incident", incident_id), Incident)

    async def set_maintenance(self, host: str, *, on: bool) -> HostView:
        """Take no servers on a host any more, or take them again."""
        act = "maintenance" if on else "exit-maintenance"
        return await self._post(f"{_path('host', host)}/{act}", HostView, b"")

    async def plan(self, wanted: PlanRequest) -> list[Plan]:
        """Plan how hosts would be emptied, one plan for each; nothing is changed."""
        return await self._post("/v1/evacuations/plan", list[Plan], msgspec.json.encode(wanted))

    async def evacuate(self, wanted: PlanRequest) -> list[Evacuation]:
        """Begin to empty hosts; it goes on in the backend whatever happens to us."""
        return await self._post("/v1/evacuations", list[Evacuation], msgspec.json.encode(wanted))

    async def return_plan(self, host: str, wanted: ReturnRequest) -> Plan:
        """Plan how what left a host would come back to it; nothing is changed."""
        path = _path("host", host) + "/return-plan"
        return await self._post(path, Plan, msgspec.json.encode(wanted))

    async def bring_back(self, host: str, wanted: ReturnRequest) -> Evacuation:
        """Begin to bring back to a host what left it."""
        path = _path("host", host) + "/return"
        return await self._post(path, Evacuation, msgspec.json.encode(wanted))

    async def evacuations(self) -> list[Evacuation]:
        """List evacuations and returns, newest first."""
        return await self._get("/v1/evacuations", list[Evacuation])

    async def evacuation(self, evacuation_id: str) -> Evacuation:
        """Fetch one evacuation: its course, or its report once it has ended."""
        return await self._get(_path("evacuation", evacuation_id), Evacuation)

    async def pause_evacuation(self, evacuation_id: str) -> Evacuation:
        """Let no further move begin; what moves goes on to its end."""
        return await self._steer(evacuation_id, "pause")

    async def resume_evacuation(self, evacuation_id: str) -> Evacuation:
        """Let moves begin again."""
        return await self._steer(evacuation_id, "resume")

    async def cancel_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        """Cancel the moves of these servers, or with none the whole evacuation."""
        body = msgspec.json.encode(ServersOf(servers=servers))
        return await self._steer(evacuation_id, "cancel", body)

    async def retry_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        """Move servers again whose moves failed or were cancelled; with none all of them."""
        body = msgspec.json.encode(ServersOf(servers=servers))
        return await self._steer(evacuation_id, "retry", body)

    async def replan_evacuation(self, evacuation_id: str) -> Evacuation:
        """Plan anew what has not begun, with what is known now."""
        return await self._steer(evacuation_id, "replan")

    async def change_evacuation(self, evacuation_id: str, changed: EvacuationChange) -> Evacuation:
        """Change the cap, the deadline or the plan of single servers."""
        return await self._steer(evacuation_id, "change", msgspec.json.encode(changed))

    async def forget(self, server: str) -> ServerRemoved:
        """Delete what is kept of a server that no host has (operator)."""
        return await self._post(_path("server", server) + "/forget", ServerRemoved, b"")

    async def settle(self, server: str, keep_host: str) -> ServerView:
        """Leave exactly one copy of a server that a failed migration left in doubt."""
        body = msgspec.json.encode(SettleRequest(keep_host=keep_host))
        return await self._post(_path("server", server) + "/settle", ServerView, body)

    async def cancel(self, migration_id: str) -> Migration:
        """Ask for a migration's end; the guest stays where it is."""
        return await self._act(migration_id, "cancel")

    async def set_parameters(self, migration_id: str, changed: MigrationParameters) -> Migration:
        """Change the cap or the downtime limit of a migration under way."""
        return await self._act(migration_id, "parameters", msgspec.json.encode(changed))

    async def switch_to_postcopy(self, migration_id: str) -> Migration:
        """Let the guest run on the target now, and fetch the rest of its memory there."""
        return await self._act(migration_id, "postcopy")

    async def recover_postcopy(self, migration_id: str) -> Migration:
        """Go on with a post-copy migration whose link broke."""
        return await self._act(migration_id, "recover")

    async def remove_kept(self, migration_id: str) -> Migration:
        """Remove what a failed migration left on its target because that was asked for."""
        return await self._act(migration_id, "remove-kept")

    async def migrations(self) -> list[Migration]:
        """List migrations, newest first."""
        return await self._get("/v1/migrations", list[Migration])

    async def migration(self, migration_id: str) -> MigrationDetail:
        """Fetch one migration with its curve."""
        return await self._get(_path("migration", migration_id), MigrationDetail)

    async def events(self) -> AsyncGenerator[Connected | Disconnected | Event, None]:
        """Follow the backend's stream; never ends and never raises, reconnects by itself.

        Events of names that this version does not know are left out.
        """
        async with aclosing(follow(self._http, "/v1/events")) as stream:
            async for item in stream:
                match item:
                    case StreamUp():
                        yield Connected()
                    case StreamDown():
                        yield Disconnected(reason=item.reason, error=item.refusal)
                    case StreamEvent() if item.name in CONSOLE_EVENTS:
                        yield self._event(item)

    def _event(self, item: StreamEvent) -> Event | Disconnected:
        try:
            payload = self._decode(item.data, CONSOLE_EVENTS[item.name])
        except BackendUnreachable as error:
            return Disconnected(reason=str(error))
        return Event(name=item.name, payload=cast("ConsoleEvent", payload))

    async def _act(self, migration_id: str, act: str, body: bytes = b"") -> Migration:
        return await self._post(f"{_path('migration', migration_id)}/{act}", Migration, body)

    async def _steer(self, evacuation_id: str, act: str, body: bytes = b"") -> Evacuation:
        return await self._post(f"{_path('evacuation', evacuation_id)}/{act}", Evacuation, body)

    async def _get(self, path: str, kind: type[AnswerT]) -> AnswerT:
        return self._decode(await self._send("GET", path, None), kind)

    async def _post(self, path: str, kind: type[AnswerT], body: bytes) -> AnswerT:
        return self._decode(await self._send("POST", path, body), kind)

    async def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            response = await self._http.request(method, path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise BackendUnreachable(explain(error, self._url)) from error
        raise_for_error(response)
        return response.content

    def _decode(self, content: bytes | str, kind: type[AnswerT]) -> AnswerT:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackendUnreachable(
                f"{self._url} does not answer as a Godwit backend of this version: {error}"
            ) from error


def _path(kind: str, name: str) -> str:
    """Put a name from a person into a URL path.

    Raises:
        GodwitError: NOT_FOUND for what no host, server or migration can be called: empty, with a
            slash, or undecodable bytes.
    """
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise GodwitError(ErrorCode.NOT_FOUND, f"no {kind} is called {name!r}")
    return f"/v1/{kind}s/{quote(name, safe='')}"
