"""Whether a command may act on a server: its owner record decides."""

import asyncio
import logging

import msgspec

from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Etcd, EtcdUnreachable
from wire.fleet import OwnerPhase, ServerRecord
from wire.keys import DEFINITIONS, SERVERS

_log = logging.getLogger(__name__)


class BadRecord(GodwitError):
    """A key under ``SERVERS`` with a value that no Godwit wrote."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(ErrorCode.INTERNAL, f"{key} holds no server record: {reason}")


def read_record(etcd: Etcd, server_id: str) -> tuple[ServerRecord | None, int]:
    """A server's record and its revision; ``(None, 0)`` if there is none. Blocks.

    Raises:
        EtcdUnreachable: nobody answers.
        BadRecord: the value is no record.
    """
    stored = etcd.get(SERVERS + server_id)
    if stored is None:
        return None, 0
    return decode_record(stored.key, stored.value), stored.mod_revision


def decode_record(key: str, value: bytes) -> ServerRecord:
    """Decode the value of a key under ``SERVERS``.

    Raises:
        BadRecord: the value is no record; the sentence names the key.
    """
    try:
        return msgspec.json.decode(value, type=ServerRecord)
    except msgspec.DecodeError as error:
        raise BadRecord(key, str(error)) from None


class Ownership:
    """Refuses commands that are older than what is known of a server's owner."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._seen: dict[str, int] = {}

    def saw(self, record: ServerRecord) -> None:
        """Remember a record's generation, for when etcd does not answer."""
        self._seen[record.server_id] = record.owner.generation

    def next_generation(self, server_id: str) -> int:
        """For a server without a record: above any that this process has seen of it."""
        return self._seen.get(server_id, 0) + 1

    async def require_generation(self, server_id: str, generation: int) -> ServerRecord | None:
        """Refuse a command whose generation is older than the record's.

        With etcd out of reach the generation seen last decides, and None is returned.

        Raises:
            GodwitError: ``STALE_GENERATION``.
        """
        record = None
        try:
            record, _ = await asyncio.to_thread(read_record, self._etcd, server_id)
        except EtcdUnreachable as error:
            _log.warning("generation of %s checked from memory: %s", server_id, error.message)
        if record is not None:
            self.saw(record)
        self._check_generation(server_id, generation)
        return record

    def _check_generation(self, server_id: str, generation: int) -> None:
        newest = self._seen.get(server_id, 0)
        if generation < newest:
            raise GodwitError(
                ErrorCode.STALE_GENERATION,
                f"the command is of generation {generation} and the server {server_id} is at"
                f" {newest}: somebody has moved it since",
            )

    async def require_lock(
        self, server_id: str, generation: int, *, host_id: str, migration_id: str
    ) -> None:
        """Refuse a migration that does not hold the server's record.

        Nothing begins while etcd does not answer: the backend may have given the move up meanwhile.

        Raises:
            GodwitError: ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, or ``CONFLICT`` naming who
                holds it.
        """
        record, _ = await asyncio.to_thread(read_record, self._etcd, server_id)
        if record is None:
            raise conflict(f"the server {server_id} has no record, so nobody holds it")
        self.saw(record)
        self._check_generation(server_id, generation)
        owner = record.owner
        if owner.host_id != host_id:
            raise conflict(
                f"{record.name!r} belongs to the host {owner.host_id}, not to {host_id}",
            )
        if owner.phase is not OwnerPhase.MIGRATING or owner.migration_id != migration_id:
            holder = owner.migration_id or "no migration"
            raise conflict(
                f"{record.name!r} is held by {holder}, not by {migration_id}",
            )

    async def require_arrival(self, server_id: str, generation: int, *, migration_id: str) -> None:
        """Refuse to make anything here for a migration that does not hold the server's record.

        Raises:
            GodwitError: ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, or ``CONFLICT`` naming who
                holds it.
        """
        record = await self.record(server_id)
        self._check_generation(server_id, generation)
        if record is None or record.owner.phase is not OwnerPhase.MIGRATING:
            raise conflict(
                f"no migration holds the server {server_id}, and so not {migration_id}",
            )
        if record.owner.migration_id != migration_id:
            raise conflict(
                f"{record.name!r} is held by {record.owner.migration_id}, not by {migration_id}",
            )

    async def record(self, server_id: str) -> ServerRecord | None:
        """The record now; None if there is none.

        Raises:
            GodwitError: ``ETCD_UNREACHABLE``, or it is no record.
        """
        record, _ = await asyncio.to_thread(read_record, self._etcd, server_id)
        if record is not None:
            self.saw(record)
        return record

    async def definition(self, server_id: str) -> str:
        """The domain XML that the owner's agent stored; empty if there is none.

        Raises:
            EtcdUnreachable: nobody answers.
        """
        stored = await asyncio.to_thread(self._etcd.get, DEFINITIONS + server_id)
        return "" if stored is None else stored.text

    def require_owner(
        self, server_id: str, generation: int | None, *, host_id: str
    ) -> ServerRecord:
        """Refuse what only a server's owner may do. Blocks.

        Args:
            server_id: whose record.
            generation: of the command; None when nobody commands it.
            host_id: this host's.

        Raises:
            GodwitError: ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, or ``CONFLICT`` naming the
                owner.
        """
        record, _ = read_record(self._etcd, server_id)
        if record is not None:
            self.saw(record)
        if generation is not None:
            self._check_generation(server_id, generation)
        if record is None or record.owner.host_id != host_id:
            owner = "nobody" if record is None else f"the host {record.owner.host_id}"
            name = server_id if record is None else repr(record.name)
            raise conflict(f"{name} belongs to {owner}, and not to this host ({host_id})")
        return record

    async def require_gone(self, server_id: str, generation: int, *, host_id: str) -> ServerRecord:
        """Refuse to remove what this host still owns.

        Raises:
            GodwitError: ``STALE_GENERATION``, ``ETCD_UNREACHABLE``, or ``CONFLICT``.
        """
        return await asyncio.to_thread(self.check_gone, server_id, generation, host_id=host_id)

    def check_gone(self, server_id: str, generation: int, *, host_id: str) -> ServerRecord:
        """The same in a thread. Blocks."""
        record, _ = read_record(self._etcd, server_id)
        if record is not None:
            self.saw(record)
        self._check_generation(server_id, generation)
        if record is None:
            raise conflict(
                f"the server {server_id} has no record: nobody says that another host has it",
            )
        if record.owner.host_id == host_id:
            raise conflict(
                f"{record.name!r} belongs to this host ({host_id}): it is not removed from here",
            )
        return record
