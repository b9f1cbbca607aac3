"""The block graph of both ends: files opened for other hosts, and another host's files read here.

Beside each file its source also exports the list of the file's extents. Asking for them by NBD
(``base:allocation``) costs 40 ms an extent over TLS with QEMU 7.2, whose NBD server leaves Nagle's
algorithm on; a list is read at once.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from hostagent.copies.daemon import Daemon, QemuRefused
from hostagent.copies.digest import Extent, extents

_SECTOR_BYTES = 512
_CAP = "cap"
"""The throttle group that all reads of a pull pass."""


def extents_name(export_name: str) -> str:
    """Under which name a file's list of extents is exported."""
    return f"{export_name}-extents"


def write_extents(path: str, into: Path) -> None:
    """Write the list of a file's extents, padded to whole sectors. Blocks."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = list(extents(handle, os.fstat(handle).st_size))
    finally:
        os.close(handle)
    text = msgspec.json.encode(found)
    into.write_bytes(text.ljust(-(-len(text) // _SECTOR_BYTES) * _SECTOR_BYTES))


def read_extents(path: Path) -> list[Extent]:
    """Read such a list. Blocks.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(path.read_bytes(), type=list[tuple[int, int]])


async def open_for_others(
    daemon: Daemon, names: Mapping[str, str], *, address: str, ports: Iterable[int], tls_dir: Path
) -> int:
    """Export files read-only under names, to holders of a certificate of the same authority.

    Args:
        daemon: holds nothing yet.
        names: path to export name.
        address: to listen on.
        ports: tried in turn.
        tls_dir: QEMU's certificates.

    Returns:
        The port.

    Raises:
        QemuRefused: QEMU's own text.
    """
    await _credentials(daemon, "server", tls_dir)
    port = await _listen(daemon, address, ports)
    for number, (path, name) in enumerate(names.items()):
        node = f"file{number}"
        await daemon.execute(
            "blockdev-add",
            # the guest may be started at any time: then the copy is void, and no lock hinders it
            {
                "driver": "file",
                "node-name": node,
                "filename": path,
                "read-only": True,
                "locking": "off",
            },
        )
        await daemon.execute(
            "block-export-add",
            {"type": "nbd", "id": node, "node-name": node, "name": name, "writable": False},
        )
    return port


async def _listen(daemon: Daemon, address: str, ports: Iterable[int]) -> int:
    refused = "no port is configured"
    for port in ports:
        where = {"type": "inet", "data": {"host": address, "port": str(port)}}
        try:
            await daemon.execute("nbd-server-start", {"addr": where, "tls-creds": "tls"})
        except QemuRefused as error:
            refused = error.message
            if "in use" in refused or "available port" in refused:
                continue
            raise
        return port
    raise QemuRefused(f"no port is free for the disks of a stopped server: {refused}")


async def serve_source(
    daemon: Daemon, *, socket_path: Path, tls_dir: Path, max_bytes_per_s: int
) -> None:
    """Prepare a daemon to hand another host's files on to programs of this host, with a cap.

    Raises:
        QemuRefused: QEMU's own text.
    """
    await _credentials(daemon, "client", tls_dir)
    await daemon.execute(
        "object-add",
        {"qom-type": "throttle-group", "id": _CAP, "limits": {"bps-total": max_bytes_per_s}},
    )
    where = {"type": "unix", "data": {"path": str(socket_path)}}
    await daemon.execute("nbd-server-start", {"addr": where})


async def add_source(
    daemon: Daemon, name: str, *, export_name: str, address: str, port: int, tls_hostname: str
) -> None:
    """Connect to one export of another host, and hand it on under a name of our own.

    Raises:
        QemuRefused: QEMU's own text.
    """
    await daemon.execute(
        "blockdev-add",
        {
            "driver": "throttle",
            "node-name": name,
            "throttle-group": _CAP,
            "read-only": True,
            "file": {
                "driver": "nbd",
                "read-only": True,
                "server": {"type": "inet", "host": address, "port": str(port)},
                "export": export_name,
                "tls-creds": "tls",
                "tls-hostname": tls_hostname,
            },
        },
    )
    await daemon.execute(
        "block-export-add",
        {"type": "nbd", "id": name, "node-name": name, "name": name, "writable": False},
    )


async def limit(daemon: Daemon, max_bytes_per_s: int) -> None:
    """Change the cap on all reads together; 0 for none.

    Raises:
        QemuRefused: QEMU's own text.
    """
    await daemon.execute(
        "qom-set",
        {"path": f"/objects/{_CAP}", "property": "limits", "value": {"bps-total": max_bytes_per_s}},
    )


async def _credentials(daemon: Daemon, endpoint: str, tls_dir: Path) -> None:
    await daemon.execute(
        "object-add",
        {
            "qom-type": "tls-creds-x509",
            "id": "tls",
            "dir": str(tls_dir),
            "endpoint": endpoint,
            "verify-peer": True,
        },
    )
