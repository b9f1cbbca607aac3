"""Disks: a shared one stays where it is, a local one needs a place on the target."""

from collections import Counter

from backend.scheduler.move import HostState, Move
from wire.fleet import Disk, HostFacts, StoragePool

_MIB = 1 << 20
_MEDIA = {"cdrom", "floppy"}


def carried(disks: tuple[Disk, ...], kind: str) -> tuple[Disk, ...]:
    """List the disks that a move has to copy: local ones, and for a cold move local media."""
    return tuple(
        disk
        for disk in disks
        if disk.source and not disk.shared and (kind == "cold" or disk.device not in _MEDIA)
    )


def pool_needs(disks: tuple[Disk, ...], kind: str) -> Counter[str]:
    """Sum up what a move needs in each local pool: name to bytes, disks at their full sizes."""
    needs: Counter[str] = Counter()
    for disk in carried(disks, kind):
        needs[disk.pool_name] += max(disk.capacity_bytes, disk.allocation_bytes)
    return needs


class InPools:
    """Every disk lies in a storage pool, so that it is known where it belongs elsewhere."""

    name = "disks"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        stray = [
            f"{disk.target} ({disk.source})"
            for disk in carried(move.server.disks, move.kind)
            if not disk.pool_id
        ]
        if not stray:
            return ""
        return (
            f"{move.server.name} has {', '.join(stray)} in no storage pool of "
            f"{move.source.name}, so nothing says where it would go; put it into a pool"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del move, host
        return "", ""


class SharedDisks:
    """No disk lies where only the source reaches it: nobody can copy from a host that is dead."""

    name = "shared_disks"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        local = _local(move)
        if not local:
            return ""
        return f"{move.server.name} has {', '.join(local)}, which only {move.source.name} reaches"

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return "shared", ", ".join(_local(move))


class SharedPools:
    """The target has every shared pool of the server, recognised by the pool's UUID."""

    name = "shared_pools"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        reachable = {pool.pool_id for pool in host.facts.pools if pool.shared}
        missing = [
            f"{disk.target} in pool {disk.pool_name} ({disk.pool_id})"
            for disk in move.server.disks
            if disk.source and disk.shared and disk.pool_id not in reachable
        ]
        if not missing:
            return ""
        return (
            f"{move.server.name} has {', '.join(missing)} on {move.source.name}, "
            f"{host.facts.name} has no such shared pool"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted = {disk.pool_name for disk in move.server.disks if disk.source and disk.shared}
        found = {pool.name for pool in host.facts.pools if pool.shared}
        return ", ".join(sorted(wanted)), ", ".join(sorted(found)) if wanted else ""


class LocalPools:
    """The target has a local pool of each name, with room for the disks at their full sizes.

    What moves under way will take there is not free. Disks that are half copied count twice for
    a while, as promised and as used: that errs on the safe side.
    """

    name = "local_pools"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        reasons = []
        for pool_name, needed in _local_needs(move).items():
            pool = _local_pool(host.facts, pool_name)
            if pool is None:
                reasons.append(
                    f"{move.server.name} has local disks in pool {pool_name}, "
                    f"{host.facts.name} has no local pool of this name"
                )
                continue
            free, promised = _free(pool, host)
            if needed > free:
                reasons.append(
                    f"{move.server.name} needs {needed // _MIB} MiB in pool {pool_name}, "
                    f"{host.facts.name} has {free // _MIB} MiB free there{promised}"
                )
        return "; ".join(reasons)

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        wanted, found = [], []
        for pool_name, needed in _local_needs(move).items():
            pool = _local_pool(host.facts, pool_name)
            wanted.append(f"{needed // _MIB} MiB in {pool_name}")
            free = "no pool" if pool is None else f"{_free(pool, host)[0] // _MIB} MiB free"
            found.append(f"{free} {'called' if pool is None else 'in'} {pool_name}")
        return ", ".join(wanted), ", ".join(found)


def _local(move: Move) -> list[str]:
    return [
        f"{disk.target} ({disk.source})"
        for disk in move.server.disks
        if disk.source and not disk.shared
    ]


def _local_needs(move: Move) -> Counter[str]:
    needs = pool_needs(move.server.disks, move.kind)
    del needs[""]
    return needs


def _local_pool(facts: HostFacts, name: str) -> StoragePool | None:
    return next((pool for pool in facts.pools if pool.name == name and not pool.shared), None)


def _free(pool: StoragePool, host: HostState) -> tuple[int, str]:
    promised = host.incoming_pool_bytes.get(pool.name, 0)
    free = max(0, pool.available_bytes - promised)
    if not promised:
        return free, ""
    return free, f" ({promised // _MIB} MiB of it promised to disks on their way)"
