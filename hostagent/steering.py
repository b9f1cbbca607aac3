"""Steers a running job: its bandwidth cap, and its downtime limit if it is to finish quickly."""

import asyncio
import logging

from hostagent.bandwidth import Mirror, divided, holding_text
from hostagent.driver import LibvirtDriver
from hostagent.ledger import Ledger
from hostagent.quick_finish import raised_limit_ms
from wire.errors import GodwitError
from wire.migration import PostcopyState, Sample

_log = logging.getLogger(__name__)


class Steering:
    """Of one job. A cap is divided anew whenever a stream begins, is ready, or the cap changes."""

    def __init__(self, driver: LibvirtDriver, ledger: Ledger) -> None:
        """Nothing is known of what holds before the first look.

        Args:
            driver: this host's libvirt.
            ledger: the job's; it tells what is to hold, and is told what does.
        """
        self._driver = driver
        self._ledger = ledger
        self._server_id = ledger.job.server_id
        self._limiting = asyncio.Lock()
        self._held: tuple[int | None, bool] | None = None
        self._held_memory_mib = 0

    async def steer(self, sample: Sample, *, new_pass: bool) -> None:
        """Hold the cap, and raise the downtime limit if that lets the migration finish.

        What libvirt refuses is logged, and tried again at the next look.

        Args:
            sample: taken just now.
            new_pass: whether it is the first one in its pass.
        """
        entry = self._ledger.entry
        try:
            if entry.max_bandwidth_bytes_per_s is not None or entry.cap_lifted:
                await self._hold_cap(
                    entry.max_bandwidth_bytes_per_s, memory_copied=sample.pass_number > 0
                )
            if new_pass and entry.command.options.quickly_finish:
                await self._finish_quickly(sample)
        except GodwitError as error:
            _log.warning("%s: not steered: %s", entry.job.migration_id, error.message)

    def cap(self, total_bytes_per_s: int | None) -> None:
        """Hold another cap, or none, from the next look on."""
        self._ledger.put(
            max_bandwidth_bytes_per_s=total_bytes_per_s, cap_lifted=total_bytes_per_s is None
        )
        self.say_what_holds()

    def say_what_holds(self) -> None:
        """Note it if libvirt cannot hold the cap exactly."""
        total_bytes_per_s = self._ledger.entry.max_bandwidth_bytes_per_s
        said = "" if total_bytes_per_s is None else holding_text(total_bytes_per_s)
        if said:
            self._ledger.note(said)

    async def limit_downtime(self, limit_ms: int) -> None:
        """Set the longest pause that QEMU may plan, because a person wants it.

        Raises:
            GodwitError: ``LIBVIRT``.
        """
        async with self._limiting:
            await self._driver.limit_downtime(self._server_id, limit_ms)
            self._ledger.put(downtime_limit_ms=limit_ms)

    async def _finish_quickly(self, sample: Sample) -> None:
        async with self._limiting:
            entry = self._ledger.entry
            if entry.job.postcopy is not PostcopyState.NOT:
                return
            raised_ms = raised_limit_ms(
                entry.log.passes,
                sample,
                limit_ms=entry.downtime_limit_ms,
                bound_ms=entry.command.options.downtime_bound_ms,
            )
            if raised_ms is None:
                return
            await self._driver.limit_downtime(self._server_id, raised_ms)
            self._ledger.put(downtime_limit_ms=raised_ms)
        self._ledger.note(f"downtime limit raised from {entry.downtime_limit_ms} to {raised_ms} ms")

    async def _hold_cap(self, total_bytes_per_s: int | None, *, memory_copied: bool) -> None:
        """Let what is sent now be under the cap, whatever was before.

        What gets less is told first, so that the sum is never above the cap.
        """
        disks = bool(self._ledger.entry.command.disks)
        if self._held == (total_bytes_per_s, memory_copied) and (memory_copied or not disks):
            return
        mirrors = await self._driver.mirrors(self._server_id) if disks else ()
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

    async def _limit_memory(self, mib_per_s: int, total_bytes_per_s: int | None) -> None:
        if mib_per_s != self._held_memory_mib:
            await self._driver.limit_memory(self._server_id, mib_per_s, postcopy=False)
            self._held_memory_mib = mib_per_s
        if self._ledger.entry.no_postcopy:
            return
        if self._held is None or self._held[0] != total_bytes_per_s:
            # post-copy has a limit of its own, and no disk is copied any more by then
            whole_mib = divided(total_bytes_per_s, (), memory_copied=True).memory_mib_per_s
            await self._driver.limit_memory(self._server_id, whole_mib, postcopy=True)


def _gets_less(mirror: Mirror, share: int) -> bool:
    """Of speed and share alike 0 means no limit."""
    return bool(share) and (not mirror.speed_bytes_per_s or share < mirror.speed_bytes_per_s)
