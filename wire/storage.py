"""A server's files, and how a target gets those that only its source has.

A live migration fills the disks that the target made empty (:class:`PrepareCommand`). A cold one is
pulled: the source opens the files over NBD (:class:`ExportCommand`), the target copies them
(:class:`PullCommand`), both digests are compared, the target defines the server
(:class:`DefineCommand`), and the source gives it up (:class:`ReleaseCommand`).
"""

from enum import StrEnum
from typing import Literal

import msgspec

from wire.migration import Kept


class FileRole(StrEnum):
    """What a file is to a server."""

    DISK = "disk"
    BACKING = "backing"
    """An image below a disk's: of a snapshot, or of an image cache."""
    MEDIA = "media"
    """A CD-ROM's or floppy's image."""
    NVRAM = "nvram"


class StorageFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a server needs."""

    path: str
    role: FileRole
    disk_target: str = ""
    """``vda``; empty for NVRAM."""
    format: str = "raw"
    pool_name: str = ""
    """Empty for a file in no pool."""
    shared: bool = False
    """Lies in a shared pool: it stays where it is."""
    virtual_bytes: int = 0
    """What the guest sees; what a live copy needs at most."""
    file_bytes: int = 0
    """Length of the file, holes included."""
    data_bytes: int = 0
    """Length without holes: what a cold copy sends."""
    modified_ns: int = 0
    """``st_mtime_ns``: a copy of a file that was changed since does not count."""
    owned: bool = True
    """No other server of its host uses it and it is no image of a cache: it may be deleted once
    the server has moved."""


class ServerStorage(msgspec.Struct, frozen=True, kw_only=True):
    """All that has to be there for a server to be defined on another host."""

    server_id: str
    name: str
    definition: str
    """Domain XML as another host needs it (``INACTIVE | MIGRATABLE``)."""
    snapshots: tuple[str, ...] = ()
    """XML of libvirt's records of snapshots, parents first."""
    files: tuple[StorageFile, ...] = ()
    refusal: str = ""
    """Why this server cannot be moved cold with what it has, in one sentence; empty if it can."""
    disk_refusal: str = ""
    """Why a disk cannot be copied to another host, on or off, in one sentence; empty if all can."""


class PrepareCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make room for a server's local files. Leftovers of its earlier migrations are removed."""

    migration_id: str
    server_id: str
    server_name: str
    generation: int
    kind: Literal["live", "cold"]
    files: tuple[StorageFile, ...]
    """Those that are not shared. For a live migration disks, which are made empty, and the UEFI
    variables, which libvirt makes itself."""


class IncomingFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where a file of the source will be on the target."""

    source_path: str
    path: str
    role: FileRole
    disk_target: str = ""
    format: str = "raw"
    present_digest: str = ""
    """Digest of a file that is there already under this name, for a backing image or a medium:
    it serves as it is if the source's is equal."""
    present: bool = False
    """UEFI variables of a live migration: a file is there already, perhaps the source's own."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """What a target holds ready."""

    migration_id: str
    server_id: str
    files: tuple[IncomingFile, ...]


class DefineCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put the arrived files in their places and define the server, which stays stopped."""

    server_id: str
    generation: int
    definition: str
    snapshots: tuple[str, ...] = ()


class DiscardCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Remove all that a migration made here, unless the server belongs to this host by now."""

    server_id: str
    generation: int
    keep: bool = False
    """Move it aside instead: definition, copied disks, QEMU's log and the job's record."""
    job_record: str = ""
    """JSON to keep with it."""


class Leftovers(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a host still has files of a migration to clear up, which it does by itself."""

    migration_id: str
    held: bool


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept; empty when all is gone."""

    kept: tuple[Kept, ...] = ()


class ExportCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open a stopped server's files for reading over NBD with TLS."""

    migration_id: str
    server_id: str
    generation: int
    paths: tuple[str, ...]
    digest_first: tuple[str, ...] = ()
    """Files whose digest decides whether they need to be copied at all."""


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """Files that are open for reading. Digests appear one after the other."""

    migration_id: str
    server_id: str
    port: int
    """Of the NBD server; 0 once closed."""
    names: dict[str, str]
    """Path to NBD export name."""
    digests: dict[str, str] = {}
    """Path to digest: SHA-256 over one line for each 4 MiB, its SHA-256 in hexadecimal or, for one
    of zeros, nothing."""
    changed: str = ""
    """Why a copy made of them does not count, in one sentence: the server was started."""


class PullFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file to copy."""

    source_path: str
    export_name: str
    path: str
    """Where it will be once it is whole."""
    file_bytes: int
    data_bytes: int
    modified_ns: int


class PullCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Copy a stopped server's files from its source.

    After a break it is sent again, and the copy goes on where it was.
    """

    migration_id: str
    server_id: str
    generation: int
    source_host_name: str
    """Name in the source's certificate."""
    source_address: str
    port: int
    files: tuple[PullFile, ...]
    max_bandwidth_bytes_per_s: int | None = None


class ReleaseCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give up a server that has moved away: undefine it, and delete the files it leaves behind.

    Refused while the record names this host as owner, or while the guest is on here.
    """

    migration_id: str
    generation: int
    """Of the new owner."""
    paths: tuple[str, ...] = ()
    """Files that only this server used."""
