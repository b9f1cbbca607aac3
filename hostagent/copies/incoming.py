"""Room for a server that comes: where each of its files will be, and what is there already."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from hostagent.copies.digest import file_digest
from hostagent.copies.images import ImageUnread, make_image
from wire.errors import ErrorCode, GodwitError
from wire.fleet import StoragePool
from wire.storage import FileRole, Incoming, IncomingFile, PrepareCommand, StorageFile

_GIB = 1 << 30


class ArrivingFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a server that comes."""

    file: IncomingFile
    pool_name: str
    """Empty for NVRAM."""
    partial_path: str
    """Where it is while it is copied; empty for one that is made at its place at once."""
    made: bool
    """Ours to remove: it was not there before."""


class IncomingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What must outlive the agent about a server that comes."""

    command: PrepareCommand
    files: tuple[ArrivingFile, ...]
    placed: bool = False
    """Files that were copied have, or are getting, their final names."""
    defined: bool = False
    """We have defined the domain here."""
    kept: tuple[str, ...] = ()
    """Files kept on request; not empty means that nothing else is left."""

    @property
    def incoming(self) -> Incoming:
        """The same as a message."""
        return Incoming(
            migration_id=self.command.migration_id,
            server_id=self.command.server_id,
            files=tuple(one.file for one in self.files),
        )

    @property
    def paths(self) -> dict[str, str]:
        """Path on the source to path here."""
        return {one.file.source_path: one.file.path for one in self.files}


class Refused(GodwitError):
    """This host cannot take the server; the sentence names both values."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.CONFLICT, message)


def place_files(
    command: PrepareCommand, pools: Iterable[StoragePool], *, host_name: str, nvram_dir: str
) -> tuple[ArrivingFile, ...]:
    """Find a place for each file, and see whether all of them fit. Blocks, and makes nothing.

    Raises:
        Refused: a pool is missing or shared, a foreign file is in the way, or space is short.
    """
    pools = tuple(pools)
    for file in command.files:
        if command.kind == "cold" or file.role is not FileRole.NVRAM:
            _require_own_folder(file, nvram_dir)
    placed = [
        _place_of_libvirt(file, nvram_dir)
        if command.kind == "live" and file.role is FileRole.NVRAM
        else _place(command, file, pools, host_name)
        for file in command.files
    ]
    _require_space(command, placed, host_name)
    return tuple(placed)


def _require_own_folder(file: StorageFile, nvram_dir: str) -> None:
    """Nothing is written outside of pools but UEFI variables, and these where they belong."""
    where = PurePosixPath(file.path)
    outside = file.role is FileRole.NVRAM and not file.pool_name
    if where.name in {"", ".."} or (outside and str(where.parent) != nvram_dir):
        raise Refused(
            f"{file.path} is no place for a server's file here: use {nvram_dir} or a pool"
        )


def _place(
    command: PrepareCommand, file: StorageFile, pools: tuple[StoragePool, ...], host_name: str
) -> ArrivingFile:
    if file.role is FileRole.NVRAM and not file.pool_name:
        path = file.path
    else:
        pool = _pool(file, pools, host_name)
        path = f"{pool.path.rstrip('/')}/{PurePosixPath(file.path).name}"
        if file.role is FileRole.BACKING and path != file.path:
            raise Refused(
                f"the image above {file.path} names it by that path, and the pool "
                f"{file.pool_name!r} is at {pool.path} on {host_name}: use a pool with the same "
                "path on both hosts"
            )
    present = _present(file, path, host_name)
    cold = command.kind == "cold" and not present
    return ArrivingFile(
        file=IncomingFile(
            source_path=file.path,
            path=path,
            role=file.role,
            disk_target=file.disk_target,
            format=file.format,
        ),
        pool_name=file.pool_name,
        partial_path=partial_path(path, command.migration_id) if cold else "",
        made=not present,
    )


