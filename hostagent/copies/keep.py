"""What a failed migration left, moved aside for whoever looks into it."""

import os
from pathlib import Path, PurePosixPath

from hostagent.copies.incoming import IncomingRecord
from wire.migration import Kept

_MOST_LOG_BYTES = 4 << 20


def keep(
    record: IncomingRecord, folder: Path, *, definition: str, log: Path, job_record: str
) -> tuple[Kept, ...]:
    """Move disks aside within their pool, and write the rest into a folder of mode 0700. Blocks.

    Args:
        record: what came here.
        folder: for definition, log and job record.
        definition: domain XML; empty if nobody has one.
        log: QEMU's, of this domain on this host; may be missing.
        job_record: JSON.

    Raises:
        OSError: a disk is full or a file cannot be moved; may be repeated.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = []
    for one in record.files:
        if not one.made:
            continue
        aside = kept_path(one.file.path, record.command.migration_id)
        for path in (one.partial_path, one.file.path):
            if path and os.path.lexists(path):
                Path(path).replace(aside)
        if os.path.lexists(aside):
            kept.append(_kept("disk", aside))
    texts = {
        "definition.xml": ("definition", definition.encode()),
        "qemu.log": ("log", _tail(log)),
        "job.json": ("job", job_record.encode()),
    }
    for name, (kind, content) in texts.items():
        text = folder / name
        if content:
            text.touch(mode=0o600)
            text.write_bytes(content)
        if text.exists():
            kept.append(_kept(kind, str(text)))
    return tuple(kept)


def kept_path(path: str, migration_id: str) -> str:
    """Where a disk is kept: beside its place."""
    whole = PurePosixPath(path)
    return str(whole.with_name(f"{whole.name}.kept-{migration_id}"))


def kept_files(paths: tuple[str, ...]) -> tuple[Kept, ...]:
    """The same files again, as far as they are still there. Blocks."""
    kinds = {"definition.xml": "definition", "qemu.log": "log", "job.json": "job"}
    return tuple(
        _kept(kinds.get(PurePosixPath(path).name, "disk"), path)
        for path in paths
        if os.path.lexists(path)
    )


def _kept(kind: str, path: str) -> Kept:
    size = os.stat(path, follow_symlinks=False).st_size  # noqa: PTH116
    return Kept(kind=kind, path=path, size_bytes=size)  # type: ignore[arg-type]  # one of its four


def _tail(log: Path) -> bytes:
    try:
        with log.open("rb") as text:
            text.seek(max(0, log.stat().st_size - _MOST_LOG_BYTES))
            return text.read()
    except FileNotFoundError:
        return b""
