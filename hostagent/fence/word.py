"""What the agent and ``godwit-fence`` tell each other, by two files in a folder on tmpfs.

Each is JSON, of mode 0600, and replaced as a whole. A third file, the fence's mark, tells the next
start of the machine that its last life was fenced.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

WORD = "fence.json"
STATUS = "fence-status.json"
MARK = "fenced"
"""In the agent's ``state_dir``: outlives the machine's power, unlike the two above."""


class Word(NamedTuple):
    """The agent's word. Times are seconds of CLOCK_BOOTTIME."""

    boot_id: str
    """Of this start of the machine: the clock of another one says nothing."""
    host_id: str
    epoch: int
    """Which life of the host this is."""
    armed: bool
    """Guests are to be fenced; no more so only after etcd has acknowledged that none is."""
    t_ok_s: float
    """Read before the last keepalive that succeeded was sent."""
    ttl_s: int
    """Of the lease, as etcd granted it."""
    may_stay: tuple[str, ...] = ()
    """Ids of the servers that nobody can start elsewhere."""
    begun: bool = True
    """Etcd has acknowledged a life in this start of the machine. Until then an earlier life, which
    this word cannot prolong, is what others go by."""


class Status(NamedTuple):
    """The fence's answer, written in each of its rounds."""

    at_s: float
    """Before the word was read that this answers, in seconds of CLOCK_BOOTTIME."""
    pid: int
    armed: bool
    """The card is open, counts, and is petted by the agent's word."""
    watchdog_timeout_s: int = 0
    """Of the card that was open since the host was last disarmed; 0 if none was."""
    detail: str = ""
    """Why it is not armed although it should be, in one clause."""
    fired_epoch: int = 0
    """The latest life of the host in which guests were killed; the agent ends that life."""
    cached: bool = False
    """One of them wrote through the host's cache: the host is left to be reset."""


def boot_id() -> str:
    """Differs with each start of the machine."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def write(path: Path, content: Word | Status) -> None:
    """Replace a file as a whole; its folder is made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(content._asdict()).encode())
    finally:
        os.close(descriptor)
    fresh.replace(path)


def read_word(folder: Path) -> Word | None:
    """The agent's word; None if there is none that can be understood."""
    try:
        fields = json.loads((folder / WORD).read_bytes())
        return Word(
            boot_id=str(fields["boot_id"]),
            epoch=int(fields["epoch"]),
            host_id=str(fields["host_id"]),
            armed=bool(fields["armed"]),
            t_ok_s=float(fields["t_ok_s"]),
            ttl_s=int(fields["ttl_s"]),
            may_stay=tuple(str(server_id) for server_id in fields["may_stay"]),
            begun=bool(fields["begun"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_status(folder: Path) -> Status | None:
    """The fence's answer; None if there is none that can be understood."""
    try:
        return Status(**json.loads((folder / STATUS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def was_fenced(folder: Path, this_boot: str) -> bool:
    """Whether this host was fenced when an earlier start of it ended."""
    try:
        return (folder / MARK).read_text(encoding="ascii", errors="replace") != this_boot
    except FileNotFoundError:
        return False


def set_mark(folder: Path, this_boot: str) -> None:
    """Note that this host is fenced, so that a power cut does not lose it. Blocks.

    Raises:
        OSError: it cannot be written.
    """
    if (folder / MARK).exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f"{MARK}.{os.getpid()}"
    fresh.write_text(this_boot, encoding="ascii")
    _sync(fresh)
    fresh.replace(folder / MARK)
    _sync(folder)


def remove_mark(folder: Path) -> None:
    """Note that this host is not fenced. A mark that comes back by a power cut does no harm.

    Raises:
        OSError: it cannot be removed.
    """
    (folder / MARK).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
