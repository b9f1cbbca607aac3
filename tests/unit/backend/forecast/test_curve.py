"""The dirty curve is found again in points that were taken from one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.forecast.curve import Curve, Point, fit

MIB = 1 << 20
WINDOWS_S = (1.0, 3.0, 10.0)


def points(curve: Curve, windows_s=WINDOWS_S, error_bytes: float = MIB) -> list[Point]:
    return [
        Point(seconds=one, dirtied_bytes=curve.dirtied_bytes(one), error_bytes=error_bytes)
        for one in windows_s
    ]


@settings(deadline=None)
@given(
    hot_mib=st.floats(8, 4096),
    per_s=st.floats(0.15, 3.0),
    slow_mib_per_s=st.floats(0, 5),
)
def test_three_windows_tell_hot_memory_and_its_rate(hot_mib, per_s, slow_mib_per_s):
    true = Curve(
        hot_bytes=hot_mib * MIB,
        hot_bytes_per_s=hot_mib * MIB * per_s,
        slow_bytes_per_s=slow_mib_per_s * MIB,
        most_bytes=64 << 30,
    )
    found = fit(points(true), true.most_bytes)
    for seconds in (0.3, 1.0, 2.0, 5.0, 10.0):
        assert found.dirtied_bytes(seconds) == pytest.approx(
            true.dirtied_bytes(seconds), rel=0.15, abs=2 * MIB
        )


@settings(deadline=None)
@given(
    dirtied=st.lists(st.integers(0, 1 << 32), min_size=1, max_size=6),
    most=st.integers(1, 1 << 34),
    seconds=st.floats(0.001, 10_000),
)
def test_no_curve_is_above_the_memory_in_use_or_falls(dirtied, most, seconds):
    told = [
        Point(seconds=1.0 + number, dirtied_bytes=bytes_, error_bytes=MIB)
        for number, bytes_ in enumerate(dirtied)
    ]
    found = fit(told, float(most))
    assert 0 <= found.dirtied_bytes(seconds) <= found.dirtied_bytes(seconds * 2) <= most
    assert math.isfinite(found.rate_bytes_per_s)


def test_one_window_is_a_constant_rate_up_to_the_memory_in_use():
    told = [Point(seconds=2.0, dirtied_bytes=40.0 * MIB, error_bytes=MIB)]
    found = fit(told, 100.0 * MIB)
    assert found.dirtied_bytes(1.0) == pytest.approx(20 * MIB)
    assert found.dirtied_bytes(4.0) == pytest.approx(80 * MIB)
    assert found.dirtied_bytes(60.0) == 100 * MIB


def test_nothing_known_is_idle():
    assert fit([], 1.0 * MIB).dirtied_bytes(1_000) == 0


def test_windows_that_show_the_same_bytes_show_hot_memory():
    told = [Point(seconds=one, dirtied_bytes=32.0 * MIB, error_bytes=MIB) for one in (1, 3)]
    found = fit(told, 1024.0 * MIB)
    assert found.hot_bytes == pytest.approx(32 * MIB, rel=0.1)
    assert found.dirtied_bytes(60) < 48 * MIB
    # a constant rate would say 640 MiB
    assert found.dirtied_bytes(1) == pytest.approx(32 * MIB, rel=0.1)


def test_a_sharp_point_outweighs_a_blurred_one():
    blurred = Point(seconds=1.0, dirtied_bytes=90.0 * MIB, error_bytes=50.0 * MIB)
    sharp = Point(seconds=1.1, dirtied_bytes=20.0 * MIB, error_bytes=1.0 * MIB)
    found = fit([blurred, sharp], 1024.0 * MIB)
    assert found.dirtied_bytes(1.1) == pytest.approx(20 * MIB, rel=0.2)
