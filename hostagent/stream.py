"""The connection by which a guest in post-copy fetches its memory, cut off on the receiving side.

After a break of the link QEMU may wait for ever on a connection whose other end is gone: it sends
nothing, so that TCP finds out nothing, and libvirt lets nobody connect the guest again while its
QEMU believes in the connection. QEMU's own ``migrate-pause`` would shut the socket down; libvirt 9
passes no command to a QEMU that receives a guest. So the socket is shut down from outside.
"""

import contextlib
import ctypes
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hostagent.fence.guests import find_guests

_PIDFD_GETFD = 438
"""The same number on every architecture (Linux 5.6)."""
_MIGRATION_PORTS = range(49152, 49216)
"""``migration_port_min`` to ``migration_port_max`` of qemu.conf, as libvirt comes."""

_libc = ctypes.CDLL(None, use_errno=True)


def cut_stream(server_id: str, source_address: str) -> int:
    """Shut down what a guest's QEMU has accepted from its source; how many connections. Blocks.

    Args:
        server_id: UUID of the domain.
        source_address: address or name of the host that the guest comes from.

    Raises:
        OSError: the system's refusal; the agent lacks the right to trace QEMU.
    """
    peers = _addresses(source_address)
    cut = 0
    for pid in [guest.pid for guest in find_guests() if guest.server_id == server_id]:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it ended meanwhile
            for stream in _sockets(pid):
                with stream:
                    if _is_stream_from(stream, peers):
                        stream.shutdown(socket.SHUT_RDWR)
                        cut += 1
    return cut


def _addresses(host: str) -> set[str]:
    return {_plain(str(found[4][0])) for found in socket.getaddrinfo(host, None)}


def _plain(address: str) -> str:
    """An IPv4 address as such, although a socket for both kinds accepted it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _sockets(pid: int) -> Iterator[socket.socket]:
    """Every socket of a process, opened here too."""
    process = os.pidfd_open(pid)
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if path.readlink().name.startswith("socket:"):
                    yield socket.socket(fileno=_same_file(process, int(path.name)))
    finally:
        os.close(process)


def _same_file(process: int, descriptor: int) -> int:
    found = int(_libc.syscall(_PIDFD_GETFD, process, descriptor, 0))
    if found < 0:
        number = ctypes.get_errno()
        kind = FileNotFoundError if number == errno.EBADF else OSError
        raise kind(number, os.strerror(number))
    return found


def _is_stream_from(stream: socket.socket, peers: set[str]) -> bool:
    if stream.family not in {socket.AF_INET, socket.AF_INET6} or stream.type != socket.SOCK_STREAM:
        return False
    try:
        local, peer = stream.getsockname(), stream.getpeername()
    except OSError:
        return False  # it listens, or is shut down already
    return local[1] in _MIGRATION_PORTS and _plain(peer[0]) in peers
