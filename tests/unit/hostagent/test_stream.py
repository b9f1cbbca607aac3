"""The connection of an arriving guest is cut in the process that holds it, and no other."""

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from hostagent.fence.guests import Process
from hostagent.stream import cut_stream

SERVER_ID = str(uuid.uuid4())  # tests in other processes hold streams at the same time
HOLDER = """
import socket, sys
listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
for port in range(int(sys.argv[1]), int(sys.argv[2])):
    try:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        break
    except OSError:
        continue
print(listener.getsockname()[1], flush=True)
stream, _ = listener.accept()
print("accepted", flush=True)
print("read", stream.recv(1), flush=True)
"""


@pytest.fixture
def hold() -> Iterator[object]:
    """A process as libvirt starts QEMU, with a connection accepted on one of these ports."""
    held = []

    def start(first_port: int, end_port: int) -> tuple[subprocess.Popen[str], socket.socket]:
        ports = (str(first_port), str(end_port))
        argv = [sys.executable, "-c", HOLDER, *ports, "-uuid", SERVER_ID, "-x"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        port = int(process.stdout.readline())
        stream = socket.create_connection(("127.0.0.1", port), timeout=20)
        held.append((process, stream))
        assert process.stdout.readline() == "accepted\n"
        return process, stream

    yield start
    for process, stream in held:
        stream.close()
        process.kill()
        process.communicate()


def test_the_stream_of_a_guest_is_cut_on_both_ends(hold):
    process, stream = hold(49152, 49216)
    assert cut_stream(SERVER_ID, "127.0.0.1") == 1
    assert process.stdout.readline() == "read b''\n"
    assert stream.recv(1) == b""


def test_what_is_no_stream_of_this_guest_from_this_source_stays(hold):
    process, stream = hold(49152, 49216)
    assert cut_stream(SERVER_ID, "127.0.0.2") == 0
    assert cut_stream("another", "127.0.0.1") == 0
    stream.send(b"x")
    assert process.stdout.readline() == "read b'x'\n"


def test_other_connections_of_a_guest_stay(hold):
    process, stream = hold(42000, 42100)
    assert cut_stream(SERVER_ID, "127.0.0.1") == 0
    stream.send(b"x")
    assert process.stdout.readline() == "read b'x'\n"


def test_a_guest_that_has_just_gone_has_no_stream(monkeypatch):
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    found = [Process(gone.pid, 0, SERVER_ID)]
    monkeypatch.setattr("hostagent.stream.find_guests", lambda: found)
    assert cut_stream(SERVER_ID, "127.0.0.1") == 0
