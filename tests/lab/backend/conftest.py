"""The lab's backend as a script sees it, and what the hypervisors say beside it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from lab.fleet import Lab
from lab.server import ServerSpec, Workload
from lab.state import LinkLimit
from wire.config import TlsFiles
from wire.console import BackendStatus
from wire.errors import ErrorBody
from wire.fleet import HostStatus, HostView, ServerStatus, ServerView
from wire.migration import Migration, MigrationDetail, MigrationState
from wire.rescue import Incident
from wire.tls import client_context

WAIT_S = 90.0


class Api:
    """The backend's API with a role's token; every wait has an end."""

    def __init__(self, lab: Lab, role: str = "operator") -> None:
        given = lab.environment(role)
        token = Path(given["GODWIT_TOKEN_FILE"]).read_text().strip()
        self.headers = {"Authorization": f"Bearer {token}"}
        self.url = given["GODWIT_BACKEND"]
        self.context = client_context(
            TlsFiles(
                ca_file=Path(given["GODWIT_CA_FILE"]),
                cert_file=Path(given["GODWIT_CERT_FILE"]),
                key_file=Path(given["GODWIT_KEY_FILE"]),
            )
        )
        self.http = httpx.Client(
            base_url=self.url, headers=self.headers, verify=self.context, timeout=20
        )

    def get(self, path: str, kind: Any) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == httpx.codes.OK, answer.text
        return msgspec.json.decode(answer.content, type=kind)

    def server(self, name: str) -> ServerView:
        return self.get(f"/v1/servers/{name}", ServerView)

    def host(self, name: str) -> HostView:
        return self.get(f"/v1/hosts/{name}", HostView)

    def detail(self, migration_id: str) -> MigrationDetail:
        return self.get(f"/v1/migrations/{migration_id}", MigrationDetail)

    def ask(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, json=options)

    def move(self, server: str, **options: Any) -> Migration:
        answer = self.ask(f"/v1/servers/{server}/live-migrate", **options)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return msgspec.json.decode(answer.content, type=Migration)

    def refusal(self, path: str, **options: Any) -> ErrorBody:
        answer = self.ask(path, **options)
        assert answer.is_client_error or answer.is_server_error, answer.text
        return msgspec.json.decode(answer.content, type=ErrorBody)

    def stalled(self, migration_id: str) -> str:
        """Why nothing is heard of a migration."""
        return self.detail(migration_id).migration.stalled_reason

    def declare_off(self, host: str) -> Incident:
        answer = self.ask(f"/v1/hosts/{host}/declare-off", host_name=host)
        assert answer.status_code == httpx.codes.OK, answer.text
        return msgspec.json.decode(answer.content, type=Incident)

    def incident(self, host: str) -> Incident | None:
        """The newest incident of a host."""
        found = self.get("/v1/incidents", list[Incident])
        return next((one for one in found if one.host_name == host), None)

    def until(
        self, what: str, holds: Callable[[], Any], *, told: Callable[[], Any] = lambda: ""
    ) -> Any:
        """Repeat a question until its answer is true; a backend that is away is asked again.

        What is ``told`` in the end stands beside a failure.
        """
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if answer := holds():
                    return answer
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, f"in vain: {what} {told()}"
            time.sleep(0.1)

    def until_copying(self, migration_id: str) -> Migration:
        def copying() -> Migration | None:
            detail = self.detail(migration_id)
            assert not detail.migration.state.ended, detail.migration
            under_way = detail.migration.state is MigrationState.COPYING_MEMORY
            return detail.migration if under_way and detail.samples else None

        return self.until("memory is copied", copying)

    def until_ended(self, migration_id: str) -> Migration:
        def ended() -> Migration | None:
            migration = self.detail(migration_id).migration
            return migration if migration.state.ended else None

        return self.until("the migration ends", ended)


@pytest.fixture
def api(lab: Lab) -> Iterator[Api]:
    """As operator of a backend that leads a fleet of which every host is online."""
    api = Api(lab)

    def settled() -> bool:
        status = api.get("/v1/status", BackendStatus)
        hosts = api.get("/v1/hosts", list[HostView])
        online = [host for host in hosts if host.status is HostStatus.ONLINE]
        return status.leading and status.etcd_ok and len(online) == len(lab.state.hosts)

    api.until("the fleet is whole", settled)
    yield api
    api.http.close()


@pytest.fixture
def viewer(lab: Lab, api: Api) -> Iterator[Api]:
    api = Api(lab, "viewer")
    yield api
    api.http.close()


@pytest.fixture
def add_known(api: Api, add_server: Callable[..., ServerSpec]) -> Callable[..., ServerSpec]:
    """Add a server, and wait until the backend shows it as it should be."""

    def add(**fields: object) -> ServerSpec:
        spec = add_server(**fields)
        wanted = ServerStatus.READY if spec.stopped else ServerStatus.RUNNING
        path = f"/v1/servers/{spec.name}"
        api.until(f"{spec.name} is known", lambda: api.http.get(path).is_success)
        api.until(f"{spec.name} is {wanted}", lambda: api.server(spec.name).status is wanted)
        return spec

    return add


@pytest.fixture
def add_busy(lab: Lab, add_known: Callable[..., ServerSpec]) -> Callable[[], ServerSpec]:
    """Add a server on kvm-01 whose memory takes some seconds to copy."""

    def add() -> ServerSpec:
        lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=200_000_000))
        workload = Workload(working_set_mb=160, dirty_mb_per_s=6)
        return add_known(memory_mb=256, workload=workload)

    return add


@pytest.fixture
def hosts_of(lab: Lab) -> Callable[[str], dict[str, str]]:
    """Host to libvirt's state, of those hosts that are on and know the server."""

    def find(server: str) -> dict[str, str]:
        states = {}
        for host in lab.state.hosts:
            if host.process is None:
                continue
            if server in lab.virsh(host.name, "list --all --name").split():
                states[host.name] = lab.virsh(host.name, f"domstate {server}").strip()
        return states

    return find


@pytest.fixture
def assert_whole(lab: Lab) -> Callable[[str, str], None]:
    """Assert that a guest lives, ran once at any time, and lost no byte of its memory."""

    def check(host: str, server: str) -> None:
        before = lab.guest_report(host, server)
        deadline = time.monotonic() + 60
        while (report := lab.guest_report(host, server)).beats == before.beats:
            assert time.monotonic() < deadline, f"{server} on {host} does not live"
            time.sleep(0.1)
        assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)
        assert lab.memory_losses(host, server) == []

    return check
