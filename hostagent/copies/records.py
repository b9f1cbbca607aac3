"""Small JSON files that outlive the agent, one for each migration."""

import logging
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

_log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


class Records(Generic[RecordT]):
    """Records of one kind in a folder, by migration id. Every call blocks, and is short."""

    def __init__(self, folder: Path, kind: type[RecordT]) -> None:
        self._folder = folder
        self._kind = kind

    def write(self, migration_id: str, record: RecordT) -> None:
        """Keep a record, whole or not at all.

        Raises:
            OSError: the disk is full or broken.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(migration_id)
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave an empty file in its place
        fresh.replace(path)

    def read(self, migration_id: str) -> RecordT | None:
        """One record, or None."""
        try:
            return msgspec.json.decode(self._path(migration_id).read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.error("%s: left out: %s", self._path(migration_id), error)
            return None

    def read_all(self) -> dict[str, RecordT]:
        """Every record that can be read, oldest first."""
        names = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        found = {path.stem: self.read(path.stem) for path in names}
        return {name: record for name, record in found.items() if record is not None}

    def remove(self, migration_id: str) -> None:
        """Forget a record."""
        self._path(migration_id).unlink(missing_ok=True)

    def _path(self, migration_id: str) -> Path:
        return self._folder / f"{migration_id}.json"
