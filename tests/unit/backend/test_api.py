"""A whole backend on loopback with a real etcd and TLS, and no agent: access, names, bad input."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import msgspec
import pytest

from backend.config import BackendConfig, NotifyConfig
from backend.main import run
from wire import keys
from wire.audit import AuditEntry, AuditObject
from wire.console import BackendStatus, FleetSnapshot, Role
from wire.errors import ErrorBody, ErrorCode
from wire.fleet import (
    HostPolicy,
    HostStatus,
    HostView,
    Owner,
    RescuePriority,
    ServerRecord,
    ServerView,
)
from wire.life import HealthValue
from wire.migration import Migration, MigrationDetail, MigrationState
from wire.rescue import HealthReport, RescueGuard
from wire.tls import client_context

OPERATOR = {"Authorization": "Bearer op"}
VIEWER = {"Authorization": "Bearer view"}


def record(server_id: str, name: str, host_id: str = "host-1") -> ServerRecord:
    return ServerRecord(
        server_id=server_id,
        name=name,
        vcpu_count=1,
        memory_bytes=1 << 20,
        disks=(),
        owner=Owner(host_id=host_id, epoch=1, generation=1),
        wanted_on=True,
    )


@pytest.fixture
def config(server, tls, tmp_path, port) -> BackendConfig:
    def secret(name: str, text: str):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    entries = [
        f'[[token]]\nname = "{name}"\nrole = "{role}"\n'
        f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
        for name, role, token in (("alice", "operator", "op"), ("bob", "viewer", "view"))
    ]
    return BackendConfig(
        listen=f"127.0.0.1:{port}",
        name="backend-1",
        agent_token_file=secret("agent.token", "agents"),
        tokens_file=secret("tokens.toml", "".join(entries)),
        tls=tls,
        etcd=server.config,
        notify=NotifyConfig(command=("tee", "-a", str(tmp_path / "notices"))),
    )


@pytest.fixture
async def api(config, tls, etcd, make_host) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a backend that leads, with one host (whose agent is away) and three servers."""
    facts = make_host(1, agent_url="https://127.0.0.1:1")
    etcd.put(keys.FACTS + "host-1", msgspec.json.encode(facts))
    health = HealthValue(boot_id="b", epoch=1)
    etcd.put(keys.HEALTH + "host-1", msgspec.json.encode(health))
    for server_id, name in (("id-web", "web-1"), ("id-twin-a", "twin"), ("id-twin-b", "twin")):
        etcd.put(keys.SERVERS + server_id, msgspec.json.encode(record(server_id, name)))
    running = asyncio.create_task(run(config))
    url = f"https://{config.listen}"
    async with httpx.AsyncClient(base_url=url, verify=client_context(tls)) as client:
        leading = asyncio.create_task(until_leading(client))
        await asyncio.wait({running, leading}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        await leading
        yield client
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until_leading(client: httpx.AsyncClient) -> None:
    for _ in range(200):
        with suppress(httpx.HTTPError):
            answer = await client.get("/v1/status", headers=OPERATOR)
            status = msgspec.json.decode(answer.content, type=BackendStatus)
            if status.leading and status.etcd_ok:
                return
        await asyncio.sleep(0.05)
    pytest.fail("the backend does not lead")


def refusal(answer: httpx.Response, status: int, code: ErrorCode) -> str:
    assert answer.status_code == status, answer.text
    body = msgspec.json.decode(answer.content, type=ErrorBody)
    assert body.code is code
    assert "\n" not in body.message
    return body.message


async def test_status_names_the_caller_and_the_role(api):
    for headers, name, role in ((OPERATOR, "alice", Role.OPERATOR), (VIEWER, "bob", Role.VIEWER)):
        answer = await api.get("/v1/status", headers=headers)
        status = msgspec.json.decode(answer.content, type=BackendStatus)
        assert (status.token_name, status.role, status.etcd_ok) == (name, role, True)


@pytest.mark.parametrize(
    "path", ["/v1/status", "/v1/hosts", "/v1/servers", "/v1/events", "/schema/openapi.json"]
)
async def test_nothing_is_shown_without_a_known_token(api, path):
    refusal(await api.get(path), 401, ErrorCode.UNAUTHENTICATED)
    wrong = {"Authorization": "Bearer wrong"}
    refusal(await api.get(path, headers=wrong), 401, ErrorCode.UNAUTHENTICATED)


async def test_a_client_without_a_certificate_of_our_ca_gets_no_connection(api, make_tls):
    stranger = client_context(make_tls())
    stranger.check_hostname = False
    stranger.verify_mode = 0
    with pytest.raises(httpx.HTTPError):
        async with httpx.AsyncClient(verify=stranger) as client:
            await client.get(api.base_url.join("/v1/status"), headers=OPERATOR)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/servers/web-1/live-migrate",
        "/v1/servers/web-1/migrate",
        "/v1/servers/web-1/settle",
        "/v1/servers/web-1/forget",
        "/v1/servers/web-1/policy",
        "/v1/servers/web-1/rescue",
        "/v1/hosts/kvm-01/policy",
        "/v1/hosts/kvm-01/declare-off",
        "/v1/rescue/arm",
        "/v1/rescue/disarm",
        "/v1/migrations/m/cancel",
        "/v1/migrations/m/parameters",
        "/v1/migrations/m/postcopy",
        "/v1/migrations/m/recover",
        "/v1/migrations/m/remove-kept",
    ],
)
async def test_a_viewer_may_only_look(api, path):
    sentence = refusal(await api.post(path, headers=VIEWER), 403, ErrorCode.FORBIDDEN)
    assert "'bob'" in sentence


