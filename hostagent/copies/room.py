"""What is noted of servers that come to this host, and what it takes to work on them."""

import asyncio
from collections import defaultdict

from hostagent.copies import domains
from hostagent.copies.here import Here
from hostagent.copies.incoming import IncomingRecord, Refused
from hostagent.copies.pulls import Pulls
from hostagent.copies.records import Records
from hostagent.journal import check_migration_id
from wire.errors import ErrorCode, GodwitError, bad_request


class Room:
    """The records of what came or comes here, and this host's parts that act on them."""

    def __init__(self, here: Here, pulls: Pulls) -> None:
        self.here = here
        self.pulls = pulls
        self.records = Records(here.config.state_dir / "incoming", IncomingRecord)
        self.busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By server id: each one's files are made and removed one after the other."""
        self.placing = asyncio.Lock()
        """Held while a server is given names that no other may have."""

    async def all(self) -> dict[str, IncomingRecord]:
        """What came or comes here, by migration."""
        return await asyncio.to_thread(self.records.read_all)

    async def require_unclaimed(self, record: IncomingRecord) -> None:
        """Refuse names that are another server's by now, made already or not.

        Raises:
            GodwitError: ``CONFLICT`` naming both.
        """
        wanted = {one.file.path for one in record.files if one.made}
        for other in (await self.all()).values():
            if other.kept or other.command.migration_id == record.command.migration_id:
                continue
            taken = wanted & {one.file.path for one in other.files if one.made}
            if taken:
                raise Refused(
                    f"{min(taken)} on {self.here.facts.name} is held for "
                    f"{other.command.server_name!r}, and {record.command.server_name!r} needs it: "
                    f"wait for the end of migration {other.command.migration_id}"
                )

    async def refresh(self, record: IncomingRecord) -> None:
        """Let libvirt look into the pools of a server that comes.

        Raises:
            GodwitError: ``LIBVIRT``.
        """
        names = {one.pool_name for one in record.files} - {""}
        if names:
            await self.here.driver.call(
                "refresh pools", lambda handle: domains.refresh_pools(handle, names)
            )

    async def find(self, migration_id: str, server_id: str) -> IncomingRecord:
        """What was prepared for a migration.

        Raises:
            GodwitError: ``NOT_FOUND``, or ``BAD_REQUEST`` if it is another server's.
        """
        check_migration_id(migration_id)
        record = await self.read(migration_id)
        if record is None or record.kept:
            raise GodwitError(
                ErrorCode.NOT_FOUND, f"nothing is prepared on this host for {migration_id}"
            )
        if record.command.server_id != server_id:
            raise other_server(record, server_id)
        return record

    async def read(self, migration_id: str) -> IncomingRecord | None:
        """What is noted of a migration; None if nothing."""
        return await asyncio.to_thread(self.records.read, migration_id)

    async def write(self, record: IncomingRecord) -> None:
        """Note it.

        Raises:
            GodwitError: ``CONFLICT`` with the system's text.
        """
        try:
            await asyncio.to_thread(self.records.write, record.command.migration_id, record)
        except OSError as error:
            raise Refused(f"{error.filename} cannot be written: {error.strerror}") from None


def other_server(record: IncomingRecord, server_id: str) -> GodwitError:
    """The error of a command that names another server than the migration brings."""
    return bad_request(
        f"the migration {record.command.migration_id} brings the server "
        f"{record.command.server_id}, not {server_id!r}",
    )
