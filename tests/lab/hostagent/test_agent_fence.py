"""Hosts that are fenced, and what they do when they come back; nobody rescues anything here."""

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise

import msgspec
import pytest

from lab.card import CardCondition
from lab.fleet import Lab
from lab.node import init_process
from lab.programs import AGENT_CONFIG
from lab.state import CONTROLLER
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable
from wire.fleet import HostPolicy, OwnerPhase
from wire.keys import HEALTH, LIVES, POLICIES, SERVERS, SHUTDOWNS
from wire.life import Fence, HealthValue, HostShutdown

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

TTL_S = 16
"""An agent that is started again on a busy machine is back within half of it."""
HOST, OTHER = "kvm-01", "kvm-02"


@pytest.fixture(scope="module")
def running_lab(in_turn: Callable[[], AbstractContextManager[None]]) -> Iterator[Lab]:
    """A lab of its own: hosts are reset here, and leases are short."""
    lab = Lab(f"test-{os.getpid()}-{TTL_S}")
    try:
        with in_turn():
            lab.up(host_count=2, server_count=0, lease_ttl_s=TTL_S)
            lab.wait_until_ready()
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


@pytest.fixture
def ids(agents):
    return {name: agents(name).snapshot().facts.host_id for name in (HOST, OTHER)}


@pytest.fixture
def health(etcd, ids):
    def read(prefix: str = HEALTH) -> HealthValue | None:
        try:
            stored = etcd.get(prefix + ids[HOST])
        except EtcdUnreachable:
            return None
        return None if stored is None else msgspec.json.decode(stored.value, type=HealthValue)

    return read


@pytest.fixture
def alone(lab, new_server, etcd, ids) -> Iterator[None]:
    """The backend stands still: what a host does here it does by itself."""
    lab.signal_program(CONTROLLER, "backend", signal.SIGSTOP)
    yield
    if init_process(lab.state.node(HOST)) is None:
        lab.power_on(HOST)
    etcd.delete(POLICIES + ids[HOST])
    lab.signal_program(CONTROLLER, "backend", signal.SIGCONT)


@pytest.fixture
def fenced(alone, etcd, ids, health, until) -> None:
    policy = HostPolicy(auto_migrate_on_host_down=True)
    etcd.put(POLICIES + ids[HOST], msgspec.json.encode(policy))
    until(lambda: is_fenced(health()), "the host says that it is fenced")


@pytest.fixture
def guests_of(lab) -> Callable[..., set[str]]:
    """Ids of the guests that live on a host, by its processes."""

    def find(host: str = HOST) -> set[str]:
        listed = lab.execute(host, "pgrep", "-a", "qemu-system").stdout.split()
        return {after for before, after in pairwise(listed) if before == "-uuid"}

    return find


def epoch_of(life: HealthValue | None) -> int:
    return 0 if life is None else life.epoch


def is_fenced(life: HealthValue | None) -> bool:
    return life is not None and life.fence is Fence.WATCHDOG


def is_ready(agent) -> bool:
    """Whether the agent takes orders: one that changes nothing is refused for its content alone."""
    try:
        agent.post("/v1/migrations/none/cancel", {"server_id": "x", "generation": 1}, HealthValue)
    except GodwitError as error:
        return error.code is not ErrorCode.NOT_READY
    return True


def test_a_host_that_is_cut_off_kills_what_others_may_start_and_is_not_reset(
    lab, fenced, new_server, guests_of, until, record_of, health
):
    _, shared_id = new_server()
    _, local_id = new_server(storage="local")
    until(lambda: record_of(local_id).bound_by, "one is bound to the host")
    until(lambda: {shared_id, local_id} <= guests_of(), "both run")
    epoch = health(LIVES).epoch
    # what may stay has reached the fence
    until(lambda: local_id in lab.path(HOST, "/run/godwit/fence.json").read_text(), "it may stay")
    lab.partition(HOST)
    until(lambda: guests_of() == {local_id}, "the other is killed", within_s=TTL_S)
    assert health() is not None  # dead while the key is still there
    until(lambda: health() is None, "the key is gone")
    assert lab.card(HOST).condition is CardCondition.ARMED
    lab.heal(HOST)
    until(lambda: epoch_of(health()) > epoch, "it is back")
    until(lambda: shared_id in guests_of(), "what is wanted on is started again")
    assert record_of(shared_id).wanted_on


def test_a_fence_that_stands_still_lets_the_card_reset_the_host(lab, fenced, new_server, until):
    new_server()
    lab.signal_program(HOST, "fence", signal.SIGSTOP)
    until(lambda: init_process(lab.state.node(HOST)) is None, "the host is reset")
    assert lab.card(HOST).condition is CardCondition.FIRED


