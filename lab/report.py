"""What a guest says of itself, and whether its memory is whole: read from outside, byte by byte."""

import struct
from array import array
from pathlib import Path

import msgspec

from lab import hypervisor
from lab.errors import LabError
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.server import PAGE_BYTES

REPORT_ADDRESS = 0x7000
RECORD_OFFSET = 64 * 512
WORKING_SET_ADDRESS = 0x100000
SALT = 0x9E3779B1
CELL_OFFSETS = (0, 0x554, 0xAA8, PAGE_BYTES - 4)
_MAGIC = int.from_bytes(b"GDWT", "little")
_WORDS = 16
_DUMP = "/var/lib/libvirt/memory-of-{name}"


class GuestReport(msgspec.Struct, frozen=True, kw_only=True):
    """The guest's own account (the structure ``report`` in guest.asm)."""

    boots: int
    ticks: int
    beats: int
    """Seconds lived, over all boots of this disk."""
    nonce: int
    passes: int
    """Finished walks through the working set since this boot."""
    cursor_address: int
    memory_faults: int
    """Cells that did not hold what the pass before had left in them."""
    fault_address: int
    disk_splits: int
    """Times that the record on a disk was not the one that this guest wrote last."""
    disk_errors: int
    pages: int
    pages_per_s: int
    drive_count: int

    @property
    def pages_dirtied(self) -> int:
        """Pages written since this boot."""
        return self.passes * self.pages + (self.cursor_address - WORKING_SET_ADDRESS) // PAGE_BYTES


def parse_report(content: bytes) -> GuestReport:
    """Read the report from its first 64 bytes.

    Raises:
        LabError: this is no report; the guest has not begun to run.
    """
    words = struct.unpack_from(f"<{_WORDS}I", content)
    if words[0] != _MAGIC:
        raise LabError("there is no report: the guest has not begun to run")
    boots, ticks, beats, nonce_low, nonce_high, *rest = words[1:]
    passes, cursor, faults, fault_at, splits, errors, pages, rate, drives = rest[:9]
    return GuestReport(
        boots=boots,
        ticks=ticks,
        beats=beats,
        nonce=nonce_high << 32 | nonce_low,
        passes=passes,
        cursor_address=cursor,
        memory_faults=faults,
        fault_address=fault_at,
        disk_splits=splits,
        disk_errors=errors,
        pages=pages,
        pages_per_s=rate,
        drive_count=drives,
    )


def read_guest_report(init: ProcessId, name: str) -> GuestReport:
    """Read the report from the memory of a guest that runs or is paused on a host.

    Raises:
        LabError: the host has no such guest, or it has not begun to run.
    """
    command = f"qemu-monitor-command {name} --hmp 'xp /{_WORDS}wx {REPORT_ADDRESS:#x}'"
    lines = hypervisor.virsh(init, command).split("\n")
    words = [int(word, 16) for line in lines for word in line.partition(":")[2].split()]
    if len(words) != _WORDS:
        raise LabError(f"{name}: QEMU shows {len(words)} words of memory instead of {_WORDS}")
    return parse_report(struct.pack(f"<{_WORDS}I", *words))


def read_disk_record(image: Path) -> GuestReport:
    """Read the report that the guest wrote last to one of its disks."""
    with image.open("rb") as file:
        file.seek(RECORD_OFFSET)
        return parse_report(file.read(_WORDS * 4))


def memory_losses(memory: bytes) -> list[str]:
    """Compare every byte of a paused guest's working set with what must be there.

    Returns one sentence for each page that differs; an empty list means that the memory is whole.
    """
    losses = []
    latest = _pass_of_first_cell(memory)
    cells_ahead = len(CELL_OFFSETS)
    for start in range(0, len(memory), PAGE_BYTES):
        address = WORKING_SET_ADDRESS + start
        page = memory[start : start + PAGE_BYTES]
        # pages of this pass, at most one page half way, then pages of the pass before
        choices = (cells_ahead, *(() if cells_ahead == 0 else range(cells_ahead)))
        for ahead in choices:
            if page == _page_content(address, latest, ahead):
                cells_ahead = ahead if ahead == len(CELL_OFFSETS) else 0
                break
        else:
            losses.append(f"page {address:#x} does not hold what pass {latest} left there")
    return losses


def _pass_of_first_cell(memory: bytes) -> int:
    first: int = struct.unpack_from("<I", memory)[0]
    return (first - WORKING_SET_ADDRESS) * pow(SALT, -1, 2**32) % 2**32


def _page_content(address: int, latest: int, cells_ahead: int) -> bytes:
    """A page in which ``cells_ahead`` cells were reached by pass ``latest``, the others not yet."""
    words = array("I", range(address, address + PAGE_BYTES, 4))
    for index, offset in enumerate(CELL_OFFSETS):
        passes = latest if index < cells_ahead else latest - 1
        words[offset // 4] = (address + offset + passes * SALT) % 2**32
    return words.tobytes()


def check_memory(init: ProcessId, folders: LabFolders, host: str, name: str) -> list[str]:
    """Compare a guest's whole working set; one that runs is paused for that moment.

    Returns what :func:`memory_losses` does.

    Raises:
        LabError: the host has no such guest, or it neither runs nor is paused.
    """
    dump = _DUMP.format(name=name)
    outside = folders.node(host) / "libvirt" / Path(dump).name
    report = read_guest_report(init, name)
    region = f"{WORKING_SET_ADDRESS:#x} {report.pages * PAGE_BYTES:#x}"
    save = f"qemu-monitor-command {name} --hmp 'pmemsave {region} \"{dump}\"'"
    if hypervisor.virsh(init, f"domstate {name}").strip() == "paused":
        hypervisor.virsh(init, save)
    else:
        hypervisor.virsh(init, f"suspend {name}")
        try:
            hypervisor.virsh(init, save)
        finally:
            hypervisor.virsh(init, f"resume {name}")
    memory = outside.read_bytes()
    outside.unlink()
    if len(memory) != report.pages * PAGE_BYTES:
        raise LabError(f"{name}: QEMU wrote {len(memory)} bytes of memory to {outside}")
    return memory_losses(memory)
