"""What a migration that goes on no more left: both hosts are asked until their words decide.

Nothing is settled on the source, and no guest is let run there, while the target holds a copy that
might still run: a libvirtd that hung may carry out what waits in it.
"""

import asyncio
import logging
import time

from backend.migrations.drive import ASK_AGAIN_S, Drive
from backend.migrations.ending import Finding
from backend.migrations.guests import ask
from backend.migrations.outcome import Side, Verdict
from wire.agent import ServerCommand
from wire.errors import GodwitError
from wire.migration import Migration

_log = logging.getLogger(__name__)

_PATIENCE_S = 60.0
"""libvirt removes a leftover on the target itself, at the latest when its keepalive (30 s) ends."""
_START_AGAIN_S = 2.0
"""Between two tries to start a guest anew."""

_OF_THE_SOURCE = {Verdict.RESUME, Verdict.STAYED}


class Decision:
    """Finds the end of one migration, and brings it about where that takes an act."""

    def __init__(self, drive: Drive, migration_id: str) -> None:
        self._drive = drive
        self._id = migration_id

    async def find(self) -> Finding | None:
        """Ask both hosts until what they say decides; None if the job turns out to go on."""
        try:
            return await self._find()
        finally:
            self._drive.fleet.put_waiting(self._id, "")

    async def _find(self) -> Finding | None:
        migration = await self._drive.reread(self._id)
        patience_ends_s = time.monotonic() + _PATIENCE_S
        told, before, was_dead = "", Verdict.WAIT, False
        while not (await self._drive.reread(self._id)).state.ended:
            patient = time.monotonic() < patience_ends_s
            finding = await ask(self._drive, migration, patient=patient)
            verdict = finding.judgement.verdict
            pair = f"source {finding.source}, target {finding.target}: {verdict}"
            if pair != told:
                _log.info("%s: %s", self._id, pair)
                told = pair
            # a switch-over may have been in flight when the target was asked, before the source
            twice = verdict is before
            if finding.judgement.leftover and verdict in _OF_THE_SOURCE:
                if twice or finding.source is Side.DEAD:
                    await self._remove_copy(migration)
            elif verdict is Verdict.RESUME and patient:
                if twice:
                    await self._resume(migration)
            elif self._died_with_target(migration, finding):
                await self._start(migration)
            elif verdict is not Verdict.WAIT and was_dead is (finding.source is Side.DEAD):
                return finding
            # the target's word counts only if it was given after the source's death was proven
            before, was_dead = verdict, finding.source is Side.DEAD
            await asyncio.sleep(ASK_AGAIN_S)
            ended = self._drive.jobs.ended(self._id)
            if finding.job_active and not finding.alone and not ended:
                return None
        return None

    async def _resume(self, migration: Migration) -> None:
        """Let the guest run again on the source, which the failed migration left paused."""
        command = ServerCommand(generation=migration.generation)
        try:
            await self._drive.source(migration).resume(migration.server_id, command)
        except GodwitError as error:
            _log.warning("%s: %s not resumed: %s", self._id, migration.server_name, error.message)

    async def _remove_copy(self, migration: Migration) -> None:
        """Have the target end what it holds of the guest; its next truth shows whether it did."""
        command = ServerCommand(generation=migration.generation)
        try:
            await self._drive.target(migration).remove(migration.server_id, command)
        except GodwitError as error:
            await self._wait_for(
                f"{migration.target_host_name} still holds a copy of {migration.server_name}, "
                "which has to be gone first",
                error,
            )

    def _died_with_target(self, migration: Migration, finding: Finding) -> bool:
        """Whether a guest that is wanted on died with its target after it had switched over.

        It is to be started anew where its disks are: nobody else does. Not one whose disks were
        copied: the newest writes are on the target's.
        """
        record = self._drive.fleet.records.get(migration.server_id)
        died = finding.source is Side.SHUT_OFF and finding.target is Side.DEAD
        wanted = record is not None and record.wanted_on
        return died and wanted and self._drive.copies_nothing(migration)

    async def _start(self, migration: Migration) -> None:
        """Start a guest anew on its source; what it says next shows whether it runs."""
        command = ServerCommand(generation=migration.generation)
        try:
            await self._drive.source(migration).start(migration.server_id, command)
        except GodwitError as error:
            await self._wait_for(
                f"{migration.server_name} died with {migration.target_host_name} and is to be "
                f"started again on {migration.source_host_name}",
                error,
            )
            await asyncio.sleep(_START_AGAIN_S)

    async def _wait_for(self, what: str, error: GodwitError) -> None:
        """Say in the record, once, and in the server's status what the end waits for."""
        text = f"{what}: {error.message}"
        _log.warning("%s: %s", self._id, text)
        self._drive.fleet.put_waiting(self._id, text)
        known = await self._drive.reread(self._id)
        if not any(note.text.startswith(what) for note in known.notes):
            await self._drive.note(self._id, text)
