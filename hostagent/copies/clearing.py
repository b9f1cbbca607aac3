"""Removing, or keeping aside, what a server that did not come has left here."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hostagent.copies import domains
from hostagent.copies.incoming import IncomingRecord, Refused
from hostagent.copies.keep import keep, kept_files
from hostagent.copies.room import Room, other_server
from hostagent.journal import check_migration_id
from wire.fleet import PowerState, ServerRecord
from wire.storage import DiscardCommand, Discarded, PrepareCommand

_log = logging.getLogger(__name__)


class Clearing:
    """What this host does about servers that did not come."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def discard(self, migration_id: str, command: DiscardCommand) -> Discarded:
        """Remove, or keep aside, all that was made here.

        Also the definition that libvirt made by itself: it stays when a guest dies in post-copy.

        Raises:
            GodwitError: ``CONFLICT`` while the server is on here or belongs to this host,
                ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, ``LIBVIRT``.
        """
        check_migration_id(migration_id)
        async with self._room.busy[command.server_id]:
            record = await self._room.read(migration_id)
            if record is not None and record.kept:
                return Discarded(kept=await asyncio.to_thread(kept_files, record.kept))
            if record is not None and record.command.server_id != command.server_id:
                raise other_server(record, command.server_id)
            owner = await self._room.here.ownership.record(command.server_id)
            await self._room.here.ownership.require_generation(
                command.server_id, command.generation
            )
            if record is None:
                await self._undefine_of(owner)
                return Discarded()
            self._require_elsewhere(owner, record)
            return await self._discard(record, keep_for=command if command.keep else None)

    async def _undefine_of(self, owner: ServerRecord | None) -> None:
        """Let go of a stopped server for which nothing was made here, if it is another host's."""
        here = self._room.here
        if owner is None or owner.owner.host_id == here.facts.host_id:
            return
        if (await here.driver.truth(owner.server_id)).state is PowerState.SHUT_OFF:
            await self._undefine(owner.server_id)

    async def _undefine(self, server_id: str) -> None:
        here = self._room.here
        await here.driver.call(
            "undefine a domain", lambda handle: domains.undefine_stopped(handle, server_id)
        )
        here.inventory.server_changed(server_id)

    def _require_elsewhere(self, owner: ServerRecord | None, record: IncomingRecord) -> None:
        facts = self._room.here.facts
        if owner is not None and owner.owner.host_id == facts.host_id:
            raise Refused(
                f"{record.command.server_name!r} belongs to {facts.name} by now: its files stay"
            )

    async def _discard(
        self, record: IncomingRecord, *, keep_for: DiscardCommand | None = None
    ) -> Discarded:
        command = record.command
        truth = await self._room.here.driver.truth(command.server_id)
        if truth.state not in {PowerState.ABSENT, PowerState.SHUT_OFF}:
            raise Refused(
                f"{command.server_name!r} is {truth.state} on {self._room.here.facts.name}: "
                "nothing is removed under it"
            )
        await self._room.pulls.forget(command.migration_id)
        kept: Discarded = Discarded()
        if keep_for is not None:
            kept = await self._keep(record, keep_for)
        if truth.state is PowerState.SHUT_OFF:
            await self._undefine(command.server_id)
        if kept.kept:
            paths = tuple(one.path for one in kept.kept)
            await self._room.write(msgspec.structs.replace(record, kept=paths, defined=False))
        else:
            await self.remove_files(record)
            await asyncio.to_thread(self._room.records.remove, command.migration_id)
        await self._room.refresh(record)
        return kept

    async def _keep(self, record: IncomingRecord, command: DiscardCommand) -> Discarded:
        definition = await self._room.here.driver.call(
            "describe a domain",
            lambda handle: domains.saved_definition(handle, command.server_id),
        )
        definition = definition or await self._room.here.ownership.definition(command.server_id)
        log = self._room.here.config.libvirt_log_dir / f"{record.command.server_name}.log"
        try:
            kept = await asyncio.to_thread(
                keep,
                record,
                self._kept_folder(record.command.migration_id),
                definition=definition,
                log=log,
                job_record=command.job_record,
            )
        except OSError as error:
            raise Refused(f"{error.filename} cannot be kept: {error.strerror}") from None
        return Discarded(kept=kept)

    async def remove_kept(self, migration_id: str) -> None:
        """Remove what was kept.

        Raises:
            GodwitError: ``BAD_REQUEST``, or ``CONFLICT`` with the system's text.
        """
        check_migration_id(migration_id)
        record = await self._room.read(migration_id)
        if record is None or not record.kept:
            return
        await asyncio.to_thread(_remove, record.kept)
        await asyncio.to_thread(_remove_folder, self._kept_folder(migration_id))
        await asyncio.to_thread(self._room.records.remove, migration_id)
        await self._room.refresh(record)

    async def leftovers(self, command: PrepareCommand) -> None:
        """Remove what earlier migrations of the same server left here; what is kept stays.

        Nor is anything whole removed of a server that belongs to this host by now: a lost one that
        is defined again here may have its only good disks among that.
        """
        owner = await self._room.here.ownership.record(command.server_id)
        ours = owner is not None and owner.owner.host_id == self._room.here.facts.host_id
        for migration_id, record in (await asyncio.to_thread(self._room.records.read_all)).items():
            if record.command.server_id == command.server_id and not record.kept:
                _log.info("%s: its leftovers are %s", migration_id, "left" if ours else "removed")
                await (self._settled(record) if ours else self._discard(record))

    async def _settled(self, record: IncomingRecord) -> None:
        """Forget a migration whose server belongs here; only halves of files go."""
        await self._room.pulls.forget(record.command.migration_id)
        partial = [one.partial_path for one in record.files if one.made and one.partial_path]
        await asyncio.to_thread(_remove, partial)
        await asyncio.to_thread(self._room.records.remove, record.command.migration_id)

    async def remove_files(self, record: IncomingRecord) -> None:
        """Remove all that was made.

        Raises:
            GodwitError: ``CONFLICT`` with the system's text.
        """
        mine = [one for one in record.files if one.made]
        partial = [one.partial_path for one in mine if one.partial_path]
        whole = [one.file.path for one in mine if record.placed or not one.partial_path]
        await asyncio.to_thread(_remove, [*partial, *whole])

    def _kept_folder(self, migration_id: str) -> Path:
        return self._room.here.config.state_dir / "kept" / migration_id


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise Refused(f"{path} cannot be removed: {error.strerror}") from None


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
