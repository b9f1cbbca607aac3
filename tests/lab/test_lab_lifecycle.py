"""Up, up again, down, and everything between that can break."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace

from lab.errors import LabError
from lab.fleet import Lab
from lab.registry import read_resources

pytestmark = pytest.mark.lab


def godwit_lab(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lab.cli", *arguments]


@pytest.fixture
def other_name(request):
    name = f"test-{os.getpid()}-{abs(hash(request.node.name)) % 10000}"
    yield name
    lab = Lab(name)
    if lab.folders.root.exists():
        lab.down()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8])
def test_down_ends_all_that_a_killed_up_has_made(other_name, leftovers, share):
    command = godwit_lab("up", "--name", other_name, "--hosts", "2", "--servers", "3")
    up = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # an undisturbed start with two hosts takes about four seconds here
    time.sleep(4 * share)
    up.send_signal(signal.SIGKILL)
    up.wait()
    made = read_resources(other_name)
    lab = Lab(other_name)
    if lab.folders.root.exists():
        lab.down()
    assert leftovers(made, lab.folders.root) == []


def test_up_completes_what_a_killed_up_has_begun(other_name, leftovers):
    command = godwit_lab("up", "--name", other_name, "--hosts", "2", "--servers", "3")
    up = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    lab = Lab(other_name)
    while not (made := read_resources(other_name)) or made.nodes[1].process is None:
        time.sleep(0.01)
    up.send_signal(signal.SIGKILL)
    up.wait()
    lab.up()
    lab.wait_until_ready()
    assert set(lab.virsh("kvm-01", "list --name").split()) == {"web-1", "db-1"}
    lab.down()
    assert leftovers(made, lab.folders.root) == []


def test_up_of_a_running_lab_changes_nothing(lab, add_server, alive):
    spec = add_server()
    before = alive("kvm-01", spec.name)
    state = lab.state
    lab.up()
    assert lab.state == state
    assert alive("kvm-01", spec.name).boots == before.boots


def test_up_starts_a_host_that_was_cut(lab):
    lab.power_cut("kvm-04")
    others = [node for node in lab.state.nodes if node.name != "kvm-04"]
    lab.up()
    assert lab.execute("kvm-04", "hostname").stdout.strip() == "kvm-04"
    assert [node for node in lab.state.nodes if node.name != "kvm-04"] == others
    lab.wait_until_ready()


def test_two_labs_live_side_by_side(lab, other_name, leftovers):
    other = Lab(other_name)
    other.up(host_count=1, server_count=1)
    made = other.state
    assert made.subnet != lab.state.subnet
    assert f"interface {made.bridge}" in leftovers(made, other.folders.root)
    assert other.virsh("kvm-01", "list --name").split() == ["web-1"]
    assert "web-1" not in lab.virsh("kvm-01", "list --all --name").split()
    other.down()
    assert leftovers(made, other.folders.root) == []
    # what another lab has taken meanwhile is nothing that this one left
    assert leftovers(replace(made, subnet=lab.state.subnet), other.folders.root) == []
    assert lab.execute("kvm-01", "virsh", "hostname").stdout.strip() == "kvm-01"


def test_recycled_pid_is_never_killed(lab):
    from lab import node
    from lab.processes import identify

    bystander = subprocess.Popen(["sleep", "60"])
    try:
        own = identify(bystander.pid)
        earlier = replace(own, started_ticks=own.started_ticks - 1)
        node.stop(replace(lab.state.hosts[0], process=earlier))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(godwit_lab(*arguments), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("env",),
        ("power-cut", "kvm-01"),
        ("exec", "kvm-01", "--", "true"),
        ("add-server", "x", "--host", "kvm-01"),
    ],
)
def test_unknown_lab_is_one_clear_sentence(arguments):
    done = run(*arguments[:1], "--name", "nowhere", *arguments[1:])
    assert done.returncode == 1
    assert re.fullmatch(r"godwit-lab: there is no lab 'nowhere' on this machine; .*\n", done.stderr)


def test_what_is_ended_may_be_ended_again():
    done = run("down", "--name", "nowhere")
    assert done.returncode == 0
    assert done.stdout == "There is no lab nowhere: nothing to end.\n"


def test_a_lab_does_not_change_its_count_of_hosts(lab):
    done = run("up", "--name", lab.name, "--hosts", "2")
    assert done.returncode == 1
    assert done.stderr.startswith(f"godwit-lab: the lab {lab.name!r} has 4 hosts, and --hosts 2 ")


def test_exec_keeps_output_and_exit_status(lab):
    done = run("exec", "--name", lab.name, "kvm-02", "--", "sh", "-c", "hostname; exit 7")
    assert (done.stdout, done.returncode) == ("kvm-02\n", 7)


def test_env_is_what_a_shell_evaluates(lab):
    script = (
        f'eval "$({sys.executable} -m lab.cli env --name {lab.name} --role viewer)"; '
        'printf "%s %s" "$GODWIT_BACKEND" "$GODWIT_TOKEN_FILE"'
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        f"https://{lab.state.address(2)}:8700",
        str(lab.folders.operator / "viewer.token"),
    ]


def test_status_shows_what_was_done_to_each_host(lab):
    lab.power_cut("kvm-03")
    lab.partition("kvm-02")
    done = run("status", "--name", lab.name)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "cut" in rows["kvm-03"]
    assert "partitioned" in rows["kvm-02"]
    assert "up" in rows["kvm-01"]


def test_unknown_host_is_named_with_those_there_are(lab):
    done = run("power-cut", "--name", lab.name, "kvm-77")
    assert done.returncode == 1
    assert "no host 'kvm-77'" in done.stderr
    assert "kvm-01" in done.stderr


def test_lab_that_cannot_be_named_so_is_refused():
    with pytest.raises(LabError, match="cannot name a lab"):
        Lab("../etc")
