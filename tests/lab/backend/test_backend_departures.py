"""A real host that is shut down in order: its running servers leave live, if that was asked for."""

import threading

import httpx
import pytest

from wire.fleet import HostStatus, ServerStatus
from wire.migration import Migration, MigrationState

pytestmark = pytest.mark.lab

BOTH = ("auto_migrate_on_host_down", "auto_migrate_on_host_shutdown")


def set_policy(api, *, enabled: bool) -> None:
    answer = api.ask("/v1/hosts/kvm-01/policy", **dict.fromkeys(BOTH, enabled))
    assert answer.status_code == httpx.codes.OK, answer.text


@pytest.fixture
def leaving(api):
    """kvm-01, whose policy moves its servers away."""
    set_policy(api, enabled=True)
    yield "kvm-01"
    set_policy(api, enabled=False)


def test_running_servers_leave_before_their_host_goes_down(
    lab, api, add_known, leaving, assert_whole
):
    servers = [add_known(memory_mb=64) for _ in range(3)]
    stopped = add_known(stopped=True)
    shutting = threading.Thread(target=lab.shut_down, args=(leaving,))
    shutting.start()
    api.until("the host is shown to shut down", lambda: api.host(leaving).shutting_down)
    shutting.join()
    for one in servers:
        view = api.server(one.name)
        assert (view.host_name, view.status) == ("kvm-02", ServerStatus.RUNNING)
        assert_whole("kvm-02", one.name)
    api.until("it is down", lambda: api.host(leaving).status is HostStatus.OFFLINE)
    assert api.server(stopped.name).host_name == leaving
    names = {one.name for one in servers}
    moves = [
        one
        for one in api.get("/v1/migrations", list[Migration])
        if one.server_name in names and one.requested_by == "host shutdown"
    ]
    assert [one.state for one in moves] == [MigrationState.SUCCEEDED] * len(servers)
