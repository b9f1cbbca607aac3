import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.plot import (
    GraphStyle,
    filled,
    levels,
    over_dots,
    resolution,
    scale,
    span_ms,
    time_label,
    time_ticks,
    traced,
)

MEBIBYTE = 1024 * 1024


def drawn(rows: list[list[str]]) -> list[str]:
    return ["".join(row) for row in rows]


def test_the_time_axis_grows_by_doubling():
    assert span_ms(0) == 4000
    assert span_ms(4001) == 8000
    assert span_ms(59_000) == 60_000
    assert span_ms(60_001) == 120_000
    assert span_ms(3_600_000) == 3_840_000


@given(st.integers(0, 10_000_000))
def test_the_time_axis_holds_all_and_wastes_at_most_half_or_so(elapsed_ms: int):
    span = span_ms(elapsed_ms)
    assert elapsed_ms <= span <= max(4000, 2.01 * elapsed_ms)


def test_ticks_are_round_moments():
    assert [time_label(each) for each in time_ticks(15_000)] == ["0s", "5s", "10s", "15s"]
    ticks = [time_label(each) for each in time_ticks(120_000)]
    assert ticks == ["0s", "30s", "1:00", "1:30", "2:00"]
    assert time_label(7_200_000) == "2h"
    assert time_label(7_260_000) == "2h01"


@pytest.mark.parametrize(
    ("largest", "step", "top"),
    [(257, 100, 300), (48, 20, 60), (1200, 512, 1536), (999, 500, 1000), (2500, 1024, 3072)],
)
def test_the_value_axis_steps_by_1_2_5(largest: float, step: float, top: float):
    assert scale(largest * MEBIBYTE, 3) == (step * MEBIBYTE, top * MEBIBYTE)


@given(st.floats(0, 1e15), st.integers(1, 6))
def test_the_value_axis_holds_the_greatest_value(largest: float, ticks: int):
    step, top = scale(largest, ticks)
    assert top >= int(largest)
    assert top % step == 0
    assert top // step <= 5 * ticks


def test_a_level_is_known_only_where_points_are():
    curve = levels([(0, 100.0), (500, 50.0)], span=1000, columns=10, top=100.0, dots=10)
    assert curve == [10, 9, 8, 7, 6, 5, None, None, None, None]


def test_new_points_leave_earlier_levels_alone():
    points = [(0, 90.0), (300, 10.0), (310, 80.0), (700, 5.0), (900, 60.0)]
    shorter = levels(points[:4], 1000, 20, 100.0, 40)
    longer = levels(points, 1000, 20, 100.0, 40)
    assert all(a == b for a, b in zip(shorter, longer, strict=True) if a is not None)


def test_a_small_value_still_shows():
    assert levels([(0, 0.01), (999, 0.01)], 1000, 4, 100.0, 10) == [1, 1, 1, 1]


def test_an_area_in_braille():
    assert drawn(filled([0, 1, 2, 3, 4, 5, 6, 8], 2, GraphStyle.BRAILLE)) == ["  ⢀⣼", "⢀⣴⣿⣿"]


def test_an_area_in_blocks_and_ascii():
    assert drawn(filled([0, 3, 8, 12], 2, GraphStyle.BLOCK)) == ["   ▄", " ▃██"]
    assert drawn(filled([0, 1, 2, None], 2, GraphStyle.ASCII)) == ["  # ", " ## "]


def test_a_sparse_area_has_fewer_dots_but_the_same_outline():
    full = drawn(filled([4, 4, 3, 3], 1, GraphStyle.BRAILLE))[0]
    sparse = drawn(filled([4, 4, 3, 3], 1, GraphStyle.BRAILLE, sparse=True))[0]
    for one, other in zip(full, sparse, strict=True):
        assert ord(other) & ~ord(one) == 0
        assert ord(other).bit_count() < ord(one).bit_count()


def test_a_line_is_joined_across_jumps():
    assert drawn(traced([1, 1, 8, 8], 2, GraphStyle.BRAILLE)) == [" ⡏", "⣀⠇"]


@pytest.mark.parametrize("style", list(GraphStyle))
@given(curve=st.lists(st.one_of(st.none(), st.integers(0, 24)), min_size=8, max_size=8))
def test_every_style_fills_the_same_cells(style: GraphStyle, curve: list[int | None]):
    across, _ = resolution(style)
    for rows in (filled(curve, 3, style), traced(curve, 3, style)):
        assert len(rows) == 3
        assert {len(row) for row in rows} == {8 // across}
        assert all(len(cell) == 1 for row in rows for cell in row)


def test_dots_of_two_curves_share_a_cell():
    assert over_dots("⣀", "⠉") == "⣉"
    assert over_dots("░", "─") == "─"
