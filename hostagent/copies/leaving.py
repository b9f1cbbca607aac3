"""What a server that has moved away leaves behind, and which of it may be deleted."""

from collections.abc import Iterable
from pathlib import Path

import libvirt
import msgspec

from hostagent.copies import definition as domain_xml
from hostagent.copies.domains import saved_definition
from hostagent.copies.storage import neighbours, used_paths
from hostagent.pools import holding_pool, read_pools
from wire.errors import bad_request, conflict
from wire.fleet import StoragePool


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent notes of a server that is about to leave, for the time after."""

    migration_id: str
    server_id: str
    server_name: str
    paths: tuple[str, ...]
    """Files that only this server uses."""
    nvram_path: str = ""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides whether a file may be deleted."""

    pools: tuple[StoragePool, ...]
    used_by_others: tuple[domain_xml.Source, ...]
    nvram_path: str


def surroundings(
    handle: libvirt.virConnect, server_id: str, shared_pools: tuple[str, ...]
) -> Surroundings:
    """Ask libvirt. Blocks."""
    definition = saved_definition(handle, server_id)
    return Surroundings(
        pools=read_pools(handle, declared_shared=shared_pools),
        used_by_others=neighbours(handle, server_id),
        nvram_path=domain_xml.nvram_path(definition) if definition else "",
    )


def deletable(paths: Iterable[str], around: Surroundings, *, noted_nvram: str) -> tuple[str, ...]:
    """Which of the given files may be deleted: those that nobody else here uses. Blocks.

    Raises:
        GodwitError: ``BAD_REQUEST`` if one is none of a server's, or other hosts see it too.
    """
    nvram = {around.nvram_path, noted_nvram} - {""}
    paths = tuple(paths)
    for path in paths:
        pool = holding_pool(around.pools, source=path)
        if path in nvram:
            continue
        if pool is None or ".." in Path(path).parts:
            names = ", ".join(one.path for one in around.pools)
            raise bad_request(
                f"{path} is not deleted: it lies in no pool of this host ({names})",
            )
        if pool.shared:
            raise bad_request(
                f"{path} is not deleted: the pool {pool.name!r} is shared with other hosts",
            )
    used = used_paths(around.used_by_others)
    return tuple(path for path in paths if path not in used)


def delete(paths: Iterable[str]) -> None:
    """Delete files; one that is gone is no error. Blocks.

    Raises:
        GodwitError: the system's own text.
    """
    for path in paths:
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise conflict(f"{path} cannot be deleted: {error.strerror}") from None
