"""The source's part: what a server needs, its files opened for the target, and its giving up."""

import asyncio
import logging
from collections.abc import Collection

from hostagent.calls import in_thread
from hostagent.copies import domains
from hostagent.copies.exports import Exports
from hostagent.copies.here import Here
from hostagent.copies.leaving import Outgoing, deletable, delete, surroundings
from hostagent.copies.records import Records
from hostagent.copies.storage import Described, describe, server_storage
from hostagent.driver import NoSuchServer
from hostagent.journal import check_migration_id
from hostagent.pools import holding_pool
from wire.agent import GuestTruth, MigrateCommand
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.fleet import PowerState
from wire.storage import Export, ExportCommand, FileRole, ReleaseCommand, ServerStorage

_log = logging.getLogger(__name__)

_LOOK_TIMEOUT_S = 50.0
"""Looking at images; a pool on a dead file server never answers."""


class Source:
    """What this host does for servers that leave it."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._outgoing = Records(here.config.state_dir / "outgoing", Outgoing)
        self.exports = Exports(here.config)

    async def storage(self, server_id: str) -> ServerStorage:
        """Everything that the server needs on another host, read now.

        Raises:
            GodwitError: ``NOT_FOUND`` or ``LIBVIRT``.
        """
        described: Described | None = await self._here.driver.call(
            "describe a server's storage", lambda handle: describe(handle, server_id)
        )
        if described is None:
            raise NoSuchServer(server_id)
        pools = self._here.facts.pools
        nvram_dir = str(self._here.config.nvram_dir)
        looking = in_thread(
            lambda: server_storage(described, server_id, pools, nvram_dir=nvram_dir),
            name=f"storage {server_id}",
        )
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT_S):
                return await looking
        except TimeoutError:
            raise GodwitError(
                ErrorCode.LIBVIRT,
                f"the images of {server_id} could not be read within {_LOOK_TIMEOUT_S:g} s",
            ) from None

    async def export(self, command: ExportCommand) -> Export:
        """Open a stopped server's files.

        Raises:
            GodwitError: ``CONFLICT`` when it is on, not held by this migration, or has no such
                file; ``STALE_GENERATION``, ``ETCD_UNREACHABLE``; QEMU's own text.
        """
        check_migration_id(command.migration_id)
        await self._here.ownership.require_lock(
            command.server_id,
            command.generation,
            host_id=self._here.facts.host_id,
            migration_id=command.migration_id,
        )
        storage = await self.storage(command.server_id)
        await self._require_off(storage.name, command.server_id)
        foreign = set(command.paths) - {one.path for one in storage.files}
        if foreign:
            raise bad_request(
                f"{min(foreign)} is no file of {storage.name!r}: only a server's own files are "
                "opened for other hosts",
            )
        try:
            await asyncio.to_thread(self._note, command.migration_id, storage, command.paths)
            return await self.exports.start(command, storage.name)
        except OSError as error:
            raise conflict(
                f"the files of {storage.name!r} cannot be opened: {error.filename}: "
                f"{error.strerror}",
            ) from None

    def _note(self, migration_id: str, storage: ServerStorage, leaves: Collection[str]) -> None:
        local = [one for one in storage.files if one.owned and one.path in leaves]
        nvram = [one.path for one in storage.files if one.role is FileRole.NVRAM]
        outgoing = Outgoing(
            migration_id=migration_id,
            server_id=storage.server_id,
            server_name=storage.name,
            paths=tuple(one.path for one in local),
            nvram_path=nvram[0] if nvram else "",
        )
        self._outgoing.write(migration_id, outgoing)

    async def note_departure(self, command: MigrateCommand) -> None:
        """Remember which files a running server leaves behind, should this host be away then.

        Raises:
            GodwitError: ``NOT_FOUND`` or ``LIBVIRT``.
        """
        if not command.leaves:
            return
        check_migration_id(command.migration_id)
        storage = await self.storage(command.server_id)
        await asyncio.to_thread(self._note, command.migration_id, storage, command.leaves)

    async def exported(self, migration_id: str) -> Export:
        """An export as it is now.

        Raises:
            GodwitError: ``NOT_FOUND``.
        """
        return self.exports.find(migration_id).export

    async def close(self, migration_id: str) -> Export:
        """Close an export, and see whether its files are what they were.

        Raises:
            GodwitError: ``NOT_FOUND`` or ``LIBVIRT``.
        """
        record = self.exports.find(migration_id)
        truth = await self._here.driver.truth(record.command.server_id)
        if truth.state is PowerState.ABSENT:
            self.exports.mark_changed(
                migration_id, f"{record.server_name!r} was removed while it was copied"
            )
        elif truth.state is not PowerState.SHUT_OFF:
            self.exports.server_started(record.command.server_id)
        await self.exports.check(migration_id)
        return await self.exports.close(migration_id)

    async def release(self, server_id: str, command: ReleaseCommand) -> GuestTruth:
        """Give up a server that has moved away.

        Raises:
            GodwitError: ``CONFLICT`` while this host owns it, it is on or was changed since it was
                copied, ``BAD_REQUEST`` for a path that is not this host's to delete,
                ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, ``LIBVIRT``.
        """
        check_migration_id(command.migration_id)
        facts = self._here.facts
        await self._here.ownership.require_gone(
            server_id, command.generation, host_id=facts.host_id
        )
        truth = await self._require_off(server_id, server_id)
        if truth.state is PowerState.SHUT_OFF:
            await self.exports.require_unchanged(command.migration_id)
        noted = await asyncio.to_thread(self._outgoing.read, command.migration_id)
        around = await self._here.driver.call(
            "look at a server's neighbours",
            lambda handle: surroundings(handle, server_id, self._here.config.shared_pools),
        )
        nvram = noted.nvram_path if noted is not None and noted.server_id == server_id else ""
        removed = await asyncio.to_thread(deletable, command.paths, around, noted_nvram=nvram)
        await self._here.driver.call(
            "undefine a domain", lambda handle: domains.undefine_stopped(handle, server_id)
        )
        await asyncio.to_thread(delete, removed)
        await self.exports.forget(command.migration_id)
        pools = {
            pool.name
            for path in removed
            if (pool := holding_pool(around.pools, source=path)) is not None
        }
        await self._here.driver.call(
            "refresh pools", lambda handle: domains.refresh_pools(handle, pools)
        )
        await asyncio.to_thread(self._outgoing.remove, command.migration_id)
        self._here.inventory.server_changed(server_id)
        _log.info("%s: %s has left %d files", command.migration_id, server_id, len(removed))
        return await self._here.driver.truth(server_id)

    async def outgoing(self) -> dict[str, Outgoing]:
        """Servers that were to leave, by migration."""
        return await asyncio.to_thread(self._outgoing.read_all)

    async def forget(self, migration_id: str) -> None:
        """A migration is over without the server leaving: close its files."""
        await self.exports.forget(migration_id)
        await asyncio.to_thread(self._outgoing.remove, migration_id)

    async def _require_off(self, name: str, server_id: str) -> GuestTruth:
        truth = await self._here.driver.truth(server_id)
        if truth.state not in {PowerState.SHUT_OFF, PowerState.ABSENT} or truth.job_active:
            raise conflict(f"{name!r} is {truth.state} on this host: shut it down first")
        return truth
