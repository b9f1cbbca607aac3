"""Packets on a host's cable, recorded as they pass into a file that packet tools read (pcap)."""

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lab.errors import LabError

# from <linux/if_ether.h>, <linux/if_packet.h> and <asm-generic/socket.h>
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33

_LARGEST_BYTES = 1024 * 1024
"""More than any train of segments that the kernel hands on as one packet."""
_QUEUE_BYTES = 256 * 1024 * 1024
_FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, _LARGEST_BYTES, 1)
"""Nanoseconds, version 2.4, Ethernet: draft-ietf-opsawg-pcap."""


@contextmanager
def capture(port: str, path: Path) -> Iterator[None]:
    """Record every packet that passes a port of the bridge, in both directions, while this lasts.

    What TCP sends in one piece may lie in two packets, so search for patterns that come often.

    Raises:
        LabError: the port is not there, or the kernel dropped packets before they were recorded.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets, path.open("wb") as file:
        packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
        try:
            packets.bind((port, _ETH_P_ALL))
        except OSError as error:
            raise LabError(f"packets of {port} cannot be recorded: {error.strerror}") from None
        packets.settimeout(0)
        file.write(_FILE_HEADER)
        stop, stopped = socket.socketpair()
        recorder = threading.Thread(target=_record, args=(packets, file, stopped))
        recorder.start()
        try:
            yield
        finally:
            stop.close()
            recorder.join()
            stopped.close()
        statistics = packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        _, dropped = struct.unpack("=II", statistics)
        if dropped:
            raise LabError(f"{dropped} packets of {port} passed too fast and are not in {path}")


def _record(packets: socket.socket, file: BinaryIO, stopped: socket.socket) -> None:
    """Write packets until nobody wants more and none is left, or the port vanishes."""
    buffer = memoryview(bytearray(_LARGEST_BYTES))
    wanted = True
    while wanted:
        wanted = stopped not in select.select([packets, stopped], [], [])[0]
        while size := _receive(packets, buffer):
            seconds, nanoseconds = divmod(time.time_ns(), 10**9)
            file.write(struct.pack("=IIII", seconds, nanoseconds, size, size))
            file.write(buffer[:size])
        wanted = wanted and size is not None


def _receive(packets: socket.socket, buffer: memoryview) -> int | None:
    """Size of the next packet, 0 if there is none now, None if there will be none any more."""
    try:
        return packets.recv_into(buffer)
    except BlockingIOError:
        return 0
    except OSError:  # ENETDOWN: the port has gone with its host
        return None
