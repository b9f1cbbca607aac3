"""The wall clock that Godwit's programs on one node see, which can be set apart from the machine's.

CLOCK_REALTIME has no namespace, so a small library that is loaded before the programs shifts it.
"""

import struct
from pathlib import Path

from lab.processes import run

_OFFSET = struct.Struct("=q")


def build(library: Path) -> None:
    """Compile stepped_clock.c."""
    source = Path(__file__).with_name("stepped_clock.c")
    run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)])


def make(clock: Path) -> None:
    """Begin with the machine's own time."""
    clock.write_bytes(_OFFSET.pack(0))


def environment(library: Path, clock: Path) -> dict[str, str]:
    """What lets a program see this clock."""
    return {"LD_PRELOAD": str(library), "GODWIT_LAB_CLOCK": str(clock)}


def step(clock: Path, seconds: float) -> None:
    """Set the clock forward, or back by a negative number."""
    with clock.open("r+b") as file:
        (offset_ns,) = _OFFSET.unpack(file.read(_OFFSET.size))
        file.seek(0)
        # in place, since the programs have the file mapped
        file.write(_OFFSET.pack(offset_ns + round(seconds * 1e9)))
