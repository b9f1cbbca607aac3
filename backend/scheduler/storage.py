"""Disks: each must lie in a shared pool that the target has too."""

from backend.scheduler.move import HostState, Move
from wire.fleet import Disk


def filled_disks(move: Move) -> tuple[Disk, ...]:
    """List the server's disks and media, without empty drives."""
    return tuple(disk for disk in move.server.disks if disk.source)


class LocalDisks:
    """No disk lies on storage that only the source has."""

    name = "local_disks"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        local = [
            f"{disk.target} in pool {disk.pool_name}"
            if disk.pool_id
            else f"{disk.target} ({disk.source}) in no pool"
            for disk in filled_disks(move)
            if not disk.shared
        ]
        if not local:
            return ""
        return (
            f"{move.server.name} has local disks on {move.source.name} ({', '.join(local)}), "
            "and live migration of local disks is not supported"
        )


class SharedPools:
    """The target has every shared pool of the server, recognised by the pool's UUID."""

    name = "shared_pools"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        reachable = {pool.pool_id for pool in host.facts.pools if pool.shared}
        missing = [
            f"{disk.target} in pool {disk.pool_name} ({disk.pool_id})"
            for disk in filled_disks(move)
            if disk.shared and disk.pool_id not in reachable
        ]
        if not missing:
            return ""
        return (
            f"{move.server.name} has {', '.join(missing)} on {move.source.name}, "
            f"{host.facts.name} has no such shared pool"
        )
