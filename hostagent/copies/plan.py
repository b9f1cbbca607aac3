"""Which cells of a file have to be copied: a grid of 64 MiB, of which those with data count."""

from collections.abc import Iterable

import msgspec

from hostagent.copies.digest import Extent

CELL_BYTES = 64 << 20
_SECTOR_BYTES = 512


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell that holds data."""

    number: int
    offset: int
    size: int
    """Multiple of 512: the last one may reach beyond the end of the file."""
    data_bytes: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Which cells of a file are on the disk here. They are copied in their order, nearly."""

    file_bytes: int
    modified_ns: int
    """Both of the source: a file that was changed since begins anew."""
    before: int = 0
    """Every cell below this number is done."""
    beyond: tuple[int, ...] = ()
    """And these."""

    def done(self, cell: Cell) -> bool:
        """Whether a cell is on the disk."""
        return cell.number < self.before or cell.number in self.beyond


def sectors(size: int) -> int:
    """A length in bytes, rounded up to whole sectors of 512."""
    return -(-size // _SECTOR_BYTES) * _SECTOR_BYTES


def cells(extents: Iterable[Extent], file_bytes: int) -> tuple[Cell, ...]:
    """Cut a file into cells and leave those out that are holes."""
    data: dict[int, int] = {}
    for begin, length in extents:
        offset, end = begin, begin + length
        while offset < end:
            number = offset // CELL_BYTES
            upto = min(end, (number + 1) * CELL_BYTES)
            data[number] = data.get(number, 0) + upto - offset
            offset = upto
    whole = sectors(file_bytes)
    return tuple(
        Cell(
            number=number,
            offset=number * CELL_BYTES,
            size=min(CELL_BYTES, whole - number * CELL_BYTES),
            data_bytes=size,
        )
        for number, size in sorted(data.items())
    )


def with_done(progress: Progress, number: int, plan: Iterable[Cell]) -> Progress:
    """The progress with one more cell."""
    beyond = {*progress.beyond, number}
    before = progress.before
    for cell in plan:
        if cell.number < before:
            continue
        if cell.number not in beyond:
            break
        before = cell.number + 1
    return msgspec.structs.replace(
        progress,
        before=before,
        beyond=tuple(sorted(one for one in beyond if one >= before)),
    )
