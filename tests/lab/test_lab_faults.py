"""What a lab can do to its hosts so that a fence and a rescue are tried."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from lab.card import CardCondition
from lab.disks import volumes
from lab.errors import LabError
from lab.fleet import Lab
from lab.hypervisor import running_names
from lab.node import init_process
from lab.readiness import operator_client
from lab.trace import DiskWatch

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab faults")]  # one such lab is enough

ARM_AND_LEAVE = "exec 3>/dev/watchdog; echo -n x >&3; exec 3>&-"


def until(holds, what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stepped_lab(in_turn) -> Iterator[Lab]:
    """Clocks that can be set, three members of etcd, a short lease."""
    lab = Lab(f"test-{os.getpid()}-3")
    try:
        with in_turn():
            lab.up(host_count=1, server_count=0, lease_ttl_s=5, etcd_members=3, stepped_clocks=True)
            lab.wait_until_ready()
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


@pytest.fixture
def api(stepped_lab):
    with operator_client(stepped_lab.state, stepped_lab.folders) as client:

        def get(path: str):
            with suppress(httpx.HTTPError):
                return client.get(path, headers={"Connection": "close"}, timeout=10).json()
            return {}

        yield get


def test_a_card_that_is_not_petted_resets_its_host_and_the_host_comes_back(lab, add_server, alive):
    spec = add_server(host="kvm-03")
    before = alive("kvm-03", spec.name)
    first_card = lab.state.node("kvm-03").card
    lab.execute("kvm-03", "sh", "-c", ARM_AND_LEAVE)
    until(lambda: init_process(lab.state.node("kvm-03")) is None, "kvm-03 is reset")
    assert lab.card("kvm-03").condition is CardCondition.FIRED
    assert "not petted for 2 s" in (lab.folders.log("kvm-03") / "card.log").read_text()
    lab.power_on("kvm-03")
    lab.wait_until_ready()
    assert lab.card("kvm-03").condition is CardCondition.DISARMED
    assert lab.state.node("kvm-03").card != first_card
    with suppress(LabError):  # it may have been started already, as it was wanted on
        lab.virsh("kvm-03", f"start {spec.name}")
    assert alive("kvm-03", spec.name).boots > before.boots


def test_a_card_has_its_own_host_only(lab):
    assert not lab.execute("kvm-02", "test", "-p", "/dev/watchdog").returncode
    own = {lab.path(host.name, "/dev/watchdog").stat().st_ino for host in lab.state.hosts}
    assert len(own) == len(lab.state.hosts)
    assert lab.execute("controller", "test", "-p", "/dev/watchdog").returncode


def test_a_second_copy_of_a_guest_leaves_its_trace(lab, add_server, alive):
    spec = add_server(trace_ms=50)
    alive("kvm-01", spec.name, beats=2)
    definition = lab.virsh("kvm-01", f"dumpxml --inactive {spec.name}")
    lab.path("kvm-02", "/etc/godwit/copy.xml").write_text(definition)
    watch = DiskWatch({spec.name: volumes(spec, lab.folders)[0][1]})
    with watch.watching():
        lab.virsh("kvm-02", "define /etc/godwit/copy.xml", f"start {spec.name}")
        until(lambda: len(watch.boots(spec.name)) == 2, "the copy writes")
        time.sleep(0.5)
        lab.virsh("kvm-01", f"destroy {spec.name}")
    ((overlap,),) = watch.overlaps().values()
    assert overlap.newer.boots == overlap.older.boots + 1
    adopted = alive("kvm-02", spec.name)  # the copy goes on from the beats of the one before
    report = alive("kvm-02", spec.name, beats=adopted.beats + 2)
    assert report.disk_splits > 0


def test_one_boot_after_the_other_leaves_none(lab, add_server, alive):
    spec = add_server(trace_ms=50)
    alive("kvm-01", spec.name, beats=2)
    watch = DiskWatch({spec.name: volumes(spec, lab.folders)[0][1]})
    with watch.watching():
        lab.virsh("kvm-01", f"destroy {spec.name}", f"start {spec.name}")
        until(lambda: len(watch.boots(spec.name)) == 2, "its next boot writes")
        last = alive("kvm-01", spec.name, beats=5)
    assert watch.overlaps() == {}
    assert last.disk_splits == 0


def test_a_guest_answers_its_power_button(lab, add_server, alive):
    spec = add_server()
    alive("kvm-01", spec.name)
    lab.virsh("kvm-01", f"shutdown {spec.name}")
    until(lambda: spec.name not in running_names(lab.init("kvm-01")), "it powers off")
    assert "shutdown" in lab.virsh("kvm-01", f"domstate {spec.name} --reason")


def test_the_clock_that_programs_see_is_set_and_the_machines_is_not(stepped_lab, api):
    lab = stepped_lab
    machine = time.time()
    before = api("/v1/hosts")[0]["seen_at_ms"]
    lab.step_clock("kvm-01", 86400)
    lab.step_clock("controller", 86400)
    until(lambda: api("/v1/hosts")[0]["seen_at_ms"] > before + 80_000_000, "time has jumped")
    lab.step_clock("kvm-01", -86400)
    lab.step_clock("controller", -86400)
    until(lambda: api("/v1/hosts")[0]["seen_at_ms"] < before + 80_000_000, "time is back")
    assert abs(time.time() - machine) < 80_000
    assert api("/v1/hosts")[0]["status"] == "online"


def test_clocks_of_other_labs_cannot_be_set(lab):
    with pytest.raises(LabError, match="are the machine's"):
        lab.step_clock("kvm-01", 5)


@pytest.mark.parametrize("member", ["etcd-2", "etcd-3"])
def test_two_members_of_etcd_go_on_without_the_third(stepped_lab, api, member):
    stepped_lab.power_cut(member)
    # longer than any connection of a program to that member lives on unnoticed
    until(lambda: api("/v1/status").get("etcd_ok"), "etcd answers without it")
    until(lambda: api("/v1/hosts")[0]["status"] == "online", "the host is online")
    stepped_lab.power_on(member)


def test_a_backend_that_is_cut_off_says_so_and_consoles_reach_it(stepped_lab, api):
    stepped_lab.cut_off_backend()
    until(lambda: api("/v1/status").get("etcd_ok") is False, "the backend misses etcd")
    assert {host["status"] for host in api("/v1/hosts")} == {"unknown"}
    stepped_lab.heal_backend()
    until(lambda: api("/v1/status").get("etcd_ok"), "the backend has etcd again")
    until(lambda: api("/v1/hosts")[0]["status"] == "online", "the host is online")


def test_servers_are_for_hosts(stepped_lab):
    from lab.server import ServerSpec

    for name in ("controller", "etcd-2"):
        with pytest.raises(LabError, match=f"{name} runs no servers"):
            stepped_lab.add_server(ServerSpec(name="x", host=name))
