"""The target's part: room for a server that comes, its files, its definition, and its clearing."""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hostagent.config import AgentConfig
from hostagent.copies import definition as domain_xml
from hostagent.copies import domains
from hostagent.copies.incoming import (
    IncomingRecord,
    Refused,
    make_empty,
    place_files,
    with_present_digest,
)
from hostagent.copies.keep import keep, kept_files
from hostagent.copies.pulls import Pulls
from hostagent.copies.records import Records
from hostagent.driver import LibvirtDriver
from hostagent.inventory import Inventory
from hostagent.journal import check_migration_id
from hostagent.ownership import Ownership
from wire.agent import GuestTruth, Job
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostFacts, PowerState, ServerRecord
from wire.storage import (
    DefineCommand,
    DiscardCommand,
    Discarded,
    Incoming,
    PrepareCommand,
    PullCommand,
)

_log = logging.getLogger(__name__)

_DEFINE_TIMEOUT_S = 20.0


class Target:
    """What this host does for servers that come to it."""

    def __init__(
        self,
        config: AgentConfig,
        driver: LibvirtDriver,
        inventory: Inventory,
        ownership: Ownership,
        pulls: Pulls,
    ) -> None:
        self._config = config
        self._driver = driver
        self._inventory = inventory
        self._ownership = ownership
        self._records = Records(config.state_dir / "incoming", IncomingRecord)
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By server id: each one's files are made and removed one after the other."""
        self._pulls = pulls

    async def prepare(self, command: PrepareCommand) -> Incoming:
        """Make room; the same migration again gets what there is.

        Raises:
            GodwitError: ``CONFLICT`` with the reason, ``STALE_GENERATION``, ``ETCD_UNREACHABLE``.
        """
        check_migration_id(command.migration_id)
        await self._ownership.require_arrival(
            command.server_id, command.generation, migration_id=command.migration_id
        )
        async with self._busy[command.server_id]:
            known = await self._read(command.migration_id)
            if known is not None:
                return (await self._with_digests(known)).incoming
            await self._clear_leftovers(command)
            await self._require_name_free(command)
            facts = self._facts()
            placed = await asyncio.to_thread(
                place_files,
                command,
                facts.pools,
                host_name=facts.name,
                nvram_dir=str(self._config.nvram_dir),
            )
            record = IncomingRecord(command=command, files=placed)
            await self._write(record)  # before anything is made: an agent that dies here clears it
            try:
                if command.kind == "live":
                    await asyncio.to_thread(make_empty, command, placed)
                else:
                    record = await self._with_digests(record)
            except (Refused, OSError) as error:
                await self._remove_files(record)
                await asyncio.to_thread(self._records.remove, command.migration_id)
                if isinstance(error, Refused):
                    raise
                raise Refused(f"{error.filename}: {error.strerror}") from None
            await self._refresh(record)
            return record.incoming

    async def _with_digests(self, record: IncomingRecord) -> IncomingRecord:
        """Know what is there already; also after an agent died while it read that."""
        if all(one.made or one.file.present_digest for one in record.files):
            return record
        digested = [await asyncio.to_thread(with_present_digest, one) for one in record.files]
        record = msgspec.structs.replace(record, files=tuple(digested))
        await self._write(record)
        return record

    async def _clear_leftovers(self, command: PrepareCommand) -> None:
        """Remove what earlier migrations of the same server left here; what is kept stays."""
        for migration_id, record in (await asyncio.to_thread(self._records.read_all)).items():
            if record.command.server_id == command.server_id and not record.kept:
                _log.info("%s: its leftovers are removed", migration_id)
                await self._discard(record)

    async def _require_name_free(self, command: PrepareCommand) -> None:
        truth = await self._driver.truth(command.server_id)
        if truth.state not in {PowerState.ABSENT, PowerState.SHUT_OFF}:
            raise Refused(
                f"{command.server_name!r} is {truth.state} on {self._facts().name} already"
            )
        other = await self._driver.call(
            "find a domain by name",
            lambda handle: domains.id_of_name(handle, command.server_name),
        )
        if other not in {"", command.server_id}:
            raise Refused(
                f"{self._facts().name} has another server named {command.server_name!r} ({other}): "
                "rename one of them"
            )

    async def pull(self, command: PullCommand) -> Job:
        """Copy files, or go on with that.

        Raises:
            GodwitError: ``NOT_FOUND`` if nothing was prepared, ``CONFLICT``, ``STALE_GENERATION``,
                ``ETCD_UNREACHABLE``.
        """
        await self._ownership.require_arrival(
            command.server_id, command.generation, migration_id=command.migration_id
        )
        record = await self._find(command.migration_id, command.server_id)
        partial = {one.file.source_path: one for one in record.files}
        for file in command.files:
            there = partial.get(file.source_path)
            if there is None or there.file.path != file.path:
                raise GodwitError(
                    ErrorCode.BAD_REQUEST,
                    f"nothing was prepared here for {file.source_path} at {file.path}",
                )
            if not there.partial_path:
                raise Refused(
                    f"{file.path} is there already on {self._facts().name} with other content: "
                    "move it away or choose another host"
                )
        paths = {file.source_path: partial[file.source_path].partial_path for file in command.files}
        return self._pulls.start(command, paths)

    async def define(self, migration_id: str, command: DefineCommand) -> GuestTruth:
        """Put the files in their places and define the server, stopped.

        Raises:
            GodwitError: ``NOT_FOUND``, ``CONFLICT`` when a file is not whole, ``BAD_REQUEST`` if
                the definition is another server's, ``STALE_GENERATION``, ``ETCD_UNREACHABLE``,
                ``LIBVIRT`` with its own text.
        """
        _, defined_id = domain_xml.name_and_id(command.definition)
        if defined_id != command.server_id:
            raise GodwitError(
                ErrorCode.BAD_REQUEST,
                f"the definition is that of {defined_id}, and not of {command.server_id}",
            )
        async with self._busy[command.server_id]:
            record = await self._find(migration_id, command.server_id)
            if not record.defined:
                await self._ownership.require_arrival(
                    command.server_id, command.generation, migration_id=migration_id
                )
                record = await self._in_place(record)
            definition = domain_xml.with_paths(command.definition, record.paths)
            snapshots = [domain_xml.with_paths(one, record.paths) for one in command.snapshots]
            await self._driver.call(
                "define a domain",
                lambda handle: domains.define(handle, definition, snapshots),
                timeout_s=_DEFINE_TIMEOUT_S,
            )
            self._inventory.server_changed(command.server_id)
        return await self._driver.truth(command.server_id)

    async def _in_place(self, record: IncomingRecord) -> IncomingRecord:
        """Give every file its name; from then on those names are ours to remove."""
        self._require_whole(record)
        if not record.placed:
            await asyncio.to_thread(_require_names_free, record)
            record = msgspec.structs.replace(record, placed=True)
            await self._write(record)
        await asyncio.to_thread(_put_in_place, record)
        await self._refresh(record)
        record = msgspec.structs.replace(record, defined=True)
        await self._write(record)
        return record

    def _require_whole(self, record: IncomingRecord) -> None:
        for one in record.files:
            if (
                one.partial_path
                and not os.path.lexists(one.file.path)
                and not self._pulls.whole(record.command.migration_id)
            ):
                raise Refused(f"{one.file.source_path} is not whole here yet: pull it first")

    async def complete(self, migration_id: str) -> None:
        """The files belong to the server now.

        Raises:
            GodwitError: ``BAD_REQUEST``.
        """
        check_migration_id(migration_id)
        await self._pulls.forget(migration_id)
        await asyncio.to_thread(self._records.remove, migration_id)

    async def discard(self, migration_id: str, command: DiscardCommand) -> Discarded:
        """Remove, or keep aside, all that was made here.

        Raises:
            GodwitError: ``CONFLICT`` while the server is on here or belongs to this host,
                ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, ``LIBVIRT``.
        """
        check_migration_id(migration_id)
        async with self._busy[command.server_id]:
            record = await self._read(migration_id)
            if record is None:
                return Discarded()
            if record.kept:
                return Discarded(kept=await asyncio.to_thread(kept_files, record.kept))
            if record.command.server_id != command.server_id:
                raise _other_server(record, command.server_id)
            owner = await self._ownership.record(command.server_id)
            await self._ownership.require_generation(command.server_id, command.generation)
            self._require_elsewhere(owner, record)
            return await self._discard(record, keep_for=command if command.keep else None)

    def _require_elsewhere(self, owner: ServerRecord | None, record: IncomingRecord) -> None:
        facts = self._facts()
        if owner is not None and owner.owner.host_id == facts.host_id:
            raise Refused(
                f"{record.command.server_name!r} belongs to {facts.name} by now: its files stay"
            )

    async def _discard(
        self, record: IncomingRecord, *, keep_for: DiscardCommand | None = None
    ) -> Discarded:
        command = record.command
        truth = await self._driver.truth(command.server_id)
        if truth.state not in {PowerState.ABSENT, PowerState.SHUT_OFF}:
            raise Refused(
                f"{command.server_name!r} is {truth.state} on {self._facts().name}: nothing is "
                "removed under it"
            )
        await self._pulls.forget(command.migration_id)
        kept: Discarded = Discarded()
        if keep_for is not None:
            kept = await self._keep(record, keep_for)
        if record.defined:
            await self._driver.call(
                "undefine a domain", lambda handle: domains.undefine(handle, command.server_id)
            )
            self._inventory.server_changed(command.server_id)
        if kept.kept:
            paths = tuple(one.path for one in kept.kept)
            await self._write(msgspec.structs.replace(record, kept=paths, defined=False))
        else:
            await self._remove_files(record)
            await asyncio.to_thread(self._records.remove, command.migration_id)
        await self._refresh(record)
        return kept

    async def _keep(self, record: IncomingRecord, command: DiscardCommand) -> Discarded:
        definition = await self._driver.call(
            "describe a domain",
            lambda handle: domains.saved_definition(handle, command.server_id),
        )
        definition = definition or await self._ownership.definition(command.server_id)
        log = self._config.libvirt_log_dir / f"{record.command.server_name}.log"
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
        record = await self._read(migration_id)
        if record is None or not record.kept:
            return
        await asyncio.to_thread(_remove, record.kept)
        await asyncio.to_thread(_remove_folder, self._kept_folder(migration_id))
        await asyncio.to_thread(self._records.remove, migration_id)
        await self._refresh(record)

    async def all(self) -> dict[str, IncomingRecord]:
        """What came or comes here, by migration."""
        return await asyncio.to_thread(self._records.read_all)

    # ------------------------------------------------------------------ parts

    async def _remove_files(self, record: IncomingRecord) -> None:
        mine = [one for one in record.files if one.made]
        partial = [one.partial_path for one in mine if one.partial_path]
        whole = [one.file.path for one in mine if record.placed or not one.partial_path]
        await asyncio.to_thread(_remove, [*partial, *whole])

    async def _refresh(self, record: IncomingRecord) -> None:
        names = {one.pool_name for one in record.files} - {""}
        if names:
            await self._driver.call(
                "refresh pools", lambda handle: domains.refresh_pools(handle, names)
            )

    def _kept_folder(self, migration_id: str) -> Path:
        return self._config.state_dir / "kept" / migration_id

    async def _find(self, migration_id: str, server_id: str) -> IncomingRecord:
        check_migration_id(migration_id)
        record = await self._read(migration_id)
        if record is None or record.kept:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"nothing is prepared on this host for {migration_id}"
            )
        if record.command.server_id != server_id:
            raise _other_server(record, server_id)
        return record

    async def _read(self, migration_id: str) -> IncomingRecord | None:
        return await asyncio.to_thread(self._records.read, migration_id)

    async def _write(self, record: IncomingRecord) -> None:
        try:
            await asyncio.to_thread(self._records.write, record.command.migration_id, record)
        except OSError as error:
            raise Refused(f"{error.filename} cannot be written: {error.strerror}") from None

    def _facts(self) -> HostFacts:
        if self._inventory.facts is None:
            raise GodwitError(ErrorCode.LIBVIRT, "libvirtd has not answered yet on this host")
        return self._inventory.facts


def _other_server(record: IncomingRecord, server_id: str) -> GodwitError:
    return GodwitError(
        ErrorCode.BAD_REQUEST,
        f"the migration {record.command.migration_id} brings the server "
        f"{record.command.server_id}, not {server_id!r}",
    )


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
