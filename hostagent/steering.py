"""Steers a running job: its bandwidth cap, and its downtime limit if it is to finish quickly."""

from hostagent.bandwidth import Mirror, divided
from hostagent.driver import LibvirtDriver
from hostagent.journal import Entry
from hostagent.quick_finish import raised_limit_ms
from wire.migration import PostcopyState, Sample


class Steering:
    """Of one job. A cap is divided anew whenever a stream begins, is ready, or the cap changes."""

    def __init__(self, driver: LibvirtDriver, entry: Entry) -> None:
        """Nothing is known of what holds before the first look.

        Args:
            driver: this host's libvirt.
            entry: the job's.
        """
        self._driver = driver
        self._server_id = entry.job.server_id
        self._disks = bool(entry.command.disks)
        self._postcopy = not entry.no_postcopy
        """Post-copy has a limit of its own."""
        self._held: tuple[int, bool] | None = None
        self._held_memory_mib = 0

    async def hold_cap(self, total_bytes_per_s: int, *, memory_copied: bool) -> None:
        """Let what is sent now be under the cap, whatever was before.

        What gets less is told first, so that the sum is never above the cap.

        Raises:
            GodwitError: ``LIBVIRT``; it may hold for some streams and not for others.
        """
        if self._held == (total_bytes_per_s, memory_copied) and (memory_copied or not self._disks):
            return
        mirrors = await self._driver.mirrors(self._server_id) if self._disks else ()
        shares = divided(total_bytes_per_s, mirrors, memory_copied=memory_copied)
        changes = [
            (mirror, shares.mirrors[mirror.device])
            for mirror in mirrors
            if mirror.speed_bytes_per_s != shares.mirrors[mirror.device]
        ]
        for mirror, share in changes:
            if _gets_less(mirror, share):
                await self._driver.limit_mirror(self._server_id, mirror.device, share)
        await self._limit_memory(shares.memory_mib_per_s, total_bytes_per_s)
        for mirror, share in changes:
            if not _gets_less(mirror, share):
                await self._driver.limit_mirror(self._server_id, mirror.device, share)
        self._held = (total_bytes_per_s, memory_copied)

    async def finish_quickly(self, entry: Entry, sample: Sample) -> int | None:
        """Raise the downtime limit at the beginning of a pass, if that lets it be the last.

        Answers the limit that holds now, in ms, or None if it was left.

        Raises:
            GodwitError: ``LIBVIRT``.
        """
        if entry.job.postcopy is not PostcopyState.NOT:
            return None
        raised_ms = raised_limit_ms(
            entry.log.passes,
            sample,
            limit_ms=entry.downtime_limit_ms,
            bound_ms=entry.command.options.downtime_bound_ms,
        )
        if raised_ms is not None:
            await self._driver.limit_downtime(self._server_id, raised_ms)
        return raised_ms

    async def _limit_memory(self, mib_per_s: int, total_bytes_per_s: int) -> None:
        if mib_per_s != self._held_memory_mib:
            await self._driver.limit_memory(self._server_id, mib_per_s, postcopy=False)
            self._held_memory_mib = mib_per_s
        if self._postcopy and (self._held is None or self._held[0] != total_bytes_per_s):
            # no disk is copied any more by then
            whole_mib = divided(total_bytes_per_s, (), memory_copied=True).memory_mib_per_s
            await self._driver.limit_memory(self._server_id, whole_mib, postcopy=True)


def _gets_less(mirror: Mirror, share: int) -> bool:
    return not mirror.speed_bytes_per_s or share < mirror.speed_bytes_per_s