def test_without_etcd_guests_die_and_start_again_when_it_is_back(
    lab, fenced, new_server, guests_of, until, health
):
    _, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    lab.signal_program(CONTROLLER, "etcd", signal.SIGSTOP)
    try:
        until(lambda: guests_of() == set(), "it is killed", within_s=3 * TTL_S)
    finally:
        lab.signal_program(CONTROLLER, "etcd", signal.SIGCONT)
    until(lambda: server_id in guests_of(), "it is started again")
    assert lab.card(HOST).condition is CardCondition.ARMED
    until(lambda: is_fenced(health()), "it is fenced again")


def test_an_agent_that_is_back_in_time_costs_no_guest(
    lab, fenced, new_server, guests_of, until, health
):
    _, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    before = lab.execute(HOST, "pgrep", "-f", server_id).stdout
    epoch = health(LIVES).epoch
    lab.signal_program(HOST, "hostagent", signal.SIGKILL)
    until(lambda: epoch_of(health()) > epoch, "another life begins")
    assert health(LIVES).fence is Fence.WATCHDOG
    assert lab.execute(HOST, "pgrep", "-f", server_id).stdout == before


@pytest.mark.parametrize("also", ["nothing", "libvirtd"])
def test_an_agent_that_stands_still_does_not_save_its_guests(
    lab, fenced, new_server, guests_of, until, health, agents, also
):
    _, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    epoch = health(LIVES).epoch
    if also == "libvirtd":
        lab.signal_program(HOST, "libvirtd", signal.SIGSTOP)
    lab.signal_program(HOST, "hostagent", signal.SIGSTOP)
    until(lambda: guests_of() == set(), "it is killed")
    assert health() is not None  # dead while the key is still there
    lab.signal_program(HOST, "hostagent", signal.SIGCONT)
    until(lambda: epoch_of(health()) > epoch, "another life begins")
    until(lambda: server_id in guests_of(), "it is started again")
    until(lambda: is_ready(agents(HOST)), "it takes orders")


def test_no_more_wanted_rescued_is_no_more_fenced(lab, fenced, etcd, ids, until, health):
    etcd.delete(POLICIES + ids[HOST])
    until(lambda: not is_fenced(health(LIVES)), "it says so")
    assert health(LIVES).fence_detail == "automatic rescue is off"
    until(lambda: lab.card(HOST).condition is CardCondition.DISARMED, "the card is stopped")


def test_a_host_that_comes_back_ends_what_it_lost_and_nothing_else(
    lab, alone, new_server, hold, guests_of, until, health, etcd, ids, agents, record_of
):
    (lost, lost_id), (_, coming_id), (_, stray_id) = new_server(), new_server(), new_server()
    all_ids = {lost_id, coming_id, stray_id}
    until(lambda: all_ids <= guests_of(), "all run")
    epoch = health(LIVES).epoch
    lab.signal_program(HOST, "hostagent", signal.SIGSTOP)
    generation = record_of(lost_id).owner.generation
    hold(lost_id, host_id=ids[OTHER], generation=generation + 1)
    hold(
        coming_id,
        host_id=ids[OTHER],
        phase=OwnerPhase.MIGRATING,
        target_host_id=ids[HOST],
        migration_id="m1",
    )
    etcd.delete(SERVERS + stray_id)
    before = etcd.get(SERVERS + lost_id)
    lab.signal_program(HOST, "hostagent", signal.SIGKILL)
    until(lambda: epoch_of(health()) > epoch, "it is back")
    assert lost_id not in guests_of()
    until(lambda: is_ready(agents(HOST)), "it takes orders")
    assert {coming_id, stray_id} <= guests_of()
    assert lost.name not in lab.virsh(HOST, "list --all --name").split()
    assert etcd.get(SERVERS + lost_id) == before


def test_while_it_has_no_lease_it_takes_no_orders(lab, alone, agents, until, etcd, ids):
    agent = agents(HOST)
    until(lambda: is_ready(agent), "it takes orders")
    lab.signal_program(CONTROLLER, "etcd", signal.SIGSTOP)
    try:
        until(lambda: not is_ready(agent), "it takes none", within_s=3 * TTL_S)
        agent.snapshot()  # and tells what it knows
    finally:
        lab.signal_program(CONTROLLER, "etcd", signal.SIGCONT)
    until(lambda: is_ready(agent), "it takes orders again")


