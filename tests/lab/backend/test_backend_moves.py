"""Live migrations through the API on real hosts."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import httpx
import msgspec
import pytest

from wire.candidates import Candidate
from wire.console import CONSOLE_EVENTS
from wire.errors import ErrorCode
from wire.fleet import HostStatus, HostView, ServerStatus
from wire.migration import Migration, MigrationState
from wire.stream import StreamEvent, StreamUp, follow

pytestmark = pytest.mark.lab


async def events_of(
    api, migration_id: str, *, break_after: int = 0
) -> list[tuple[str, str, object]]:
    """Every event up to the migration's end; the connection breaks once after so many samples."""
    seen: list[tuple[str, str, object]] = []
    ups = samples = 0
    async with (
        httpx.AsyncClient(base_url=api.url, headers=api.headers, verify=api.context) as client,
        aclosing(follow(client, "/v1/events")) as stream,
    ):
        async for item in stream:
            match item:
                case StreamUp():
                    ups += 1
                case StreamEvent(name=name, event_id=event_id, data=data):
                    payload = msgspec.json.decode(data, type=CONSOLE_EVENTS[name])
                    seen.append((event_id, name, payload))
                    samples += name == "sample"
                    if break_after and samples == break_after and ups == 1:
                        await break_connections(client)
                    if isinstance(payload, Migration) and payload.state.ended:
                        break
    assert ups == (2 if break_after else 1)
    return seen


async def break_connections(client: httpx.AsyncClient) -> None:
    """Cut the TCP connections under a client, as a lost network does."""
    for connection in client._transport._pool.connections:
        await connection._connection._network_stream.aclose()


async def test_a_busy_server_moves_whole_and_its_record_tells_how(
    api, add_busy, hosts_of, assert_whole
):
    spec = add_busy()
    before = api.server(spec.name)
    assert before.target_host_names == ("kvm-02",)
    asked = api.move(spec.name)
    assert (asked.state, asked.requested_by) == (MigrationState.QUEUED, "operator")
    api.until_copying(asked.migration_id)
    during = api.server(spec.name)
    assert (during.status, during.host_name, during.migration_id) == (
        ServerStatus.LIVE_MIGRATING,
        "kvm-01",
        asked.migration_id,
    )
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome, ended.error) == (
        MigrationState.SUCCEEDED,
        f"{spec.name} runs on kvm-02",
        "",
    )
    assert ended.created_at_ms <= ended.started_at_ms <= ended.finished_at_ms
    figures = ended.statistics
    assert figures.downtime_ms is not None
    assert 0 < figures.downtime_ms < figures.total_ms
    assert figures.memory_transferred_bytes > 100 << 20
    assert [one.number for one in ended.passes] == list(range(1, figures.pass_count + 1))
    assert hosts_of(spec.name) == {"kvm-02": "running"}
    after = api.server(spec.name)
    assert (after.status, after.host_name, after.generation) == (
        ServerStatus.RUNNING,
        "kvm-02",
        before.generation + 1,
    )
    assert_whole("kvm-02", spec.name)


async def test_the_stream_tells_the_whole_move_through_a_broken_connection(api, add_busy):
    spec = add_busy()
    asked = api.move(spec.name)
    seen = await events_of(api, asked.migration_id, break_after=4)
    numbers = [int(event_id.rpartition("-")[2]) for event_id, _, _ in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [name for _, name, _ in seen].count("snapshot") == 1
    states = [payload.state for _, name, payload in seen if name == "migration"]
    assert states == sorted(states, key=lambda state: state.rank)
    assert states[-1] is MigrationState.SUCCEEDED
    elapsed_ms = [payload.sample.elapsed_ms for _, name, payload in seen if name == "sample"]
    assert len(elapsed_ms) > 8
    assert elapsed_ms == sorted(elapsed_ms)
    kept = [sample.elapsed_ms for sample in api.detail(asked.migration_id).samples]
    assert set(elapsed_ms) <= set(kept)


def test_of_two_requests_at_once_one_is_accepted(api, add_busy, hosts_of):
    spec = add_busy()
    path = f"/v1/servers/{spec.name}/live-migrate"
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda _: api.ask(path), range(4)))
    accepted = [one for one in answers if one.status_code == httpx.codes.ACCEPTED]
    refused = [one.json() for one in answers if one.status_code == httpx.codes.CONFLICT]
    assert (len(accepted), len(refused)) == (1, 3)
    for body in refused:
        assert body["code"] == "conflict"
        assert f"{spec.name} already migrates" in body["message"]
    ended = api.until_ended(accepted[0].json()["migration_id"])
    assert ended.state is MigrationState.SUCCEEDED
    assert hosts_of(spec.name) == {"kvm-02": "running"}


