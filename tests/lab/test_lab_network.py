"""Cut power, cut cables, slow links: each does what its name says and can be undone."""

import struct
import subprocess
import sys
import time

import pytest

from lab.errors import LabError
from lab.network import check_delay
from lab.report import WORKING_SET_ADDRESS
from lab.server import PAGE_BYTES, Workload
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


def test_bytes_on_a_link_are_counted_by_direction(lab):
    amount = 16 << 20
    before = {host: lab.link_bytes(host) for host in ("kvm-01", "kvm-02")}
    bytes_per_s(lab, "kvm-01", "kvm-02", amount)
    sent = lab.link_bytes("kvm-01").sent_bytes - before["kvm-01"].sent_bytes
    received = lab.link_bytes("kvm-02").received_bytes - before["kvm-02"].received_bytes
    back = lab.link_bytes("kvm-02").sent_bytes - before["kvm-02"].sent_bytes
    assert amount < sent < 1.2 * amount
    assert amount < received < 1.2 * amount
    assert back < 0.2 * amount


def test_transfer_goes_on_after_a_cut_of_five_seconds(lab):
    amount = 24 << 20
    lab.limit_link("kvm-02", LinkLimit(rate_bits_per_s=80_000_000))
    address = lab.state.address(lab.state.node("kvm-02").number)
    receive = lab.exec_argv("kvm-02", [sys.executable, "-c", _RECEIVE, address])
    send = lab.exec_argv("kvm-01", [sys.executable, "-c", _SEND, address, str(amount)])
    before = lab.link_bytes("kvm-02").received_bytes

    def arrived() -> int:
        return lab.link_bytes("kvm-02").received_bytes - before

    with subprocess.Popen(receive, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout.readline() == "ready\n"
        with subprocess.Popen(send) as sender:
            while arrived() < 4 << 20:
                time.sleep(0.01)
            lab.partition("kvm-02")
            at_the_cut = arrived()
            time.sleep(5)
            assert at_the_cut <= arrived() < amount
            assert sender.poll() is None
            lab.heal("kvm-02")
            assert sender.wait(60) == 0
        assert float(receiver.stdout.readline()) > 0
    assert arrived() > amount


def test_memory_is_seen_on_the_wire_unless_it_is_encrypted(
    lab, add_server, alive, live_migrate, tmp_path
):
    spec = add_server(memory_mb=64, workload=Workload(working_set_mb=8))
    alive("kvm-01", spec.name)
    # the part of each page that no pass changes: every double word holds its own address
    places = [WORKING_SET_ADDRESS + page * PAGE_BYTES + 0x100 for page in range(64)]
    patterns = [struct.pack("<64I", *range(place, place + 256, 4)) for place in places]
    seen = {}
    for source, target, options in (("kvm-01", "kvm-02", ()), ("kvm-02", "kvm-01", ("--tls",))):
        with lab.capture("kvm-02", tmp_path / "packets"):
            live_migrate(spec.name, source, target, *options)
        packets = (tmp_path / "packets").read_bytes()
        assert len(packets) > 8 << 20
        seen[options] = sum(pattern in packets for pattern in patterns)
    assert seen.pop(("--tls",)) == 0
    assert seen.pop(()) > len(patterns) / 2


def test_recording_stops_with_the_host_and_its_file_is_pcap(lab, tmp_path):
    path = tmp_path / "packets"
    with lab.capture("kvm-03", path):
        assert reaches(lab, "kvm-01", "kvm-03")
        lab.power_cut("kvm-03")
    content = path.read_bytes()
    assert struct.unpack_from("=IHH", content) == (0xA1B23C4D, 2, 4)
    sizes, position = [], 24
    while position < len(content):
        _, _, size, original = struct.unpack_from("=IIII", content, position)
        assert size == original
        sizes.append(size)
        position += 16 + size
    assert position == len(content)
    assert len(sizes) > 3
    with pytest.raises(LabError, match="kvm-03 is off"):
        lab.capture("kvm-03", path)


def test_partitioned_host_keeps_its_interface_and_reaches_nobody(lab):
    lab.wait_until_ready()  # a host may have been switched on just now
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
    # its agent starts what was on, since nobody else has it
    alive("kvm-03", spec.name)


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
