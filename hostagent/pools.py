"""Storage pools, and which of them holds a disk."""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

import libvirt

from wire.fleet import StoragePool

_NETWORK_TYPES = {
    "gluster",
    "iscsi",
    "iscsi-direct",
    "netfs",
    "rbd",
    "sheepdog",
    "vstorage",
}
"""libvirt's pool types whose contents other hosts reach as well."""


def read_pools(
    handle: libvirt.virConnect, *, declared_shared: Collection[str]
) -> tuple[StoragePool, ...]:
    """All active pools, by name. Blocks.

    A pool counts as shared if its name is declared so or libvirt's pool type is of a network kind.
    """
    pools = []
    for pool in handle.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        try:
            xml, info = pool.XMLDesc(), pool.info()
        except libvirt.libvirtError:
            continue  # stopped or undefined since it was listed; an event follows
        root = ET.fromstring(xml)  # noqa: S314 - libvirtd's own output
        name = root.findtext("name", "")
        pools.append(
            StoragePool(
                pool_id=root.findtext("uuid", ""),
                name=name,
                shared=name in declared_shared or root.get("type") in _NETWORK_TYPES,
                path=root.findtext("target/path", "") or root.findtext("source/name", ""),
                capacity_bytes=info[1],
                available_bytes=info[3],
                kind=root.get("type", ""),
            )
        )
    return tuple(sorted(pools, key=lambda pool: pool.name))


def holding_pool(
    pools: Iterable[StoragePool], *, source: str, pool_name: str = ""
) -> StoragePool | None:
    """The pool that holds a disk image.

    Args:
        pools: this host's pools.
        source: path, or network name such as ``pool/image``.
        pool_name: the pool that the domain's XML names, if it does.
    """
    folder = str(PurePosixPath(source).parent)
    for pool in pools:
        if pool_name and pool.name == pool_name:
            return pool
        if not pool_name and source and folder == pool.path.rstrip("/"):
            return pool
    return None
