"""The check of a guest's memory finds any byte that is not as it must be."""

import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import LabError
from lab.report import (
    CELL_OFFSETS,
    REPORT_ADDRESS,
    SALT,
    WORKING_SET_ADDRESS,
    memory_losses,
    parse_report,
)
from lab.server import PAGE_BYTES

PAGES = 6


def memory(passes: int, *, pages_ahead: int, cells_ahead: int = 0) -> bytearray:
    """A working set of which ``pages_ahead`` pages and some cells were reached by the next pass."""
    words = array("I", range(WORKING_SET_ADDRESS, WORKING_SET_ADDRESS + PAGES * PAGE_BYTES, 4))
    for page in range(PAGES):
        for index, offset in enumerate(CELL_OFFSETS):
            ahead = page < pages_ahead or (page == pages_ahead and index < cells_ahead)
            position = (page * PAGE_BYTES + offset) // 4
            words[position] = (words[position] + (passes + ahead) * SALT) % 2**32
    return bytearray(words.tobytes())


@given(
    st.integers(0, 2**32 - 2),
    st.integers(0, PAGES - 1),
    st.integers(0, len(CELL_OFFSETS)),
)
def test_whole_memory_is_whole_wherever_the_guest_was_paused(passes, pages_ahead, cells_ahead):
    content = memory(passes, pages_ahead=pages_ahead, cells_ahead=cells_ahead)
    assert memory_losses(bytes(content)) == []


@settings(max_examples=300)
@given(
    st.integers(0, 1000),
    st.integers(0, PAGES),
    st.integers(4, PAGES * PAGE_BYTES - 1),
    st.integers(1, 255),
)
def test_any_changed_byte_is_found(passes, pages_ahead, position, change):
    content = memory(passes, pages_ahead=pages_ahead)
    content[position] ^= change
    assert memory_losses(bytes(content)) != []


@pytest.mark.parametrize("passes", [1, 7])
def test_page_left_behind_by_a_pass_is_found(passes):
    content = memory(passes, pages_ahead=4)
    older = memory(passes - 1, pages_ahead=4)
    for page in (1, 5):
        stale = bytearray(content)
        here = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        stale[here] = older[here]
        assert memory_losses(bytes(stale)) != []


def test_report_is_read_field_by_field():
    words = [
        int.from_bytes(b"GDWT", "little"), 2, 700, 7, 1, 2, 3, WORKING_SET_ADDRESS + 5 * PAGE_BYTES,
        4, 0x1234, 5, 6, 100, 50, 1, 0,
    ]  # fmt: skip
    report = parse_report(struct.pack("<16I", *words))
    assert (report.boots, report.ticks, report.beats, report.nonce) == (2, 700, 7, (2 << 32) + 1)
    assert (report.memory_faults, report.fault_address) == (4, 0x1234)
    assert (report.disk_splits, report.disk_errors) == (5, 6)
    assert (report.pages, report.pages_per_s, report.drive_count) == (100, 50, 1)
    assert report.pages_dirtied == 3 * 100 + 5


def test_memory_without_a_report_is_refused():
    with pytest.raises(LabError, match="has not begun to run"):
        parse_report(bytes(64))


def test_report_lies_in_the_page_of_the_code_that_runs():
    assert REPORT_ADDRESS // PAGE_BYTES == 0x7E00 // PAGE_BYTES