async def test_the_fleet_is_listed_and_found_by_name_or_id(api):
    answer = await api.get("/v1/hosts", headers=VIEWER)
    (host,) = msgspec.json.decode(answer.content, type=list[HostView])
    assert (host.facts.name, host.status, host.server_count) == (
        "kvm-01",
        HostStatus.UNREACHABLE,
        3,
    )
    answer = await api.get("/v1/servers", headers=VIEWER)
    servers = msgspec.json.decode(answer.content, type=list[ServerView])
    assert [one.name for one in servers] == ["twin", "twin", "web-1"]
    for path in ("/v1/hosts/kvm-01", "/v1/hosts/host-1"):
        answer = await api.get(path, headers=VIEWER)
        assert msgspec.json.decode(answer.content, type=HostView).facts == host.facts
    for path in ("/v1/servers/web-1", "/v1/servers/id-web"):
        answer = await api.get(path, headers=VIEWER)
        assert msgspec.json.decode(answer.content, type=ServerView).server_id == "id-web"


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/v1/hosts/nope", ErrorCode.NOT_FOUND, "'nope'"),
        ("GET", "/v1/servers/nope", ErrorCode.NOT_FOUND, "'nope'"),
        ("GET", "/v1/servers/nope/candidates", ErrorCode.NOT_FOUND, "'nope'"),
        ("GET", "/v1/servers/twin", ErrorCode.AMBIGUOUS, "id-twin-a and id-twin-b"),
        ("GET", "/v1/migrations/nope", ErrorCode.NOT_FOUND, "'nope'"),
        ("POST", "/v1/servers/nope/live-migrate", ErrorCode.NOT_FOUND, "'nope'"),
        ("POST", "/v1/servers/nope/migrate", ErrorCode.NOT_FOUND, "'nope'"),
        ("POST", "/v1/migrations/nope/postcopy", ErrorCode.NOT_FOUND, "'nope'"),
        ("POST", "/v1/servers/twin/live-migrate", ErrorCode.AMBIGUOUS, "id-twin-a and id-twin-b"),
        ("POST", "/v1/migrations/nope/cancel", ErrorCode.NOT_FOUND, "'nope'"),
        ("GET", "/v2", ErrorCode.NOT_FOUND, "/v2"),
    ],
)
async def test_what_does_not_exist_is_named(api, method, path, code, words):
    answer = await api.request(method, path, headers=OPERATOR)
    status = 400 if code is ErrorCode.AMBIGUOUS else 404
    assert words in refusal(answer, status, code)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "truncated"),
        (b'{"prefer": "kvm-02"}', "`prefer`"),
        (b'{"downtime_limit_ms": "long"}', "int"),
        (b'{"downtime_limit_ms": 0}', "downtime_limit_ms is 0"),
        (b'{"downtime_limit_ms": 2000001}', "2000001"),
    ],
)
async def test_a_body_that_cannot_be_meant_is_refused(api, body, words):
    answer = await api.post("/v1/servers/web-1/live-migrate", headers=OPERATOR, content=body)
    assert words in refusal(answer, 400, ErrorCode.BAD_REQUEST)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("kind=warm", "kind is 'warm', and must be live, cold or rescue"),
        ("skip_cpu_check=maybe", "skip_cpu_check is 'maybe', and must be true or false"),
        ("kind=cold&skip_kernel_check=true", "skip_kernel_check is true, and only a live"),
        ("prefer=kvm-01", "no parameter is called 'prefer'"),
    ],
)
async def test_a_question_that_cannot_be_meant_is_refused(api, query, words):
    answer = await api.get(f"/v1/servers/web-1/candidates?{query}", headers=VIEWER)
    assert words in refusal(answer, 400, ErrorCode.BAD_REQUEST)


