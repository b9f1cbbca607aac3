"""Cut power, cut cables, slow links: each does what its name says and can be undone."""

import subprocess
import sys

import pytest

from lab.errors import LabError
from lab.network import check_delay
from lab.state import LinkLimit

pytestmark = pytest.mark.lab

_SEND = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 9999)) as link:
    block = bytes(1 << 16)
    for _ in range(int(sys.argv[2]) >> 16):
        link.sendall(block)
    link.shutdown(socket.SHUT_WR)
    link.recv(1)
"""
_RECEIVE = """
import socket, sys, time
with socket.create_server((sys.argv[1], 9999)) as server:
    print("ready", flush=True)
    link, _ = server.accept()
    received, started = 0, time.monotonic()
    while block := link.recv(1 << 20):
        received += len(block)
    print(received / (time.monotonic() - started), flush=True)
    link.close()
"""


def bytes_per_s(lab, source: str, target: str, amount: int) -> float:
    address = lab.state.address(lab.state.node(target).number)
    receiver = subprocess.Popen(
        lab.exec_argv(target, [sys.executable, "-c", _RECEIVE, address]),
        stdout=subprocess.PIPE,
        text=True,
    )
    with receiver:
        assert receiver.stdout.readline() == "ready\n"
        sent = lab.execute(source, sys.executable, "-c", _SEND, address, str(amount))
        assert sent.returncode == 0, sent.stderr
        return float(receiver.stdout.readline())


def reaches(lab, source: str, target: str) -> bool:
    code = "import socket, sys; socket.create_connection((sys.argv[1], 16514), 1).close()"
    return lab.execute(source, sys.executable, "-c", code, target).returncode == 0


def test_link_rate_holds_in_both_directions(lab):
    rate = 80_000_000
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=rate))
    for source, target in (("kvm-01", "kvm-02"), ("kvm-02", "kvm-01")):
        assert bytes_per_s(lab, source, target, 8 << 20) < 1.1 * rate / 8
    lab.limit_link("kvm-01", LinkLimit())
    assert bytes_per_s(lab, "kvm-01", "kvm-02", 64 << 20) > 1.5 * rate / 8


def test_delay_slows_the_link_or_says_that_the_kernel_cannot(lab):
    limit = LinkLimit(rate_bits_per_s=800_000_000, delay_ms=20)
    try:
        check_delay()
    except LabError:
        with pytest.raises(LabError, match="sch_netem"):
            lab.limit_link("kvm-01", limit)
        assert lab.state.node("kvm-01").limit == LinkLimit()
        return
    lab.limit_link("kvm-01", limit)
    shown = lab.execute("kvm-01", "tc", "qdisc", "show", "dev", "eth0").stdout
    assert "netem" in shown
    assert "tbf" in shown


def test_partitioned_host_keeps_its_interface_and_reaches_nobody(lab):
    lab.partition("kvm-02")
    assert not reaches(lab, "kvm-01", "kvm-02")
    assert not reaches(lab, "kvm-02", "kvm-01")
    assert reaches(lab, "kvm-01", "kvm-03")
    interface = lab.execute("kvm-02", "ip", "-brief", "link", "show", "eth0").stdout
    assert " UP " in interface
    lab.heal("kvm-02")
    assert reaches(lab, "kvm-01", "kvm-02")


def test_power_cut_ends_everything_at_once_and_power_on_starts_anew(lab, add_server, alive):
    spec = add_server(host="kvm-03")
    alive("kvm-03", spec.name)
    boot = lab.execute("kvm-03", "cat", "/proc/sys/kernel/random/boot_id").stdout
    lab.power_cut("kvm-03")
    with pytest.raises(LabError, match="kvm-03 is off"):
        lab.execute("kvm-03", "true")
    with pytest.raises(LabError, match="is off"):
        lab.power_cut("kvm-03")
    lab.power_on("kvm-03")
    lab.wait_until_ready()
    assert lab.execute("kvm-03", "cat", "/proc/sys/kernel/random/boot_id").stdout != boot
    assert lab.virsh("kvm-03", f"domstate {spec.name}").strip() == "shut off"


def test_cut_and_limit_outlive_a_power_cut(lab):
    lab.partition("kvm-03")
    lab.limit_link("kvm-03", LinkLimit(rate_bits_per_s=50_000_000))
    lab.power_cut("kvm-03")
    lab.power_on("kvm-03")
    assert not reaches(lab, "kvm-03", "kvm-01")
    assert "50Mbit" in lab.execute("kvm-03", "tc", "qdisc", "show", "dev", "eth0").stdout


def test_process_of_a_cut_host_is_gone_from_the_machine(lab, add_server, alive, leftovers):
    from pathlib import Path

    spec = add_server(host="kvm-03")
    alive("kvm-03", spec.name)
    init = lab.init("kvm-03")
    namespace = Path(f"/proc/{init.pid}/ns/net").readlink()
    lab.power_cut("kvm-03")
    living = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            living.add((process / "ns" / "net").readlink())
        except OSError:
            continue
    assert namespace not in living
