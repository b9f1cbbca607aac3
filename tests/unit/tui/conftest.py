"""A backend that says what a test wants, behind the real TLS, token and error handling."""

import asyncio
import os
import pty
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyte
import pytest
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.response import ServerSentEvent

from lab.certificates import KeyPair, issue, new_authority, write_key_pair, write_secret
from tests.unit.tui.evacuation_routes import evacuation_routes
from tui.settings import BACKEND, CA_FILE, CERT_FILE, KEY_FILE, TOKEN_FILE
from wire.audit import AuditEntry
from wire.broadcasting import Outgoing
from wire.candidates import Candidate, FilterVerdict
from wire.config import TlsFiles
from wire.console import (
    BackendStatus,
    FailingDuty,
    FleetSnapshot,
    Role,
    ServerRemoved,
    SettleRequest,
)
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation, Plan
from wire.fleet import (
    Disk,
    HostFacts,
    HostMeters,
    HostStatus,
    HostView,
    ServerStatus,
    ServerView,
    StoragePool,
)
from wire.migration import (
    Migration,
    MigrationDetail,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Sample,
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
from wire.server import EXCEPTION_HANDLERS, bearer_token, event_stream

TOKEN = "t0ken-of-alice"


@dataclass
class Fleet:
    """What the backend of a test knows and answers."""

    hosts: list[HostView] = field(default_factory=list)
    servers: list[ServerView] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    migrations: dict[str, Migration] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    """Those of the hosts that are asked about are given."""
    evacuations: list[Evacuation] = field(default_factory=list)
    """Newest first; the first ones are what was begun."""
    health: HealthReport | None = None
    refused: dict[str, GodwitError] = field(default_factory=dict)
    """Raised when the policy of a host or server of this name is changed."""
    etcd_error: str = ""
    """Why etcd does not answer."""
    failing_duties: tuple[FailingDuty, ...] = ()
    samples: tuple[Sample, ...] = ()
    """The curve of every migration."""
    refusal: GodwitError | None = None
    """Raised by every call that changes something."""
    token: str = TOKEN
    """The only one that is accepted."""
    garbage: str = ""
    """Sent to every stream as a migration, before the events."""
    blind: GodwitError | None = None
    """Raised when a migration is asked for."""
    changed: list[str] = field(default_factory=list)
    """Calls that changed something, in order."""
    bodies: list[msgspec.Struct] = field(default_factory=list)
    """What came with those calls."""
    queries: list[dict[str, str]] = field(default_factory=list)
    """What candidates were asked for."""
    events: list[msgspec.Struct] = field(default_factory=list)
    """Sent to every stream, in order, after the snapshot."""

    def server(self, name: str) -> ServerView:
        for server in self.servers:
            if name in {server.name, server.server_id}:
                return server
        raise GodwitError(ErrorCode.NOT_FOUND, f"no server is called {name!r}")

    def host(self, name: str) -> HostView:
        for host in self.hosts:
            if name in {host.facts.name, host.facts.host_id}:
                return host
        raise GodwitError(ErrorCode.NOT_FOUND, f"no host is called {name!r}")

    def change(self, call: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.changed.append(call)

    def begin(self, verb: str, name: str, options: MigrationOptions) -> Migration:
        view = self.server(name)
        self.change(f"{verb} {name} {options.prefer_host}".strip())
        self.bodies.append(options)
        return next(one for one in self.migrations.values() if one.server_id == view.server_id)


EVENT_NAMES = {Migration: "migration", Evacuation: "evacuation"}


def make_app(fleet: Fleet) -> Litestar:
    """The API of wire.console over a fleet of a test."""

    async def check_token(request: Request[Any, Any, Any]) -> None:
        if bearer_token(request) != fleet.token:
            raise GodwitError(ErrorCode.UNAUTHENTICATED, "this token is not known here")

    return Litestar(
        [
            _status_route(fleet),
            *_host_routes(fleet),
            *_server_routes(fleet),
            *_migration_routes(fleet),
            *_policy_routes(fleet),
            *_rescue_routes(fleet),
            *_incident_routes(fleet),
            *evacuation_routes(fleet),
        ],
        before_request=check_token,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


def _status_route(fleet: Fleet) -> HTTPRouteHandler:
    @get("/v1/status")
    async def status() -> BackendStatus:
        return _status(fleet)

    return status


def _host_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    @get("/v1/hosts")
    async def hosts() -> list[HostView]:
        return fleet.hosts

    @get("/v1/hosts/{name:str}")
    async def host(name: FromPath[str]) -> HostView:
        return fleet.host(name)

    @get("/v1/events")
    async def events() -> ServerSentEvent:
        return event_stream(_stream(fleet))

    return [hosts, host, events]


def _server_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    @get("/v1/servers")
    async def servers() -> list[ServerView]:
        return fleet.servers

    @get("/v1/servers/{name:str}")
    async def server(name: FromPath[str]) -> ServerView:
        return fleet.server(name)

    @get("/v1/servers/{name:str}/candidates")
    async def candidates(request: Request[Any, Any, Any], name: FromPath[str]) -> list[Candidate]:
        fleet.server(name)
        fleet.queries.append(dict(request.query_params))
        return fleet.candidates

    @post("/v1/servers/{name:str}/live-migrate", status_code=202)
    async def live_migrate(name: FromPath[str], data: JSONBody[MigrationOptions]) -> Migration:
        return fleet.begin("live-migrate", name, data)

    @post("/v1/servers/{name:str}/migrate", status_code=202)
    async def migrate(name: FromPath[str], data: JSONBody[MigrationOptions]) -> Migration:
        return fleet.begin("migrate", name, data)

    @post("/v1/servers/{name:str}/settle", status_code=200)
    async def settle(name: FromPath[str], data: JSONBody[SettleRequest]) -> ServerView:
        fleet.change(f"settle {name} {data.keep_host}")
        return msgspec.structs.replace(
            fleet.server(name), status=ServerStatus.RUNNING, host_name=data.keep_host
        )

    @post("/v1/servers/{name:str}/forget", status_code=200)
    async def forget(name: FromPath[str]) -> ServerRemoved:
        fleet.change(f"forget {name}")
        return ServerRemoved(server_id=fleet.server(name).server_id)

    return [servers, server, candidates, live_migrate, migrate, settle, forget]


def _migration_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    @get("/v1/migrations")
    async def migrations() -> list[Migration]:
        return list(fleet.migrations.values())

    @get("/v1/migrations/{migration_id:str}")
    async def migration(migration_id: FromPath[str]) -> MigrationDetail:
        if fleet.blind is not None:
            raise fleet.blind
        if migration_id not in fleet.migrations:
            raise GodwitError(ErrorCode.NOT_FOUND, f"no migration is called {migration_id!r}")
        return MigrationDetail(migration=fleet.migrations[migration_id], samples=fleet.samples)

    @post("/v1/migrations/{migration_id:str}/parameters", status_code=202)
    async def parameters(
        migration_id: FromPath[str], data: JSONBody[MigrationParameters]
    ) -> Migration:
        fleet.bodies.append(data)
        fleet.change(f"parameters {migration_id}")
        return fleet.migrations[migration_id]

    @post("/v1/migrations/{migration_id:str}/{verb:str}", status_code=202)
    async def act(migration_id: FromPath[str], verb: FromPath[str]) -> Migration:
        assert verb in {"cancel", "postcopy", "recover", "remove-kept"}
        fleet.change(f"{verb} {migration_id}")
        return fleet.migrations[migration_id]

    return [migrations, migration, parameters, act]


def _policy_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    def change(name: str, call: str, body: msgspec.Struct) -> None:
        if name in fleet.refused:
            raise fleet.refused[name]
        fleet.change(call)
        fleet.bodies.append(body)

    @post("/v1/hosts/{name:str}/policy", status_code=200)
    async def host_policy(name: FromPath[str], data: JSONBody[HostPolicyChange]) -> HostView:
        view = fleet.host(name)
        change(name, f"policy {name}", data)
        policy = view.policy
        if data.auto_migrate_on_host_down is not None:
            down = data.auto_migrate_on_host_down
            policy = msgspec.structs.replace(policy, auto_migrate_on_host_down=down)
        if data.auto_migrate_on_host_shutdown is not None:
            shutdown = data.auto_migrate_on_host_shutdown
            policy = msgspec.structs.replace(policy, auto_migrate_on_host_shutdown=shutdown)
        return msgspec.structs.replace(view, policy=policy)

    @post("/v1/servers/{name:str}/policy", status_code=200)
    async def server_policy(name: FromPath[str], data: JSONBody[ServerPolicyChange]) -> ServerView:
        view = fleet.server(name)
        change(name, f"policy {name}", data)
        return msgspec.structs.replace(view, rescue_priority=data.rescue_priority)

    return [host_policy, server_policy]


def _rescue_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    @post("/v1/servers/{name:str}/rescue", status_code=202)
    async def rescue(name: FromPath[str], data: JSONBody[RescueOptions]) -> Migration:
        view = fleet.server(name)
        fleet.change(f"rescue {name}")
        fleet.bodies.append(data)
        found = next(each for each in fleet.migrations.values() if each.server_id == view.server_id)
        return msgspec.structs.replace(found, kind="rescue", incident_id="i-1")

    @post("/v1/hosts/{name:str}/declare-off", status_code=200)
    async def declare_off(name: FromPath[str], data: JSONBody[DeclareOff]) -> Incident:
        fleet.change(f"declare-off {name} {data.host_name}")
        return msgspec.structs.replace(fleet.incidents[0], declared_off_by="alice")

    @get("/v1/health")
    async def health() -> HealthReport:
        if fleet.blind is not None or fleet.health is None:
            raise fleet.blind or GodwitError(ErrorCode.INTERNAL, "the test has no report")
        return fleet.health

    @post("/v1/rescue/arm", status_code=200)
    async def arm() -> RescueGuard:
        fleet.change("arm")
        return RescueGuard()

    @post("/v1/rescue/disarm", status_code=200)
    async def disarm(data: JSONBody[Disarm]) -> RescueGuard:
        fleet.change(f"disarm {data.reason}")
        return RescueGuard(armed=False, reason=data.reason)

    return [rescue, declare_off, health, arm, disarm]


def _incident_routes(fleet: Fleet) -> list[HTTPRouteHandler]:
    @get("/v1/incidents")
    async def incidents() -> list[Incident]:
        return fleet.incidents

    @get("/v1/incidents/{incident_id:str}")
    async def incident(incident_id: FromPath[str]) -> Incident:
        for each in fleet.incidents:
            if each.incident_id == incident_id:
                return each
        raise GodwitError(ErrorCode.NOT_FOUND, f"no incident is called {incident_id!r}")

    @get("/v1/audit")
    async def audit() -> list[AuditEntry]:
        return fleet.audit

    return [incidents, incident, audit]


def _status(fleet: Fleet) -> BackendStatus:
    return BackendStatus(
        version="0",
        role=Role.OPERATOR,
        token_name="alice",
        etcd_ok=not fleet.etcd_error,
        etcd_error=fleet.etcd_error,
        failing_duties=fleet.failing_duties,
    )


async def _stream(fleet: Fleet) -> AsyncIterator[Outgoing]:
    snapshot = FleetSnapshot(
        status=_status(fleet),
        hosts=tuple(fleet.hosts),
        servers=tuple(fleet.servers),
        migrations=tuple(fleet.migrations.values()),
        evacuations=tuple(fleet.evacuations),
    )
    yield Outgoing(name="snapshot", data=msgspec.json.encode(snapshot), event_id="1-0")
    if fleet.garbage:
        yield Outgoing(name="migration", data=fleet.garbage.encode(), event_id="1-0")
    sent = 0
    while True:
        while sent < len(fleet.events):
            event = fleet.events[sent]
            sent += 1
            name = EVENT_NAMES.get(type(event), "sample")
            yield Outgoing(name=name, data=msgspec.json.encode(event), event_id=f"1-{sent}")
        await asyncio.sleep(0.02)


class Backend:
    """The app under uvicorn, in a thread, on one port that survives a restart."""

    def __init__(self, fleet: Fleet, tls: TlsFiles) -> None:
        self.fleet = fleet
        self._tls = tls
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.frozen = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        config = uvicorn.Config(
            make_app(self.fleet),
            host="127.0.0.1",
            port=self.port,
            ssl_certfile=str(self._tls.cert_file),
            ssl_keyfile=str(self._tls.key_file),
            ssl_ca_certs=str(self._tls.ca_file),
            ssl_cert_reqs=2,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve(self._server)])
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    async def _serve(self, server: uvicorn.Server) -> None:
        self._loop = asyncio.get_running_loop()
        await server.serve()
        # Cut connections close in the loop's next turns.
        await asyncio.sleep(0.1)

    def freeze(self) -> threading.Event:
        """Let it answer nothing, with every connection left open, until the event is set."""
        assert self._loop is not None
        thaw = threading.Event()

        def stand_still() -> None:
            self.frozen = True
            thaw.wait(timeout=8)
            self.frozen = False

        self._loop.call_soon_threadsafe(stand_still)
        return thaw

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = None


@pytest.fixture(scope="session")
def authority() -> KeyPair:
    return new_authority("test CA")


def _write_tls(folder: Path, *, trusted: KeyPair, signed_by: KeyPair) -> TlsFiles:
    """Files that trust one CA and show a certificate of one, the same or another."""
    files = TlsFiles(
        ca_file=folder / "ca.pem", cert_file=folder / "cert.pem", key_file=folder / "key.pem"
    )
    folder.mkdir(parents=True, exist_ok=True)
    files.ca_file.write_bytes(trusted.certificate)
    pair = issue(signed_by, "node", address="127.0.0.1")
    write_key_pair(pair, cert_file=files.cert_file, key_file=files.key_file)
    return files


@pytest.fixture(scope="session")
def other_tls(authority: KeyPair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    """Files of an operator whose trusted CA, or whose own certificate, is of another fleet."""
    other = new_authority("another CA")
    folder = tmp_path_factory.mktemp("other")
    return {
        "trusts another": _write_tls(folder / "trusts", trusted=other, signed_by=authority),
        "shows another": _write_tls(folder / "shows", trusted=authority, signed_by=other),
    }


def _host(number: int, *, microcode: str = "0x42e") -> HostView:
    facts = HostFacts(
        host_id=f"0000000{number}-0000-4000-8000-000000000000",
        name=f"kvm-0{number}",
        address=f"10.77.1.1{number}",
        agent_url=f"https://10.77.1.1{number}:8600",
        cpu_architecture="x86_64",
        cpu_model_name="Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz",
        microcode=microcode,
        kernel="6.1.0-28-amd64",
        cpu_count=2,
        page_size_bytes=4096,
        memory_total_bytes=4096 << 20,
        libvirt_cpu_model="IvyBridge-IBRS",
        cpu_features=(),
        machine_types=("pc-i440fx-7.2",),
        virt_types=("qemu",),
        qemu_version="7.2.15",
        libvirt_version="9.0.0",
        agent_version="0.1.0",
        pools=(
            StoragePool(
                pool_id="p1",
                name="shared",
                shared=True,
                path="/srv/shared",
                capacity_bytes=1 << 30,
                available_bytes=1 << 29,
            ),
        ),
    )
    return HostView(
        facts=facts,
        status=HostStatus.ONLINE,
        meters=HostMeters(cpu_percent=12.5, memory_used_bytes=1024 << 20),
        server_count=3 - number,
        running_server_count=1,
        server_memory_bytes=256 << 20,
    )


def _server(number: int, name: str, status: ServerStatus, **more: Any) -> ServerView:
    return ServerView(
        server_id=f"{number}0000000-0000-4000-8000-000000000000",
        name=name,
        status=status,
        host_id="00000001-0000-4000-8000-000000000000",
        host_name="kvm-01",
        vcpu_count=1,
        memory_bytes=256 << 20,
        disks=(
            Disk(target="hda", source="/srv/shared/web-1.raw", shared=True, capacity_bytes=1 << 20),
        ),
        storage="shared",
        **more,
    )


@pytest.fixture
def fleet() -> Fleet:
    """Two hosts and two servers on the first; ``web-1`` moves to the second."""
    web = _server(1, "web-1", ServerStatus.LIVE_MIGRATING, migration_id="m-1")
    idle = _server(2, "idle-1", ServerStatus.READY, target_host_names=("kvm-02",))
    moving = Migration(
        migration_id="m-1",
        server_id=web.server_id,
        server_name="web-1",
        source_host_id=web.host_id,
        source_host_name="kvm-01",
        target_host_id="00000002-0000-4000-8000-000000000000",
        target_host_name="kvm-02",
        state=MigrationState.PREPARING,
        requested_by="alice",
        created_at_ms=1_700_000_000_000,
    )
    misfit = FilterVerdict(
        filter="microcode", passed=False, reason="microcode 0x42e on kvm-01, 0x428 on kvm-03"
    )
    fits = FilterVerdict(filter="online", passed=True)
    return Fleet(
        hosts=[_host(1), _host(2)],
        servers=[web, idle],
        candidates=[
            Candidate(host_id="3", host_name="kvm-03", verdicts=(fits, misfit)),
            Candidate(host_id="2", host_name="kvm-02", verdicts=(fits,), weight=1.0),
        ],
        migrations={"m-1": moving},
    )


@pytest.fixture
def backend(fleet: Fleet, authority: KeyPair, tmp_path: Path) -> Iterator[Backend]:
    tls = _write_tls(tmp_path / "backend", trusted=authority, signed_by=authority)
    backend = Backend(fleet, tls)
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def environment(
    backend: Backend, authority: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The variables with which ``godwit`` finds the backend, set for this process too."""
    tls = _write_tls(tmp_path / "operator", trusted=authority, signed_by=authority)
    token_file = tmp_path / "token"
    write_secret(token_file, TOKEN.encode())
    variables = {
        BACKEND: backend.url,
        TOKEN_FILE: str(token_file),
        CA_FILE: str(tls.ca_file),
        CERT_FILE: str(tls.cert_file),
        KEY_FILE: str(tls.key_file),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, Callable[[], list[str]]]]:
    """A stream to a pseudo-terminal of 80x24, and a function that shows its screen."""
    ours, theirs = pty.openpty()
    screen = pyte.Screen(80, 24)
    feed = pyte.ByteStream(screen)

    def shown() -> list[str]:
        while select.select([ours], [], [], 0.2)[0]:
            feed.feed(os.read(ours, 1 << 16))
        return [line.rstrip() for line in screen.display if line.strip()]

    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield stream, shown
    os.close(ours)