async def test_settling_names_a_host(api):
    answer = await api.post("/v1/servers/web-1/settle", headers=OPERATOR, json={})
    assert "keep_host" in refusal(answer, 400, ErrorCode.BAD_REQUEST)
    body = {"keep_host": "kvm-77"}
    answer = await api.post("/v1/servers/web-1/settle", headers=OPERATOR, json=body)
    assert "'kvm-77'" in refusal(answer, 404, ErrorCode.NOT_FOUND)


async def test_forgetting_asks_the_owner(api, etcd):
    answer = await api.post("/v1/servers/web-1/forget", headers=OPERATOR)
    sentence = refusal(answer, 502, ErrorCode.AGENT_UNREACHABLE)
    assert sentence.startswith("kvm-01 may hold a copy of web-1 and does not answer")
    assert etcd.get(keys.SERVERS + "id-web") is not None


async def test_an_unknown_preferred_host_is_refused(api):
    answer = await api.post(
        "/v1/servers/web-1/live-migrate", headers=OPERATOR, json={"prefer_host": "kvm-77"}
    )
    assert "'kvm-77'" in refusal(answer, 404, ErrorCode.NOT_FOUND)


async def test_a_server_whose_host_does_not_answer_is_not_moved(api, etcd):
    answer = await api.post("/v1/servers/web-1/live-migrate", headers=OPERATOR)
    assert "kvm-01 does not say now" in refusal(answer, 502, ErrorCode.AGENT_UNREACHABLE)
    assert etcd.list(keys.MIGRATIONS).items == ()


async def test_a_method_that_a_path_does_not_have_is_refused(api):
    answer = await api.put("/v1/hosts", headers=OPERATOR)
    refusal(answer, 405, ErrorCode.BAD_REQUEST)


async def test_the_openapi_document_knows_every_call(api):
    answer = await api.get("/schema/openapi.json", headers=VIEWER)
    assert set(answer.json()["paths"]) == {
        "/v1/status",
        "/v1/hosts",
        "/v1/hosts/{host}",
        "/v1/servers",
        "/v1/servers/{server}",
        "/v1/servers/{server}/candidates",
        "/v1/servers/{server}/live-migrate",
        "/v1/servers/{server}/migrate",
        "/v1/servers/{server}/settle",
        "/v1/servers/{server}/forget",
        "/v1/servers/{server}/policy",
        "/v1/servers/{server}/rescue",
        "/v1/hosts/{host}/policy",
        "/v1/hosts/{host}/declare-off",
        "/v1/health",
        "/v1/rescue/arm",
        "/v1/rescue/disarm",
        "/v1/incidents",
        "/v1/incidents/{incident}",
        "/v1/migrations",
        "/v1/migrations/{migration}",
        "/v1/migrations/{migration}/cancel",
        "/v1/migrations/{migration}/parameters",
        "/v1/hosts/{host}/maintenance",
        "/v1/hosts/{host}/exit-maintenance",
        "/v1/hosts/{host}/return-plan",
        "/v1/hosts/{host}/return",
        "/v1/evacuations",
        "/v1/evacuations/plan",
        "/v1/evacuations/{evacuation}",
        "/v1/evacuations/{evacuation}/pause",
        "/v1/evacuations/{evacuation}/resume",
        "/v1/evacuations/{evacuation}/cancel",
        "/v1/evacuations/{evacuation}/retry",
        "/v1/evacuations/{evacuation}/replan",
        "/v1/evacuations/{evacuation}/change",
        "/v1/migrations/{migration}/postcopy",
        "/v1/migrations/{migration}/recover",
        "/v1/migrations/{migration}/remove-kept",
        "/v1/audit",
        "/v1/events",
    }


