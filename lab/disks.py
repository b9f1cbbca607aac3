"""A server's image files: which there are, how they are made on a host, and what they must hold."""

import os
import random
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from lab import node, processes
from lab.errors import LabError
from lab.folders import (
    IMAGE_CACHE_PATH,
    LIBVIRT_PATH,
    LOCAL_PATH,
    NVRAM_PATH,
    SHARED_PATH,
    LabFolders,
)
from lab.processes import ProcessId
from lab.server import MIB, OWN_MB, ImageFormat, Medium, ServerSpec, Storage

SHARED_DISK_MB = 1
NVRAM_TEMPLATE = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

_TIMEOUT_S = 300.0
_POOLS: dict[Storage, tuple[str, ...]] = {
    "shared": ("shared",),
    "local": ("local",),
    "mixed": ("shared", "local"),
}
_POOL_PATHS = {"shared": SHARED_PATH, "local": LOCAL_PATH}


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """One of a server's disks."""

    pool: str
    path: Path
    """Of its image, as hosts see it."""
    format: ImageFormat
    size_mb: int


def disks_of(spec: ServerSpec) -> tuple[Disk, ...]:
    """A server's disks, the boot disk first."""
    names = (f"{spec.name}.img", f"{spec.name}-data.img")
    return tuple(
        Disk(
            pool=pool,
            path=_POOL_PATHS[pool] / name,
            format="qcow2" if pool == "local" and spec.chain else spec.format,
            size_mb=spec.disk_mb if pool == "local" else SHARED_DISK_MB,
        )
        for pool, name in zip(_POOLS[spec.storage], names, strict=False)
    )


def pools_of(spec: ServerSpec) -> set[str]:
    """Pools that hold images of a server."""
    found = {disk.pool for disk in disks_of(spec)} | {spec.cdrom, spec.floppy}
    return (found | {"image-cache"} if spec.chain else found) - {""}


def volumes(spec: ServerSpec, folders: LabFolders) -> list[tuple[str, Path]]:
    """Pool and image file (as the machine sees it) of each disk, the boot disk first."""
    places = {"shared": folders.shared, "local": folders.local(spec.host)}
    return [(disk.pool, places[disk.pool] / disk.path.name) for disk in disks_of(spec)]


def base_path(name: str) -> Path:
    """The base image of a server with a chain, as its host sees it."""
    return IMAGE_CACHE_PATH / f"{name}-base.img"


def snapshot_path(name: str) -> Path:
    """The snapshot between a server's base image and its disk, as its host sees it."""
    return LOCAL_PATH / f"{name}-snapshot.img"


def nvram_path(name: str) -> Path:
    """The variables of a server's UEFI firmware, as its host sees them."""
    return NVRAM_PATH / f"{name}_VARS.fd"


def cdrom_path(name: str, medium: Medium) -> Path:
    """The image in a server's CD-ROM drive, as hosts see it."""
    return _POOL_PATHS[medium] / f"{name}-cdrom.iso"


def floppy_path(name: str, medium: Medium) -> Path:
    """The image in a server's floppy drive, as hosts see it."""
    return _POOL_PATHS[medium] / f"{name}-floppy.img"


def _scratch_path(name: str) -> Path:
    """A file of a server's name that is there only while an image is made or compared."""
    return LIBVIRT_PATH / f"{name}.raw"


