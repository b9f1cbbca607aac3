"""Insisting that a post-copy which broke off goes on, once a person wants it to.

One try is not enough: libvirt on the target refuses as long as its QEMU takes the broken connection
for alive, and neither host may have noticed yet that the link is whole again.
"""

import asyncio
import logging
import math
import time

from backend.migrations.drive import Drive
from backend.migrations.guests import side_on
from backend.migrations.outcome import HALVES, Side
from wire.agent import BreakOffCommand, JobCommand
from wire.errors import GodwitError
from wire.migration import Migration, PostcopyState

_log = logging.getLogger(__name__)

_AGAIN_S = 3.0
_NOTICED_S = 1.0
"""What libvirt needs at most to hear from its QEMU that a connection is gone."""


class Recovery:
    """Tries again and again for one migration."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._tried_s = -math.inf

    async def go_on(self, migration: Migration) -> None:
        """Try once, if it is wanted and time to."""
        now_s = time.monotonic()
        if not migration.recovery_requested_by or now_s - self._tried_s < _AGAIN_S:
            return
        self._tried_s = now_s
        try:
            await self._try(migration)
        except GodwitError as error:
            _log.warning("%s: not recovered yet: %s", migration.migration_id, error.message)

    async def _try(self, migration: Migration) -> None:
        """Connect both halves again.

        A target that has not begun yet is left alone: no memory is missing there that QEMU's own
        connection does not bring once the link is whole, and libvirt recovers no such target.
        """
        drive, server_id = self._drive, migration.server_id
        target, _ = await side_on(
            drive,
            server_id,
            migration.target_host_id,
            migration.target_host_name,
        )
        if target not in HALVES or not await drive.ask_for_job(migration):
            return
        job = drive.jobs.latest(migration.migration_id)
        if job is None or job.recovering or job.postcopy is not PostcopyState.PAUSED:
            return
        if target is Side.POSTCOPY:
            await self._break_off(migration)
        command = JobCommand(server_id=server_id, generation=migration.generation)
        drive.jobs.put(await drive.source(migration).recover(migration.migration_id, command))

    async def _break_off(self, migration: Migration) -> None:
        """Have the target let go of its connection; without that, only time makes it."""
        source = self._drive.fleet.facts.get(migration.source_host_id)
        if source is None:
            return
        command = BreakOffCommand(generation=migration.generation, source_address=source.address)
        try:
            await self._drive.target(migration).break_off(migration.server_id, command)
        except GodwitError as error:
            if error.message not in {note.text for note in migration.notes}:
                await self._drive.note(migration.migration_id, error.message)
        await asyncio.sleep(_NOTICED_S)
