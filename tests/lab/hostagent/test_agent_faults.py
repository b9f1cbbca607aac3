"""What is around an agent ends, hangs and comes back, and the agent comes back with it."""

import signal

import pytest

from lab.state import CONTROLLER
from wire.agent import GuestTruth, ServerGone
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState, ServerFacts
from wire.keys import HEALTH, SERVERS

pytestmark = pytest.mark.lab


def told(listener, server_id: str) -> list[PowerState]:
    return [facts.state for facts in listener.of(ServerFacts) if facts.server_id == server_id]


def test_libvirtd_restarted(lab, agents, new_server, listen, until):
    stays, stays_id = new_server()
    goes, goes_id = new_server()
    agent = agents("kvm-01")
    listener = listen(agent)
    # guests change while nobody hears of it
    lab.signal_program("kvm-01", "hostagent", signal.SIGSTOP)
    lab.virsh("kvm-01", f"destroy {goes.name}", f"suspend {stays.name}")
    lab.signal_program("kvm-01", "libvirtd", signal.SIGKILL)
    until(lambda: lab.execute("kvm-01", "virsh", "list").returncode == 0, "libvirtd is back")
    lab.signal_program("kvm-01", "hostagent", signal.SIGCONT)
    until(lambda: told(listener, goes_id)[-1:] == [PowerState.SHUT_OFF], "one is told as off")
    until(lambda: told(listener, stays_id)[-1:] == [PowerState.PAUSED], "one is told as paused")
    # and events come again
    lab.virsh("kvm-01", f"resume {stays.name}")
    until(
        lambda: told(listener, stays_id)[-1:] == [PowerState.RUNNING], "its events come", within_s=5
    )


def test_frozen_libvirtd_is_said_and_survived(lab, agents, new_server, until):
    _, server_id = new_server()
    agent = agents("kvm-01")
    lab.signal_program("kvm-01", "libvirtd", signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(GodwitError) as caught:
                agent.truth(server_id)
            assert caught.value.code is ErrorCode.LIBVIRT
            assert "libvirt" in caught.value.message
        # what was known is still told, at once
        assert server_id in {facts.server_id for facts in agent.snapshot().servers}
    finally:
        lab.signal_program("kvm-01", "libvirtd", signal.SIGCONT)
    until(lambda: _state(agent, server_id) is PowerState.RUNNING, "libvirt is asked again")


def _state(agent, server_id: str) -> PowerState | None:
    try:
        return agent.truth(server_id).state
    except GodwitError:
        return None


def test_etcd_restarted(agents, etcd, lab, until):
    host_id = agents("kvm-01").snapshot().facts.host_id
    before = etcd.get(HEALTH + host_id)
    lab.signal_program(CONTROLLER, "etcd", signal.SIGKILL)
    until(lambda: _revision(etcd, HEALTH + host_id), "etcd is back")
    assert etcd.refresh_in_term(before.lease_id).seconds_left > 0


def _revision(etcd, key: str) -> int:
    try:
        stored = etcd.get(key)
    except GodwitError:
        return 0
    return 0 if stored is None else stored.mod_revision


def test_lost_lease_begins_another_epoch(agents, etcd, until, new_server, record_of):
    _, server_id = new_server()
    host_id = agents("kvm-01").snapshot().facts.host_id
    before = etcd.get(HEALTH + host_id)
    etcd.delete(SERVERS + server_id)
    etcd.revoke_lease(before.lease_id)
    assert etcd.get(HEALTH + host_id) is None
    until(lambda: _revision(etcd, HEALTH + host_id), "the health key is back")
    after = etcd.get(HEALTH + host_id)
    assert after.lease_id != before.lease_id
    assert b'"epoch":' in after.value
    assert after.value != before.value
    until(lambda: record_of(server_id), "a record that etcd lost is written again")


def test_agent_ended_by_sigterm_keeps_its_host_alive(lab, agents, etcd):
    host_id = agents("kvm-01").snapshot().facts.host_id
    before = etcd.get(HEALTH + host_id)
    lab.signal_program("kvm-01", "hostagent", signal.SIGTERM)
    while (now := etcd.get(HEALTH + host_id)).mod_revision == before.mod_revision:
        pass  # never is there none until the next agent has put it
    assert now.lease_id != before.lease_id


def test_undefined_server_is_forgotten(lab, agents, new_server, listen, until, record_of):
    spec, server_id = new_server(stopped=True)
    listener = listen(agents("kvm-01"))
    lab.virsh("kvm-01", f"undefine {spec.name}")
    until(lambda: ServerGone(server_id=server_id) in listener.events, "its end is told", within_s=5)
    until(lambda: record_of(server_id) is None, "its record is gone")


def test_server_moved_by_virsh_is_adopted(
    lab, agents, new_server, alive, live_migrate, until, record_of
):
    spec, server_id = new_server()
    alive("kvm-01", spec.name)
    target = agents("kvm-02").snapshot().facts
    live_migrate(spec.name, "kvm-01", "kvm-02")
    until(
        lambda: (
            (record := record_of(server_id)) is not None and record.owner.host_id == target.host_id
        ),
        "its record names kvm-02",
    )


def test_record_of_another_owner_is_left_alone(agents, etcd, new_server, hold, lab, until):
    spec, server_id = new_server()
    hold(server_id, host_id="somebody-else", generation=7)
    before = etcd.get(SERVERS + server_id)
    lab.virsh("kvm-01", f"suspend {spec.name}")
    until(
        lambda: (
            agents("kvm-01").get(f"/v1/servers/{server_id}", GuestTruth).state is PowerState.PAUSED
        ),
        "it is paused",
    )
    lab.virsh("kvm-01", f"resume {spec.name}", f"destroy {spec.name}")
    agent = agents("kvm-01")
    until(lambda: _listed(agent, server_id) is PowerState.SHUT_OFF, "it is told as off")
    assert etcd.get(SERVERS + server_id) == before


def _listed(agent, server_id: str) -> PowerState | None:
    found = [one.state for one in agent.snapshot().servers if one.server_id == server_id]
    return found[0] if found else None