def data_block(name: str, index: int) -> bytes:
    """The MiB that stands ``index`` MiB after the guest's own part of a server's local disk."""
    return random.Random(f"{name} {index}").randbytes(MIB)  # noqa: S311  (data, no secret)


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made with."""

    program: bytes
    server: str
    data_mb: int
    size_mb: int


def write_files(spec: ServerSpec, init: ProcessId, program: bytes) -> None:
    """Make a server's image files and UEFI variables on its host; old ones are overwritten.

    ``program`` is what the boot disk begins with.

    Raises:
        LabError: QEMU's tools refuse, or the firmware is not installed.
    """
    for disk, own in zip(disks_of(spec), (program, b""), strict=False):
        content = _Content(
            program=own,
            server=spec.name,
            data_mb=spec.data_mb if disk.pool == "local" else 0,
            size_mb=disk.size_mb,
        )
        if disk.pool == "local" and spec.chain:
            _write_chain(disk.path, content, init)
        elif disk.format == "qcow2":
            _write_qcow2(disk.path, content, init)
        else:
            _write_raw(node.inside(init, disk.path), content)
    if spec.cdrom:
        node.inside(init, cdrom_path(spec.name, spec.cdrom)).write_bytes(_iso(spec.name))
    if spec.floppy:
        node.inside(init, floppy_path(spec.name, spec.floppy)).write_bytes(bytes(1440 * 1024))
    if spec.uefi:
        _write_nvram(node.inside(init, nvram_path(spec.name)))


def _write_raw(path: Path, content: _Content) -> None:
    with path.open("wb") as image:
        image.write(content.program)
        image.seek(OWN_MB * MIB)
        for index in range(content.data_mb):
            image.write(data_block(content.server, index))
        image.truncate(content.size_mb * MIB)


def _write_qcow2(path: Path, content: _Content, init: ProcessId) -> None:
    raw = _scratch_path(content.server)
    _write_raw(node.inside(init, raw), content)
    _run(init, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    node.inside(init, raw).unlink()


def _write_chain(top: Path, content: _Content, init: ProcessId) -> None:
    """Program and half of the data in the base, the other half in the snapshot, nothing on top."""
    server = content.server
    base, snapshot, block = base_path(server), snapshot_path(server), _scratch_path(server)
    in_base = content.data_mb // 2
    _write_qcow2(base, msgspec.structs.replace(content, data_mb=in_base), init)
    for below, above in ((base, snapshot), (snapshot, top)):
        overlay = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(below), str(above)]
        _run(init, "qemu-img", *overlay)
    for index in range(in_base, content.data_mb):
        node.inside(init, block).write_bytes(data_block(server, index))
        write = f"write -q -s {block} {OWN_MB + index}M 1M"
        _run(init, "qemu-io", "-f", "qcow2", "-c", write, str(snapshot))
    node.inside(init, block).unlink(missing_ok=True)


def _write_nvram(path: Path) -> None:
    if not NVRAM_TEMPLATE.exists():
        raise LabError(f"{NVRAM_TEMPLATE} is not installed: run lab/install-packages")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(NVRAM_TEMPLATE.read_bytes())


def _iso(label: str) -> bytes:
    """An empty ISO 9660 image: its primary volume descriptor and the terminator (ECMA-119, 8)."""
    primary = struct.pack("<B5sBx32s32s", 1, b"CD001", 1, b"", label.upper().encode().ljust(32))
    terminator = struct.pack("<B5sB", 255, b"CD001", 1)
    return bytes(16 * 2048) + primary.ljust(2048, b"\0") + terminator.ljust(2048, b"\0")


def _run(init: ProcessId, *argv: str) -> None:
    processes.run(node.enter_argv(init, argv), timeout_s=_TIMEOUT_S)


def remove_files(name: str, libvirt: Path) -> None:
    """Remove a server's files from a host whose /var/lib/libvirt is seen at ``libvirt``."""
    paths = [base_path(name), snapshot_path(name), nvram_path(name), _scratch_path(name)]
    for pool in _POOL_PATHS.values():
        images = (".img", "-data.img", "-cdrom.iso", "-floppy.img")
        paths += [pool / f"{name}{image}" for image in images]
    for path in paths:
        (libvirt / path.relative_to(LIBVIRT_PATH)).unlink(missing_ok=True)


def data_losses(spec: ServerSpec, init: ProcessId) -> list[str]:
    """Compare a server's local disk on a host with the data that it was given.

    What the guest itself uses is left out. Returns one sentence for each MiB that differs; an
    empty list means that the data is whole.

    Raises:
        LabError: the server has no local disk, or the host has no readable image of it.
    """
    disk = next((each for each in disks_of(spec) if each.pool == "local"), None)
    if disk is None:
        raise LabError(f"{spec.name} has no local disk whose data could be compared")
    raw = _scratch_path(spec.name)
    _run(init, "qemu-img", "convert", "-U", "-O", "raw", str(disk.path), str(raw))
    copy = node.inside(init, raw)
    try:
        with copy.open("rb") as image:
            return list(_losses(image, spec, disk))
    finally:
        copy.unlink()


def _losses(image: BinaryIO, spec: ServerSpec, disk: Disk) -> Iterable[str]:
    size = image.seek(0, os.SEEK_END)
    if size != disk.size_mb * MIB:
        yield f"{disk.path} has {size} bytes instead of {disk.size_mb * MIB}"
    image.seek(OWN_MB * MIB)
    for index in range(spec.data_mb):
        if image.read(MIB) != data_block(spec.name, index):
            yield f"MiB {OWN_MB + index} of {disk.path} does not hold what was written there"
    with suppress(OSError):  # ENXIO: nothing but a hole from there to the end
        while True:
            start = os.lseek(image.fileno(), image.tell(), os.SEEK_DATA)
            image.seek(start - start % MIB)
            if any(image.read(MIB)):
                yield f"MiB {start // MIB} of {disk.path} holds data although nobody wrote any"
