"""What guests leave on their disks, watched from outside: when which boot wrote last.

A guest with a trace writes a count and its boot's nonce to its boot disk all the time (guest.asm).
A disk that is read all the time tells whether an older boot still wrote when a newer one had begun.
"""

import itertools
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lab.report import read_disk_record

TRACE_SECTOR = 72
TRACES = 8
SECTOR_BYTES = 512
_MAGIC = int.from_bytes(b"LIFE", "little")
_TRACE = struct.Struct("<IIQI")


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """One boot of a guest, as its disk told of it while watched; times are CLOCK_MONOTONIC."""

    boots: int
    """The guest's own count of its boots."""
    nonce: int
    not_before_s: float
    """The latest look at the disk at which this boot had written nothing yet."""
    first_s: float
    """The first look at which it had."""
    last_s: float
    """The first look at which its latest write was there."""
    count: int
    """Of its writes."""

    @property
    def first_unix_ms(self) -> int:
        """The first look as Unix time in ms, by the machine's clock now."""
        return round((time.time() - time.monotonic() + self.first_s) * 1000)


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """Two boots of one guest that both wrote in the same time."""

    older: Boot
    newer: Boot

    def __str__(self) -> str:
        lapse_ms = (self.older.last_s - self.newer.first_s) * 1000
        return (
            f"boot {self.older.boots} still wrote {lapse_ms:.0f} ms after the first write of "
            f"boot {self.newer.boots}"
        )


def read_traces(image: Path) -> list[tuple[int, int, int]]:
    """The traces on a raw boot disk: count of boots, the boot's nonce, count of its writes."""
    with image.open("rb") as file:
        file.seek(TRACE_SECTOR * SECTOR_BYTES)
        content = file.read(TRACES * SECTOR_BYTES)
    found = []
    for start in range(0, len(content) - _TRACE.size, SECTOR_BYTES):
        magic, boots, nonce, count = _TRACE.unpack_from(content, start)
        if magic == _MAGIC:
            found.append((boots, nonce, count))
    return found


class DiskWatch:
    """Reads guests' disks again and again, and remembers every boot that wrote to them."""

    def __init__(self, images: Mapping[str, Path], *, every_s: float = 0.02) -> None:
        self._images = images
        self._every_s = every_s
        self._boots: dict[str, dict[int, Boot]] = {name: {} for name in images}
        self._looked_s = dict.fromkeys(images, 0.0)
        self._ended = threading.Event()
        self.longest_gap_s = 0.0
        """The longest time that a disk was not looked at."""

    @contextmanager
    def watching(self) -> Iterator["DiskWatch"]:
        """Watch in a thread of its own."""
        self._look()  # what is there already
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        for name, image in self._images.items():
            began_s = time.monotonic()
            traces = read_traces(image)
            before_s, self._looked_s[name] = self._looked_s[name], began_s
            if before_s:
                self.longest_gap_s = max(self.longest_gap_s, began_s - before_s)
            now_s = time.monotonic()
            known = self._boots[name]
            for boots, nonce, count in traces:
                boot = known.get(nonce)
                if boot is None:
                    times = {"not_before_s": before_s, "first_s": now_s, "last_s": now_s}
                    known[nonce] = Boot(boots=boots, nonce=nonce, count=count, **times)
                elif boot.count != count:
                    known[nonce] = msgspec.structs.replace(boot, last_s=now_s, count=count)

    def boots(self, name: str) -> list[Boot]:
        """Every boot of a guest that was seen on its disk, in the order of their first writes.

        None of one that is not watched, which leaves no traces.
        """
        return sorted(
            self._boots.get(name, {}).values(), key=lambda boot: (boot.first_s, boot.boots)
        )

    def splits(self) -> dict[str, int]:
        """Guests that noticed by their disk's record that another copy wrote, and how often."""
        counts = {name: read_disk_record(one).disk_splits for name, one in self._images.items()}
        return {name: count for name, count in counts.items() if count}

    def overlaps(self) -> dict[str, list[Overlap]]:
        """For each guest whose older boot wrote after a newer one had begun to: which and how long.

        Within one look nothing can be told apart, and so nothing is said.
        """
        found: dict[str, list[Overlap]] = {}
        for name in self._images:
            boots = self.boots(name)
            for older, newer in itertools.pairwise(boots):
                if older.last_s > newer.first_s:
                    found.setdefault(name, []).append(Overlap(older=older, newer=newer))
        return found
