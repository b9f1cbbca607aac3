"""One small file for each migration, so that an agent that starts again finds its jobs."""

import asyncio
import logging
import re
from pathlib import Path

import msgspec

from hostagent.passes import PassLog
from wire.agent import Job, MigrateCommand
from wire.errors import bad_request

_log = logging.getLogger(__name__)

_FIT_FOR_A_FILE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What must outlive the agent."""

    command: MigrateCommand
    job: Job
    log: PassLog = PassLog()
    origin: int = 0
    """``memory_iteration`` of the first pass; 0 before it."""
    unsafe: bool = False
    """What libvirt was told of the disks' paths, for when it has to be told again."""
    no_postcopy: str = ""
    """Why it cannot be switched to post-copy; empty if it can."""
    max_bandwidth_bytes_per_s: int | None = None
    """The cap that holds now; None for none."""
    cap_lifted: bool = False
    """There was one, so that libvirt has to be told that there is none."""
    downtime_limit_ms: int = 0
    """The limit that holds now."""


def check_migration_id(migration_id: str) -> None:
    """Refuse an id that cannot name a file.

    Raises:
        GodwitError: ``BAD_REQUEST``.
    """
    if not _FIT_FOR_A_FILE.fullmatch(migration_id):
        raise bad_request(
            f"{migration_id!r} is no migration id: use up to 64 letters, digits, '-' and '_'",
        )


class Journal:
    """The files, in ``<state_dir>/migrations``."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "migrations"

    async def write(self, entry: Entry) -> None:
        """Keep an entry, whole or not at all; a disk that is full does not stop a migration."""
        try:
            await asyncio.to_thread(self._write, entry)
        except OSError as error:
            _log.error("%s: not kept: %s", entry.job.migration_id, error)

    def _write(self, entry: Entry) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(entry.job.migration_id)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(entry))
        fresh.replace(path)

    async def remove(self, migration_id: str) -> None:
        """Forget an entry."""
        await asyncio.to_thread(self._path(migration_id).unlink, missing_ok=True)

    async def read_all(self) -> tuple[Entry, ...]:
        """Every entry, oldest first; one that cannot be read is logged and left out."""
        return await asyncio.to_thread(self._read_all)

    def _read_all(self) -> tuple[Entry, ...]:
        entries = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            try:
                entries.append(msgspec.json.decode(path.read_bytes(), type=Entry))
            except (OSError, msgspec.DecodeError) as error:
                _log.error("%s: left out: %s", path, error)
        return tuple(entries)

    def _path(self, migration_id: str) -> Path:
        return self._folder / f"{migration_id}.json"
