"""The target's part: room for a server that comes, its files, its definition, and its clearing."""

import asyncio
import logging
import os
from pathlib import Path

import msgspec

from hostagent.copies import definition as domain_xml
from hostagent.copies import domains
from hostagent.copies.clearing import Clearing
from hostagent.copies.incoming import (
    IncomingRecord,
    Refused,
    make_empty,
    place_files,
    with_present_digest,
)
from hostagent.copies.room import Room
from hostagent.journal import check_migration_id
from wire.agent import GuestTruth, Job
from wire.errors import bad_request
from wire.fleet import PowerState
from wire.storage import (
    DefineCommand,
    Incoming,
    PrepareCommand,
    PullCommand,
)

_log = logging.getLogger(__name__)

_DEFINE_TIMEOUT_S = 20.0


class Target:
    """What this host does for servers that come to it."""

    def __init__(self, room: Room, clearing: Clearing) -> None:
        self._room = room
        self._clearing = clearing

    async def prepare(self, command: PrepareCommand) -> Incoming:
        """Make room; the same migration again gets what there is.

        Raises:
            GodwitError: ``CONFLICT`` with the reason, ``STALE_GENERATION``, ``ETCD_UNREACHABLE``.
        """
        check_migration_id(command.migration_id)
        await self._room.here.ownership.require_arrival(
            command.server_id, command.generation, migration_id=command.migration_id
        )
        async with self._room.busy[command.server_id]:
            known = await self._room.read(command.migration_id)
            if known is not None:
                return (await self._with_digests(known)).incoming
            await self._clearing.leftovers(command)
            await self._require_name_free(command)
            facts = self._room.here.facts
            async with self._room.placing:
                placed = await asyncio.to_thread(
                    place_files,
                    command,
                    facts.pools,
                    host_name=facts.name,
                    nvram_dir=str(self._room.here.config.nvram_dir),
                )
                record = IncomingRecord(command=command, files=placed)
                await self._room.require_unclaimed(record)
                # before anything is made: an agent that dies here clears it
                await self._room.write(record)
            try:
                if command.kind == "live":
                    await asyncio.to_thread(make_empty, command, placed)
                else:
                    record = await self._with_digests(record)
            except (Refused, OSError) as error:
                await self._clearing.remove_files(record)
                await asyncio.to_thread(self._room.records.remove, command.migration_id)
                if isinstance(error, Refused):
                    raise
                raise Refused(f"{error.filename}: {error.strerror}") from None
            await self._room.refresh(record)
            return record.incoming

    async def _with_digests(self, record: IncomingRecord) -> IncomingRecord:
        """Know what is there already; also after an agent died while it read that."""
        if all(one.made or one.file.present_digest for one in record.files):
            return record
        digested = [await asyncio.to_thread(with_present_digest, one) for one in record.files]
        record = msgspec.structs.replace(record, files=tuple(digested))
        await self._room.write(record)
        return record

    async def _require_name_free(self, command: PrepareCommand) -> None:
        truth = await self._room.here.driver.truth(command.server_id)
        if truth.state not in {PowerState.ABSENT, PowerState.SHUT_OFF}:
            raise Refused(
                f"{command.server_name!r} is {truth.state} on {self._room.here.facts.name} already"
            )
        other = await self._room.here.driver.call(
            "find a domain by name",
            lambda handle: domains.id_of_name(handle, command.server_name),
        )
        if other not in {"", command.server_id}:
            raise Refused(
                f"{self._room.here.facts.name} has another server named {command.server_name!r} "
                f"({other}): rename one of them"
            )

    async def pull(self, command: PullCommand) -> Job:
        """Copy files, or go on with that.

        Raises:
            GodwitError: ``NOT_FOUND`` if nothing was prepared, ``CONFLICT``, ``STALE_GENERATION``,
                ``ETCD_UNREACHABLE``.
        """
        await self._room.here.ownership.require_arrival(
            command.server_id, command.generation, migration_id=command.migration_id
        )
        record = await self._room.find(command.migration_id, command.server_id)
        partial = {one.file.source_path: one for one in record.files}
        for file in command.files:
            there = partial.get(file.source_path)
            if there is None or there.file.path != file.path:
                raise bad_request(
                    f"nothing was prepared here for {file.source_path} at {file.path}",
                )
            if not there.partial_path:
                raise Refused(
                    f"{file.path} is there already on {self._room.here.facts.name} with other "
                    "content: move it away or choose another host"
                )
        paths = {file.source_path: partial[file.source_path].partial_path for file in command.files}
        return self._room.pulls.start(command, paths)

    async def define(self, migration_id: str, command: DefineCommand) -> GuestTruth:
        """Put the files in their places and define the server, stopped.

        Raises:
            GodwitError: ``NOT_FOUND``, ``CONFLICT`` when a file is not whole, ``BAD_REQUEST`` if
                the definition is another server's, ``STALE_GENERATION``, ``ETCD_UNREACHABLE``,
                ``LIBVIRT`` with its own text.
        """
        _, defined_id = domain_xml.name_and_id(command.definition)
        if defined_id != command.server_id:
            raise bad_request(
                f"the definition is that of {defined_id}, and not of {command.server_id}",
            )
        async with self._room.busy[command.server_id]:
            record = await self._room.find(migration_id, command.server_id)
            if not record.defined:
                await self._room.here.ownership.require_arrival(
                    command.server_id, command.generation, migration_id=migration_id
                )
                record = await self._in_place(record)
            definition = domain_xml.with_paths(command.definition, record.paths)
            snapshots = [domain_xml.with_paths(one, record.paths) for one in command.snapshots]
            await self._room.here.driver.call(
                "define a domain",
                lambda handle: domains.define(handle, definition, snapshots),
                timeout_s=_DEFINE_TIMEOUT_S,
            )
            self._room.here.inventory.server_changed(command.server_id)
        return await self._room.here.driver.truth(command.server_id)

    async def _in_place(self, record: IncomingRecord) -> IncomingRecord:
        """Give every file its name; from then on those names are ours to remove."""
        self._require_whole(record)
        if not record.placed:
            await asyncio.to_thread(_require_names_free, record)
            record = msgspec.structs.replace(record, placed=True)
            await self._room.write(record)
        await asyncio.to_thread(_put_in_place, record)
        await self._room.refresh(record)
        record = msgspec.structs.replace(record, defined=True)
        await self._room.write(record)
        return record

    def _require_whole(self, record: IncomingRecord) -> None:
        for one in record.files:
            if (
                one.partial_path
                and not os.path.lexists(one.file.path)
                and not self._room.pulls.whole(record.command.migration_id)
            ):
                raise Refused(f"{one.file.source_path} is not whole here yet: pull it first")

    async def complete(self, migration_id: str) -> None:
        """The files belong to the server now.

        Raises:
            GodwitError: ``BAD_REQUEST``.
        """
        check_migration_id(migration_id)
        await self._room.pulls.forget(migration_id)
        await asyncio.to_thread(self._room.records.remove, migration_id)


def _require_names_free(record: IncomingRecord) -> None:
    for one in record.files:
        if one.partial_path and os.path.lexists(one.file.path):
            raise Refused(f"{one.file.path} appeared while the server was copied: move it away")


def _put_in_place(record: IncomingRecord) -> None:
    """Give each file its name; those that have it already stay."""
    for one in record.files:
        partial = Path(one.partial_path) if one.partial_path else None
        if partial is None or not partial.exists():
            continue
        try:
            partial.rename(one.file.path)
            _sync_folder(partial.parent)
        except OSError as error:
            raise Refused(f"{one.file.path}: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