def test_a_cancelled_server_stays_and_the_target_holds_nothing(
    api, add_busy, hosts_of, assert_whole
):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    assert api.ask(f"/v1/migrations/{asked.migration_id}/cancel").is_success
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.cancel_requested_by, ended.error) == (
        MigrationState.CANCELLED,
        "operator",
        "",
    )
    assert hosts_of(spec.name) == {"kvm-01": "running"}
    after = api.server(spec.name)
    assert (after.status, after.host_name, after.migration_id) == (
        ServerStatus.RUNNING,
        "kvm-01",
        "",
    )
    assert_whole("kvm-01", spec.name)
    again = api.refusal(f"/v1/migrations/{asked.migration_id}/cancel")
    assert (again.code, "already been cancelled" in again.message) == (ErrorCode.CONFLICT, True)


def test_a_cancel_right_after_the_request_leaves_the_server_alone(api, add_busy, hosts_of):
    spec = add_busy()
    asked = api.move(spec.name)
    assert api.ask(f"/v1/migrations/{asked.migration_id}/cancel").is_success
    assert api.until_ended(asked.migration_id).state is MigrationState.CANCELLED
    assert hosts_of(spec.name) == {"kvm-01": "running"}


def test_every_host_is_a_candidate_with_every_verdict(api, add_known):
    spec = add_known(storage="mixed")
    found = api.get(f"/v1/servers/{spec.name}/candidates", list[Candidate])
    by_name = {one.host_name: one for one in found}
    assert set(by_name) == {host.facts.name for host in api.get("/v1/hosts", list[HostView])}
    assert len({tuple(verdict.filter for verdict in one.verdicts) for one in found}) == 1
    failed = {
        name: {verdict.filter for verdict in one.verdicts if not verdict.passed}
        for name, one in by_name.items()
    }
    assert failed["kvm-01"] == {"not_source"}
    assert failed["kvm-02"] == set()
    others = set(failed) - {"kvm-01", "kvm-02"}
    differs = {"cpu_model", "microcode"}
    assert all(failed[name] and failed[name] <= differs for name in others)
    for name in others:
        values = {one.filter: (one.wanted, one.found) for one in by_name[name].verdicts}
        assert all(values[one][0] != values[one][1] for one in failed[name])
        refusal = api.refusal(f"/v1/servers/{spec.name}/live-migrate", prefer_host=name)
        assert refusal.code is ErrorCode.NO_TARGET
        assert {one.host_name for one in refusal.candidates} == set(by_name)
    path = f"/v1/servers/{spec.name}/candidates?skip_cpu_check=true"
    lifted = {one.host_name: one for one in api.get(path, list[Candidate])}
    for name in others:
        assert lifted[name].fits
        assert "offers all that" in lifted[name].safe
    cold = api.get(f"/v1/servers/{spec.name}/candidates?kind=cold", list[Candidate])
    assert not any(differs & {verdict.filter for verdict in one.verdicts} for one in cold)


def test_a_viewer_sees_all_and_moves_nothing(viewer, add_known, hosts_of):
    spec = add_known()
    assert viewer.server(spec.name).status is ServerStatus.RUNNING
    refusal = viewer.refusal(f"/v1/servers/{spec.name}/live-migrate")
    assert refusal.code is ErrorCode.FORBIDDEN
    assert viewer.server(spec.name).migration_id == ""
    assert hosts_of(spec.name) == {"kvm-01": "running"}


def test_a_paused_server_moves_and_stays_paused(lab, api, add_known, hosts_of):
    spec = add_known()
    lab.virsh("kvm-01", f"suspend {spec.name}")
    api.until("suspended", lambda: api.server(spec.name).status is ServerStatus.SUSPEND)
    ended = api.until_ended(api.move(spec.name).migration_id)
    assert (ended.state, ended.outcome) == (
        MigrationState.SUCCEEDED,
        f"{spec.name} is paused on kvm-02",
    )
    assert hosts_of(spec.name) == {"kvm-02": "paused"}
    assert api.server(spec.name).status is ServerStatus.SUSPEND


def test_a_server_moved_by_virsh_is_found_where_it_is(lab, api, add_known):
    spec = add_known()
    command = "migrate --live --p2p --persistent --undefinesource --unsafe"
    lab.virsh("kvm-01", f"{command} {spec.name} qemu+tls://kvm-02/system")

    def found() -> bool:
        answer = api.http.get(f"/v1/servers/{spec.name}")
        view = answer.json()
        return answer.is_success and (view["host_name"], view["status"]) == ("kvm-02", "running")

    api.until("adopted by kvm-02", found)


def test_a_host_whose_power_was_cut_is_offline_and_its_servers_are_unknown(lab, api, add_known):
    running = add_known(host="kvm-02")
    stopped = add_known(host="kvm-02", stopped=True)
    lab.power_cut("kvm-02")
    api.until("offline", lambda: api.host("kvm-02").status is HostStatus.OFFLINE)
    assert api.server(running.name).status is ServerStatus.UNKNOWN
    assert "kvm-02" in api.server(running.name).status_reason
    assert api.server(stopped.name).status is ServerStatus.READY
    refusal = api.refusal(f"/v1/servers/{running.name}/live-migrate")
    assert refusal.code is ErrorCode.AGENT_UNREACHABLE