async def test_without_etcd_the_fleet_is_shown_as_unknown_and_nothing_is_begun(api, server):
    server.send(signal.SIGSTOP)
    try:
        async with api.stream("GET", "/v1/events", headers=VIEWER) as stream:
            lines, data = stream.aiter_lines(), b""
            while b'"etcd_ok":false' not in data:
                _, _, data = await next_event(lines)
        host = (await api.get("/v1/hosts/kvm-01", headers=VIEWER)).json()
        assert (host["status"], "etcd" in host["status_reason"]) == ("unknown", True)
        answer = await api.post("/v1/servers/web-1/live-migrate", headers=OPERATOR)
        refusal(answer, 503, ErrorCode.ETCD_UNREACHABLE)
    finally:
        server.send(signal.SIGCONT)
    await until_leading(api)


async def next_event(lines: AsyncIterator[str]) -> tuple[str, str, bytes]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if line and not line.startswith(":"):
            fields[name] = value
        elif "event" in fields:
            return fields["id"], fields["event"], fields["data"].encode()
    pytest.fail("the stream ended")


async def test_the_stream_begins_with_a_snapshot_and_resumes_after_the_last_id(api, etcd):
    async with api.stream("GET", "/v1/events", headers=VIEWER) as stream:
        lines = stream.aiter_lines()
        event_id, name, data = await next_event(lines)
        snapshot = msgspec.json.decode(data, type=FleetSnapshot)
        assert (name, len(snapshot.servers), snapshot.status.role) == ("snapshot", 3, Role.VIEWER)
        new = msgspec.json.encode(record("id-new", "new-1"))
        etcd.put(keys.SERVERS + "id-new", new)
        while b"id-new" not in data:
            event_id, name, data = await next_event(lines)
        assert name == "server"
    etcd.delete(keys.SERVERS + "id-new")
    headers = VIEWER | {"Last-Event-ID": event_id}
    async with api.stream("GET", "/v1/events", headers=headers) as stream:
        lines = stream.aiter_lines()
        seen = [await next_event(lines)]
        while seen[-1][1] != "server_gone":
            seen.append(await next_event(lines))
    assert "snapshot" not in {name for _, name, _ in seen}
    first = int(seen[0][0].rpartition("-")[2])
    assert first == int(event_id.rpartition("-")[2]) + 1


async def test_an_event_id_of_another_backend_gets_a_snapshot(api):
    headers = VIEWER | {"Last-Event-ID": "elsewhere-17"}
    async with api.stream("GET", "/v1/events", headers=headers) as stream:
        assert (await next_event(stream.aiter_lines()))[1] == "snapshot"


async def test_an_ended_migration_is_shown_and_cannot_be_cancelled(api, etcd):
    migration = Migration(
        migration_id="m1",
        server_id="id-web",
        server_name="web-1",
        source_host_id="host-1",
        source_host_name="kvm-01",
        state=MigrationState.FAILED,
        created_at_ms=1,
        outcome="web-1 stays on kvm-01",
    )
    etcd.put(keys.MIGRATIONS + "m1", msgspec.json.encode(migration))
    answer = await api.get("/v1/migrations/m1", headers=VIEWER)
    while answer.status_code == httpx.codes.NOT_FOUND:
        await asyncio.sleep(0.05)
        answer = await api.get("/v1/migrations/m1", headers=VIEWER)
    detail = msgspec.json.decode(answer.content, type=MigrationDetail)
    assert (detail.migration, detail.samples) == (migration, ())
    answer = await api.post("/v1/migrations/m1/cancel", headers=OPERATOR)
    assert "already failed" in refusal(answer, 409, ErrorCode.CONFLICT)


async def test_a_policy_is_set_and_shown(api, etcd):
    body = {"auto_migrate_on_host_down": True}
    answer = await api.post("/v1/hosts/kvm-01/policy", headers=OPERATOR, json=body)
    assert answer.status_code == 200, answer.text
    expected = HostPolicy(auto_migrate_on_host_down=True)
    assert msgspec.json.decode(answer.content, type=HostView).policy == expected
    item = etcd.get(keys.POLICIES + "host-1")
    assert item is not None
    assert msgspec.json.decode(item.value, type=HostPolicy) == expected
    body = {"rescue_priority": "high"}
    answer = await api.post("/v1/servers/web-1/policy", headers=OPERATOR, json=body)
    shown = msgspec.json.decode(answer.content, type=ServerView)
    assert shown.rescue_priority is RescuePriority.HIGH


