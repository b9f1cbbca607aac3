import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.formats.table import Column, record_lines, table_lines
from tui.formats.units import bytes_text, duration_text, duration_within, moment_text, rate_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (226 * 1024**2, "226 MiB"),
        (50_000_000, "47.7 MiB"),
        (1024**4, "1 TiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_bytes(size_bytes: int, text: str):
    assert bytes_text(size_bytes) == text
    assert rate_text(size_bytes) == f"{text}/s"


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_949, "59.9 s"),
        (59_950, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_600, "1 h 00 min"),
        (7_500_000, "2 h 05 min"),
    ],
)
def test_durations(duration_ms: int, text: str):
    assert duration_text(duration_ms) == text


@pytest.mark.parametrize(
    ("duration_ms", "width", "text"),
    [
        (136_400, 11, "2 min 16 s"),
        (136_400, 7, "2:16"),
        (59_900, 7, "59.9 s"),
        (3_725_000, 7, "1:02:05"),
        (97_200_000, 7, "27 h"),
    ],
)
def test_a_duration_is_told_as_the_room_allows(duration_ms: int, width: int, text: str):
    assert duration_within(duration_ms, width) == text


def test_moments_are_local(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert moment_text(1_700_000_000_000) == "2023-11-15 07:13:20"
        assert moment_text(1_700_000_000_000, brief=True) == "11-15 07:13"
        assert moment_text(0) == "-"
    finally:
        monkeypatch.undo()
        time.tzset()


COLUMNS = (Column("ID", least=4), Column("Name", least=6), Column("Guests", right=True))
ROWS = [("00000001-aaaa", "kvm-01", "3"), ("00000002-aaaa", "水-host-with-a-name", "")]


def test_without_a_terminal_nothing_is_cut():
    assert list(table_lines(COLUMNS, ROWS, width=None)) == [
        "ID             Name                 Guests",
        "00000001-aaaa  kvm-01                    3",
        "00000002-aaaa  水-host-with-a-name       -",
    ]


def test_a_narrow_terminal_shortens_the_widest_columns():
    assert list(table_lines(COLUMNS, ROWS, width=30)) == [
        "ID          Name        Guests",
        "00000001-…  kvm-01           3",
        "00000002-…  水-host-w…       -",
    ]


def test_where_shortening_does_not_suffice_rows_become_blocks():
    assert list(table_lines(COLUMNS, ROWS, width=16)) == [
        "ID      00000001-aaaa",
        "Name    kvm-01",
        "Guests  3",
        "",
        "ID      00000002-aaaa",
        "Name    水-host-with-a-name",
        "Guests  -",
    ]


def test_an_empty_table_still_has_its_heading():
    assert list(table_lines(COLUMNS, [], width=None)) == ["ID  Name  Guests"]


def test_cells_are_escaped():
    (_, line) = table_lines((Column("Name"),), [("\x1b[31mred",)], width=None)
    assert line == r"\x1b[31mred"


@given(
    rows=st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40), st.just("3"))),
    width=st.integers(min_value=20, max_value=120),
)
def test_no_line_of_a_table_is_wider_than_the_terminal(rows, width):
    lines = list(table_lines(COLUMNS, rows, width=width))
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)


def test_a_value_of_several_lines_stays_readable():
    assert list(record_lines([("id", "7"), ("error", "first\nsecond\x1b")])) == [
        "id     7",
        "error  first",
        r"       second\x1b",
    ]
