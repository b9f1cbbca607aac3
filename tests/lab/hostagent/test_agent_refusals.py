"""What an agent refuses, each with one sentence, and nothing is changed by it."""

import ssl

import httpx
import pytest

from lab.programs import AGENT_PORT
from wire.agent import GuestTruth, Job
from wire.config import TlsFiles
from wire.errors import ErrorBody, ErrorCode, GodwitError
from wire.fleet import OwnerPhase, PowerState
from wire.http import explain

pytestmark = pytest.mark.lab


def refused(caller, path: str, body: object) -> GodwitError:
    with pytest.raises(GodwitError) as caught:
        caller.post(path, body, Job)
    return caught.value


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer wrong"}])
@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/events", "/v1/servers/x"])
def test_without_the_token(agents, headers, path):
    response = agents("kvm-01").http.get(path, headers=headers)
    body = ErrorBody(**response.json())
    assert response.status_code == 401
    assert body.code == ErrorCode.UNAUTHENTICATED
    assert "token" in body.message


def test_without_a_client_certificate(lab, agents, tls: TlsFiles):
    agents("kvm-01")
    address = lab.state.address(lab.state.node("kvm-01").number)
    context = ssl.create_default_context(cafile=str(tls.ca_file))
    url = f"https://{address}:{AGENT_PORT}"
    with (
        httpx.Client(verify=context, trust_env=False) as http,
        pytest.raises(httpx.HTTPError) as caught,
    ):
        http.get(f"{url}/v1/snapshot")
    assert "certificate" in explain(caught.value, url)


def test_unknown_server(agents, new_server, command):
    _, server_id = new_server()
    order = command(server_id, "kvm-02") | {"server_id": "11111111-2222-4333-8444-555555555555"}
    error = refused(agents("kvm-01"), "/v1/migrations", order)
    assert error.code is ErrorCode.NOT_FOUND
    assert "11111111-2222-4333-8444-555555555555" in error.message
    assert agents("kvm-01").truth("no uuid at all").state is PowerState.ABSENT


def test_stopped_server(agents, new_server, command):
    spec, server_id = new_server(stopped=True)
    error = refused(agents("kvm-01"), "/v1/migrations", command(server_id, "kvm-02"))
    assert error.code is ErrorCode.CONFLICT
    assert (
        error.message == f"'{spec.name}' is shut off, and only a running server can be moved live"
    )


def test_command_of_an_older_generation(agents, new_server, command, hold):
    _, server_id = new_server()
    order = command(server_id, "kvm-02")
    hold(server_id, generation=order["generation"] + 1)
    error = refused(agents("kvm-01"), "/v1/migrations", order)
    assert error.code is ErrorCode.STALE_GENERATION
    assert "generation 1" in error.message
    assert " at 2" in error.message
    assert not agents("kvm-01").truth(server_id).job_active


def test_migration_that_does_not_hold_the_record(agents, new_server, command, hold):
    _, server_id = new_server()
    order = command(server_id, "kvm-02")
    hold(server_id, phase=OwnerPhase.SETTLED, migration_id="", target_host_id="")
    error = refused(agents("kvm-01"), "/v1/migrations", order)
    assert error.code is ErrorCode.CONFLICT
    assert str(order["migration_id"]) in error.message


def test_migration_ids_that_would_leave_the_folder(agents, new_server, command):
    _, server_id = new_server()
    order = command(server_id, "kvm-02") | {"migration_id": "../../etc/passwd"}
    error = refused(agents("kvm-01"), "/v1/migrations", order)
    assert error.code is ErrorCode.BAD_REQUEST


def test_body_that_is_no_command(agents):
    error = refused(agents("kvm-01"), "/v1/migrations", {"server_id": 7})
    assert error.code is ErrorCode.BAD_REQUEST
    assert error.message == "POST /v1/migrations: server_id: Expected `str`, got `int`"


def test_unknown_migration_and_unknown_server_to_resume(agents):
    error = refused(
        agents("kvm-01"), "/v1/migrations/nobody/cancel", {"server_id": "x", "generation": 1}
    )
    assert error.code is ErrorCode.NOT_FOUND
    assert "'nobody'" in error.message
    with pytest.raises(GodwitError) as caught:
        agents("kvm-01").post("/v1/servers/x/resume", {"generation": 1}, GuestTruth)
    assert caught.value.code is ErrorCode.NOT_FOUND