def test_who_fell_is_started_and_who_was_switched_off_is_not(
    lab, alone, new_server, guests_of, until, health, record_of
):
    (_, fell_id), (off, off_id), (paused, paused_id) = new_server(), new_server(), new_server()
    until(lambda: {fell_id, off_id, paused_id} <= guests_of(), "all run")
    lab.virsh(HOST, f"autostart {off.name}", f"suspend {paused.name}")
    until(lambda: record_of(paused_id).suspended, "one is suspended")
    epoch = health(LIVES).epoch
    lab.signal_program(HOST, "hostagent", signal.SIGSTOP)
    lab.virsh(HOST, f"destroy {off.name}")
    for server_id in (fell_id, paused_id):
        lab.execute(HOST, "pkill", "-KILL", "-f", f"uuid {server_id}")
    until(lambda: guests_of() == set(), "none runs")
    lab.signal_program(HOST, "hostagent", signal.SIGKILL)
    until(lambda: epoch_of(health()) > epoch, "the agent is back")
    until(lambda: guests_of() == {fell_id}, "the one that fell is started")
    until(lambda: not record_of(off_id).wanted_on, "the one that was switched off is not wanted on")
    assert record_of(paused_id).wanted_on
    assert guests_of() == {fell_id}
    autostarted = lab.virsh(HOST, "list --all --autostart --name").split()
    assert off.name not in autostarted


def test_a_power_cut_switches_nobody_off(lab, alone, new_server, guests_of, until, record_of):
    _, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    lab.power_cut(HOST)
    lab.power_on(HOST)
    until(lambda: server_id in guests_of(), "it is started again")
    assert record_of(server_id).wanted_on


def test_a_host_that_was_fenced_runs_nothing_after_its_start_until_it_has_a_life(
    lab, fenced, new_server, guests_of, until, health
):
    spec, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    epoch = health(LIVES).epoch
    lab.power_cut(HOST)
    lab.signal_program(CONTROLLER, "etcd", signal.SIGSTOP)
    try:
        lab.power_on(HOST)

        def ask(*command: str) -> int:
            return lab.execute(HOST, "virsh", *command).returncode

        until(lambda: ask("list") == 0, "libvirtd answers")
        ask("start", spec.name)  # which fails, or not, by how soon its process is seen
        until(lambda: guests_of() == set(), "it is killed")
    finally:
        lab.signal_program(CONTROLLER, "etcd", signal.SIGCONT)
    until(lambda: epoch_of(health()) > epoch, "it is back")
    until(lambda: server_id in guests_of(), "it is started by its agent")


def test_a_host_that_shuts_down_says_so_and_waits_only_for_what_leaves(
    lab, alone, new_server, guests_of, until, etcd, ids, health, record_of
):
    spec, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    command = [sys.executable, "-m", "hostagent.main", "--config", AGENT_CONFIG]
    command += ["--host-shuts-down", "--within", "1"]
    done = lab.execute(HOST, *command)
    assert done.returncode == 0, done.stderr
    assert f"this host's policy moves nothing away: {spec.name}" in done.stdout
    asked = msgspec.json.decode(etcd.get(SHUTDOWNS + ids[HOST]).value, type=HostShutdown)
    assert (asked.boot_id, asked.within_s) == (health(LIVES).boot_id, 1)
    policy = HostPolicy(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True)
    etcd.put(POLICIES + ids[HOST], msgspec.json.encode(policy))
    done = lab.execute(HOST, *command)
    assert f"stays and is shut down with this host: {spec.name}" in done.stdout
    # what ends now ends with its host
    lab.virsh(HOST, f"destroy {spec.name}")
    until(lambda: guests_of() == set(), "it is off")
    lab.power_cut(HOST)
    etcd.delete(SHUTDOWNS + ids[HOST])
    etcd.delete(POLICIES + ids[HOST])
    lab.power_on(HOST)
    until(lambda: server_id in guests_of(), "it is started again with its host")
    assert record_of(server_id).wanted_on


def test_a_host_that_libvirt_takes_for_another_one_keeps_its_servers(
    lab, alone, new_server, guests_of, until, ids, health, record_of
):
    spec, server_id = new_server()
    until(lambda: server_id in guests_of(), "it runs")
    settings = lab.folders.etc(HOST) / "libvirt" / "libvirtd.conf"
    before, epoch, record = settings.read_text(), health(LIVES).epoch, record_of(server_id)
    log = lab.folders.log(HOST) / "hostagent.log"
    refused = f"libvirt calls this host {uuid.uuid4()}, and it is {ids[HOST]}"
    settings.write_text(before.replace(ids[HOST], refused.split()[4].rstrip(",")))
    try:
        lab.signal_program(HOST, "libvirtd", signal.SIGKILL)
        until(lambda: refused in log.read_text(), "the running agent refuses it")
        log.write_text("")
        lab.signal_program(HOST, "hostagent", signal.SIGKILL)
        until(lambda: epoch_of(health()) > epoch, "another agent is what the host was before")
        until(lambda: refused in log.read_text(), "and refuses it too")
        assert server_id in guests_of()
        assert spec.name in lab.virsh(HOST, "list --name").split()
        assert record_of(server_id) == record
    finally:
        settings.write_text(before)
        lab.signal_program(HOST, "libvirtd", signal.SIGKILL)
