"""All that a server needs on another host: its definition, its snapshots, and every file."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import libvirt
import msgspec

from hostagent.copies import definition as domain_xml
from hostagent.copies.images import ImageUnread, image_chain
from hostagent.guest import find_domain
from hostagent.pools import holding_pool
from wire.fleet import StoragePool
from wire.storage import FileRole, ServerStorage, StorageFile

_log = logging.getLogger(__name__)

_SAVED = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_MIGRATABLE


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What libvirt tells of a server and of its neighbours."""

    definition: str
    snapshots: tuple[str, ...]
    drives: tuple[domain_xml.Source, ...]
    """Volumes are resolved to paths."""
    other_drives: tuple[domain_xml.Source, ...]
    """Of every other domain of the host, and their NVRAM files."""
    saved_state: bool
    """Whether its memory was saved to disk (``virDomainManagedSave``)."""


def describe(handle: libvirt.virConnect, server_id: str) -> Described | None:
    """Ask libvirt; None if this host does not have the domain. Blocks."""
    domain = find_domain(handle, server_id)
    if domain is None:
        return None
    return Described(
        definition=domain.XMLDesc(_SAVED),
        snapshots=tuple(_snapshots(domain)),
        drives=_drives(handle, domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)),
        other_drives=neighbours(handle, server_id),
        saved_state=bool(domain.hasManagedSaveImage()),
    )


def neighbours(handle: libvirt.virConnect, server_id: str) -> tuple[domain_xml.Source, ...]:
    """Drives and NVRAM files of every other domain of the host. Blocks."""
    found: list[domain_xml.Source] = []
    for other in handle.listAllDomains():
        try:
            if other.UUIDString() == server_id:
                continue
            definition = other.XMLDesc()
        except libvirt.libvirtError:
            continue  # gone since it was listed
        found += _drives(handle, definition)
        if nvram := domain_xml.nvram_path(definition):
            found.append(domain_xml.Source(target="", kind="file", path=nvram))
    return tuple(found)


def _snapshots(domain: libvirt.virDomain) -> list[str]:
    found = []
    for snapshot in domain.listAllSnapshots(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL):
        xml = snapshot.getXMLDesc()
        found.append(domain_xml.marked_current(xml) if snapshot.isCurrent() else xml)
    return found


def _drives(handle: libvirt.virConnect, definition: str) -> tuple[domain_xml.Source, ...]:
    return tuple(_resolved(handle, drive) for drive in domain_xml.sources(definition))


def _resolved(handle: libvirt.virConnect, drive: domain_xml.Source) -> domain_xml.Source:
    if drive.kind != "volume":
        return drive
    try:
        volume = handle.storagePoolLookupByName(drive.pool_name).storageVolLookupByName(drive.path)
        kinds = {libvirt.VIR_STORAGE_VOL_FILE: "file", libvirt.VIR_STORAGE_VOL_BLOCK: "block"}
        kind = kinds.get(volume.info()[0], "network")
        return msgspec.structs.replace(drive, kind=kind, path=volume.path())
    except libvirt.libvirtError:
        return drive


def server_storage(
    described: Described, server_id: str, pools: Iterable[StoragePool], *, nvram_dir: str
) -> ServerStorage:
    """Look at every file. Blocks: one ``qemu-img`` for each image that is not raw.

    Args:
        described: what libvirt tells.
        server_id: of the server.
        pools: this host's.
        nvram_dir: libvirt's folder of UEFI variables.
    """
    name, _ = domain_xml.name_and_id(described.definition)
    pools = tuple(pools)
    used = used_paths(described.other_drives)
    files: list[StorageFile] = []
    refusals = [f"{name!r}: {clause}" for clause in domain_xml.obstacles(described.definition)]
    of_disks: list[str] = []
    if described.saved_state:
        refusals.append(f"{name!r} has its memory saved on disk: start it, then shut it down")
    for snapshot in described.snapshots:
        refusals += [
            f"the snapshot {domain_xml.snapshot_name(snapshot)!r} keeps memory in {path}, "
            "which stays behind: delete that snapshot first"
            for path in domain_xml.memory_files(snapshot)
        ]
    for each in described.drives:
        drive = _as_it_is(each)
        try:
            found = _drive_files(drive, pools, used)
        except ImageUnread as error:
            refusals.append(error.message)
            of_disks.append(error.message)
            continue
        known = {one.path for one in files}
        files += [one for one in found if one.path not in known]
        refusals += [_refusal(drive, one, pools) for one in found]
        # a live copy is flattened: what is below the disk does not matter
        of_disks.append(_refusal(drive, found[0], pools))
    nvram = domain_xml.nvram_path(described.definition)
    if nvram and Path(nvram).exists():
        variables = _measured(nvram, FileRole.NVRAM, pools=pools, owned=nvram not in used)
        stray = not variables.pool_name and str(PurePosixPath(nvram).parent) != nvram_dir
        files.append(msgspec.structs.replace(variables, owned=variables.owned and not stray))
        if stray:
            refusals.append(
                f"{name!r} has its UEFI variables in {nvram}: move them to {nvram_dir} or into a "
                "storage pool"
            )
    return ServerStorage(
        server_id=server_id,
        name=name,
        definition=described.definition,
        snapshots=described.snapshots,
        files=tuple(files),
        refusal=next((one for one in refusals if one), ""),
        disk_refusal=next((one for one in of_disks if one), ""),
    )