async def test_who_did_what_is_told_to_all_who_look_and_what_was_refused_is_not(api, caplog):
    web_1 = "/v1/servers/web-1/policy"
    for priority in ("low", "high"):
        body = {"rescue_priority": priority}
        assert (await api.post(web_1, headers=OPERATOR, json=body)).status_code == 200
    refusal(await api.post(web_1, headers=VIEWER, json=body), 403, ErrorCode.FORBIDDEN)
    assert f"bob, a viewer, was refused '{web_1}'" in caplog.text
    refusal(await api.post(web_1, headers=OPERATOR, json={}), 400, ErrorCode.BAD_REQUEST)
    nobody = await api.post("/v1/hosts/nope/maintenance", headers=OPERATOR)
    refusal(nobody, 404, ErrorCode.NOT_FOUND)
    listed = (await api.get("/v1/audit", headers=VIEWER)).content
    newest, older = told = msgspec.json.decode(listed, type=list[AuditEntry])
    assert newest.at_ms >= older.at_ms > 0
    assert [one.parameters["rescue_priority"] for one in told] == ["high", "low"]
    assert (newest.user, newest.role, newest.verb, newest.objects) == (
        "alice",
        Role.OPERATOR,
        "server-set-rescue-priority",
        (AuditObject(kind="server", object_id="id-web", name="web-1"),),
    )
    async with api.stream("GET", "/v1/events", headers=VIEWER) as stream:
        lines = stream.aiter_lines()
        _, name, data = await next_event(lines)
        assert (name, b"server-set-rescue-priority" in data) == ("snapshot", False)
        await api.post("/v1/rescue/disarm", headers=OPERATOR)
        verb = ""
        while verb != "rescue-disarm":  # etcd's echo of an entry of before may come first
            _, name, data = await next_event(lines)
            if name == "audit":
                verb = msgspec.json.decode(data, type=AuditEntry).verb


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("hosts/kvm-01", {"auto_migrate_on_host_shutdown": True}, "enable both, or disable both"),
        ("hosts/kvm-01", {}, "nothing to change: give"),
        ("hosts/kvm-01", {"maintenance": True}, "maintenance"),
        ("hosts/kvm-01", {"auto_migrate_on_host_down": "yes"}, "auto_migrate_on_host_down"),
        ("servers/web-1", {"rescue_priority": "urgent"}, "urgent"),
        ("servers/web-1", {}, "rescue_priority"),
    ],
)
async def test_a_policy_that_cannot_be_meant_is_refused(api, etcd, path, body, words):
    answer = await api.post(f"/v1/{path}/policy", headers=OPERATOR, json=body)
    assert words in refusal(answer, 400, ErrorCode.BAD_REQUEST)
    assert etcd.list(keys.POLICIES).items == etcd.list(keys.SERVER_POLICIES).items == ()


async def test_the_health_report_is_for_everybody(api, server):
    answer = await api.get("/v1/health", headers=VIEWER)
    report = msgspec.json.decode(answer.content, type=HealthReport)
    assert [(one.host_name, one.present, one.life.epoch) for one in report.hosts] == [
        ("kvm-01", True, 1)
    ]
    assert [(one.endpoint, one.error, one.leader) for one in report.members] == [
        (server.endpoint, "", True)
    ]
    assert report.guard.armed


async def test_who_disarms_rescues_is_told_to_everybody(api, etcd, tmp_path):
    body = {"reason": "works on the switch"}
    answer = await api.post("/v1/rescue/disarm", headers=OPERATOR, json=body)
    guard = msgspec.json.decode(answer.content, type=RescueGuard)
    assert (guard.armed, guard.by, guard.reason) == (False, "alice", "works on the switch")
    item = etcd.get(keys.RESCUE_GUARD)
    assert item is not None
    assert msgspec.json.decode(item.value, type=RescueGuard) == guard
    status = (await api.get("/v1/status", headers=VIEWER)).content
    assert msgspec.json.decode(status, type=BackendStatus).rescue_guard == guard
    notices = tmp_path / "notices"
    while not notices.exists() or b"rescues_disarmed" not in notices.read_bytes():
        await asyncio.sleep(0.05)
    assert b"alice has disarmed rescues: works on the switch" in notices.read_bytes()
