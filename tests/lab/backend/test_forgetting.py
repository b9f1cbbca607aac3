"""A server whose domain vanished while nobody looked: lost, until a person forgets it."""

import signal

import pytest

from wire.errors import ErrorCode
from wire.fleet import ServerStatus

pytestmark = pytest.mark.lab


def test_a_domain_that_was_undefined_while_its_agent_was_away_is_forgotten(
    lab, api, add_known, hosts_of
):
    spec = add_known(host="kvm-01", stopped=True)
    path = f"/v1/servers/{spec.name}"
    refusal = api.refusal(f"{path}/forget")
    assert (refusal.code, "kvm-01 has it" in refusal.message) == (ErrorCode.CONFLICT, True)
    # the agent that is stopped hears of nothing, and the one that is started after it neither
    lab.signal_program("kvm-01", "hostagent", signal.SIGSTOP)
    lab.virsh("kvm-01", f"undefine {spec.name}")
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)

    def lost() -> bool:
        view = api.server(spec.name)
        return view.status is ServerStatus.UNKNOWN and "server-settle" in view.status_reason

    api.until("lost", lost)
    assert hosts_of(spec.name) == {}
    answer = api.ask(f"{path}/forget")
    assert answer.is_success, answer.text
    api.until("forgotten", lambda: api.http.get(path).status_code == 404)
    refusal = api.refusal(f"{path}/settle", keep_host="kvm-02")
    assert refusal.code is ErrorCode.NOT_FOUND