def _as_it_is(drive: domain_xml.Source) -> domain_xml.Source:
    """QEMU bears a block device under the name of a file."""
    if drive.kind == "file" and Path(drive.path).is_block_device():
        return msgspec.structs.replace(drive, kind="block")
    return drive


def used_paths(drives: Iterable[domain_xml.Source]) -> frozenset[str]:
    """Every file below these drives, images of their chains included. Blocks."""
    paths = set()
    for drive in drives:
        paths.add(drive.path)
        if drive.kind in {"file", "block"} and drive.format != "raw" and not drive.media:
            try:
                paths.update(image.path for image in image_chain(drive.path, drive.format))
            except ImageUnread as error:
                _log.warning("%s", error.message)
    return frozenset(paths)


def _drive_files(
    drive: domain_xml.Source, pools: tuple[StoragePool, ...], used: frozenset[str]
) -> list[StorageFile]:
    role = FileRole.MEDIA if drive.media else FileRole.DISK
    if drive.kind != "file":
        pool = holding_pool(pools, source=drive.path, pool_name=drive.pool_name)
        return [
            StorageFile(
                path=drive.path,
                role=role,
                disk_target=drive.target,
                format=drive.format,
                pool_name=pool.name if pool else "",
                shared=bool(pool and pool.shared),
                owned=False,
            )
        ]
    if not Path(drive.path).exists():
        raise ImageUnread(drive.path, "no such file")
    own = not drive.media and drive.path not in used
    top = _measured(drive.path, role, drive=drive, pools=pools, owned=own)
    if drive.format == "raw" or drive.media:
        return [top]
    first, *below = image_chain(drive.path, drive.format)
    folder = PurePosixPath(drive.path).parent
    return [
        msgspec.structs.replace(top, virtual_bytes=first.virtual_bytes),
        *(
            msgspec.structs.replace(
                _measured(
                    image.path,
                    FileRole.BACKING,
                    drive=msgspec.structs.replace(drive, format=image.format),
                    pools=pools,
                    owned=image.path not in used and PurePosixPath(image.path).parent == folder,
                ),
                virtual_bytes=image.virtual_bytes,
            )
            for image in below
        ),
    ]


def _measured(
    path: str,
    role: FileRole,
    *,
    drive: domain_xml.Source | None = None,
    pools: tuple[StoragePool, ...] = (),
    owned: bool,
) -> StorageFile:
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is libvirt's, as it is
    except OSError as error:
        raise ImageUnread(path, error.strerror or str(error)) from None
    pool = holding_pool(pools, source=path)
    return StorageFile(
        path=path,
        role=role,
        disk_target=drive.target if drive else "",
        format=drive.format if drive else "raw",
        pool_name=pool.name if pool else "",
        shared=bool(pool and pool.shared),
        virtual_bytes=status.st_size,
        file_bytes=status.st_size,
        data_bytes=min(status.st_blocks * 512, status.st_size),
        modified_ns=status.st_mtime_ns,
        owned=owned,
    )


def _refusal(drive: domain_xml.Source, file: StorageFile, pools: tuple[StoragePool, ...]) -> str:
    """Why a file cannot go to another host, in one sentence; empty if it can."""
    if file.shared:
        return ""
    names = ", ".join(pool.name for pool in pools) or "none"
    if file.pool_name == "":
        what = {"file": "the file", "block": "the block device", "network": "the network disk"}
        return (
            f"{drive.target} needs {what.get(drive.kind, 'the disk')} {file.path}, which is in no "
            f"storage pool of this host: move it into one of its pools ({names})"
        )
    if drive.kind != "file":
        return (
            f"{drive.target} is {file.path} of the pool {file.pool_name!r}, a {drive.kind} disk "
            "that only this host reaches: declare the pool shared if other hosts reach it, or "
            "convert the disk into a file"
        )
    return ""
