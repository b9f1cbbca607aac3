"""Where a test run has its labs: in memory, if a guest can use a disk there like any other."""

import os
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - it is a folder of root's own in there
_NEEDED_BYTES = 8 * 1024**3


def memory_folder() -> Path | None:
    """A folder in memory for labs, or None where guests could not use disks in it as on a disk.

    Their disks are opened with O_DIRECT, which tmpfs takes since Linux 6.6.
    """
    try:
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize < _NEEDED_BYTES or _available_bytes() < _NEEDED_BYTES:
            return None
        with tempfile.NamedTemporaryFile(dir=_MEMORY) as probe:
            os.close(os.open(probe.name, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return None
    return _MEMORY / "godwit-lab"


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