def _place_of_libvirt(file: StorageFile, nvram_dir: str) -> ArrivingFile:
    """UEFI variables of a live migration: libvirt makes them, and we remove them if it fails.

    Hosts may share their folder, and then the source's file is seen here too: what is there before
    is nobody's to remove.
    """
    foreign = not file.pool_name and str(PurePosixPath(file.path).parent) != nvram_dir
    present = foreign or os.path.lexists(file.path)
    return ArrivingFile(
        file=IncomingFile(
            source_path=file.path, path=file.path, role=FileRole.NVRAM, present=present
        ),
        pool_name=file.pool_name,
        partial_path="",
        made=not present,
    )


def partial_path(path: str, migration_id: str) -> str:
    """Where a file is while it is copied: hidden, in the same folder."""
    whole = PurePosixPath(path)
    return str(whole.with_name(f".{whole.name}.godwit-{migration_id}"))


def _pool(file: StorageFile, pools: tuple[StoragePool, ...], host_name: str) -> StoragePool:
    pool = next((one for one in pools if one.name == file.pool_name), None)
    if pool is None:
        names = ", ".join(one.name for one in pools) or "none"
        raise Refused(
            f"{host_name} has no active pool {file.pool_name!r} for {file.path}: it has {names}"
        )
    if pool.shared:
        raise Refused(
            f"the pool {pool.name!r} is shared on {host_name} and holds {file.path} of the source "
            "alone: declare it the same way on both hosts"
        )
    if not pool.holds_files:
        raise Refused(
            f"the pool {pool.name!r} on {host_name} is of type {pool.kind} and takes no file such "
            f"as {file.path}: use a pool of type dir"
        )
    return pool


def _present(file: StorageFile, path: str, host_name: str) -> bool:
    """Whether an equal-sized image of a cache or medium is there; any other file is refused."""
    if not os.path.lexists(path):
        return False
    size = os.stat(path, follow_symlinks=False).st_size  # noqa: PTH116
    if file.role in {FileRole.BACKING, FileRole.MEDIA} and size == file.file_bytes:
        return True
    raise Refused(
        f"{path} is there already on {host_name} with {size} bytes, and no migration of this "
        "server made it: move it away or choose another host"
    )


def _require_space(command: PrepareCommand, placed: list[ArrivingFile], host_name: str) -> None:
    """Each file system must take the files at their full size.

    A sparse file may grow to it later, when nobody looks.
    """
    needed: dict[int, int] = {}
    folders: dict[int, Path] = {}
    for file, one in zip(command.files, placed, strict=True):
        if not one.made:
            continue
        folder = Path(one.file.path).parent
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        size = file.virtual_bytes if command.kind == "live" else file.file_bytes
        needed[device] = needed.get(device, 0) + size
        folders.setdefault(device, folder)
    for device, size in needed.items():
        status = os.statvfs(folders[device])
        free = status.f_bavail * status.f_frsize
        if size > free:
            raise Refused(
                f"{command.server_name!r} needs {_gib(size)} in {folders[device]} on {host_name}, "
                f"its disks at full size, and {_gib(free)} are free there"
            )


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB ({size} bytes)"


def with_present_digest(one: ArrivingFile) -> ArrivingFile:
    """Digest of a file that is there already. Blocks while it reads it.

    Raises:
        OSError: it cannot be read.
    """
    if one.made:
        return one
    file = msgspec.structs.replace(one.file, present_digest=file_digest(one.file.path))
    return msgspec.structs.replace(one, file=file)


def make_empty(command: PrepareCommand, placed: Iterable[ArrivingFile]) -> None:
    """Make the empty images that a live migration fills. Blocks.

    Raises:
        Refused: QEMU's or the system's own text.
    """
    for file, one in zip(command.files, placed, strict=True):
        if not one.made or file.role is FileRole.NVRAM:
            continue
        path = Path(one.file.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as image:
                path.chmod(0o600)
                if file.format == "raw":
                    image.truncate(file.virtual_bytes)
            if file.format != "raw":
                make_image(one.file.path, file.format, file.virtual_bytes)
        except ImageUnread as error:
            raise Refused(error.message) from None
        except OSError as error:
            raise Refused(f"{path} cannot be made: {error.strerror}") from None
