"""The walk of passes, held against guests that are simulated page by page."""

import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.forecast import passes
from backend.forecast.curve import Curve, Point, fit
from backend.forecast.passes import Link, floor_s, walk
from hostagent import quick_finish

_spec = importlib.util.spec_from_file_location(
    "simulated", Path(__file__).with_name("simulated.py")
)
simulated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(simulated)

HOT, ALL, LINK = 2048, 3000, 1500


def curve(ratio: float, hot: float = HOT, most: float = ALL) -> Curve:
    return Curve(hot_bytes=hot, hot_bytes_per_s=ratio * LINK, most_bytes=most)


def really(
    ratio: float,
    limit_s: float,
    *,
    in_order: bool = False,
    auto_converge: bool = False,
    give_up_s: float = 60.0,
):
    return simulated.move(
        hot_pages=HOT,
        all_pages=ALL,
        dirty_pages_per_s=ratio * LINK,
        link_pages_per_s=LINK,
        limit_s=limit_s,
        in_order=in_order,
        auto_converge=auto_converge,
        give_up_s=give_up_s,
    )


def forecast(ratio: float, limit_s: float, *, auto_converge: bool = False):
    link = Link(bytes_per_s=LINK, limit_s=limit_s, auto_converge=auto_converge)
    return walk(curve(ratio), link, ALL, memory_bytes=ALL)


@pytest.mark.parametrize("limit_s", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_time_and_pause_of_guests_that_converge(ratio, limit_s):
    real, told = really(ratio, limit_s), forecast(ratio, limit_s)
    assert real.converged
    assert told.converges
    assert told.seconds == pytest.approx(real.seconds, rel=0.08, abs=0.05)
    assert told.last_bytes / LINK == pytest.approx(real.pause_s, rel=0.08, abs=0.03)


@pytest.mark.parametrize(("ratio", "limit_s"), [(0.9, 0.05), (1.5, 0.3), (2.0, 0.3), (3.0, 0.3)])
def test_a_guest_that_dirties_too_fast_is_held_back_until_it_converges(ratio, limit_s):
    real = really(ratio, limit_s, auto_converge=True)
    told = forecast(ratio, limit_s, auto_converge=True)
    assert real.converged
    assert told.converges
    assert told.throttle_percent == real.throttle_percent >= 20
    assert told.seconds == pytest.approx(real.seconds, rel=0.08)
    # one that writes in order dirties nothing twice: it is held back for longer
    in_order = really(ratio, limit_s, auto_converge=True, in_order=True)
    assert in_order.converged
    assert in_order.throttle_percent >= told.throttle_percent


def test_one_that_was_held_back_already_needs_less_time():
    link = Link(bytes_per_s=LINK, limit_s=0.3)
    fresh = walk(curve(2.0), link, HOT, memory_bytes=ALL, finished=8)
    later = walk(curve(2.0), link, HOT, memory_bytes=ALL, finished=8, throttle_percent=70)
    assert later.converges
    assert (later.throttle_percent, later.seconds < fresh.seconds) == (70, True)


def test_no_guest_is_held_back_by_more_than_qemu_can():
    drowned = Curve(slow_bytes_per_s=500.0 * LINK, most_bytes=ALL)
    told = walk(drowned, Link(bytes_per_s=LINK, limit_s=0.1), ALL, memory_bytes=ALL)
    assert (told.converges, told.throttle_percent) == (False, 99)


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0])
def test_the_floor_is_met_by_guests_written_in_order_and_not_by_less(ratio):
    lowest_s = floor_s(curve(ratio), LINK)
    assert really(ratio, lowest_s * 1.1, in_order=True).converged
    assert not really(ratio, lowest_s * 0.5, in_order=True, give_up_s=20).converged
    assert not really(ratio, lowest_s * 0.4, give_up_s=20).converged
    assert not forecast(ratio, lowest_s * 0.4).converges


@settings(deadline=None)
@given(ratio=st.floats(1.01, 50))
def test_the_floor_solves_its_equation(ratio):
    share = floor_s(curve(ratio), LINK) * LINK / HOT
    assert share == pytest.approx(1 - math.exp(-ratio * share), abs=1e-3)
    assert 1 - 1 / ratio <= share + 1e-3


@settings(deadline=None)
@given(ratio=st.floats(0, 1))
def test_below_the_links_rate_there_is_no_floor(ratio):
    assert floor_s(curve(ratio), LINK) == 0


def test_what_is_dirtied_slowly_takes_from_the_link():
    hot = Curve(hot_bytes=HOT, hot_bytes_per_s=0.7 * LINK, most_bytes=ALL)
    beside = Curve(
        hot_bytes=HOT, hot_bytes_per_s=0.7 * LINK, slow_bytes_per_s=0.5 * LINK, most_bytes=ALL
    )
    assert floor_s(hot, LINK) == 0
    assert floor_s(beside, LINK) > 0
    drowned = Curve(slow_bytes_per_s=2.0 * LINK, most_bytes=ALL)
    assert floor_s(drowned, LINK) == ALL / LINK


@settings(deadline=None)
@given(
    ratio=st.floats(0, 5),
    limit_s=st.floats(0.001, 3),
    start=st.integers(1, ALL),
    finished=st.integers(0, 5),
)
def test_every_walk_ends_with_figures_that_can_be(ratio, limit_s, start, finished):
    told = walk(
        curve(ratio),
        Link(bytes_per_s=LINK, limit_s=limit_s),
        start,
        memory_bytes=ALL,
        finished=finished,
    )
    assert 0 <= told.last_bytes <= ALL + 1
    assert told.seconds >= 0
    assert told.sent_bytes == pytest.approx(told.seconds * LINK, abs=1)
    assert told.pass_count > finished


def test_more_link_is_never_slower():
    slow = walk(curve(0.5), Link(bytes_per_s=LINK, limit_s=0.3), ALL, memory_bytes=ALL)
    fast = walk(curve(0.5), Link(bytes_per_s=2 * LINK, limit_s=0.3), ALL, memory_bytes=ALL)
    assert fast.seconds < slow.seconds


def test_zero_pages_cost_nothing_and_are_not_left_behind():
    used = ALL // 4
    told = walk(curve(0.0, most=used), Link(bytes_per_s=LINK, limit_s=0.3), used, memory_bytes=ALL)
    assert told.sent_bytes == used
    assert told.last_bytes == 0


def test_finishing_quickly_ends_a_move_that_else_never_would():
    endless = Link(bytes_per_s=LINK, limit_s=0.1, auto_converge=False)
    assert not walk(curve(2.0), endless, ALL, memory_bytes=ALL).converges
    bound_s = 1.3 * floor_s(curve(2.0), LINK) * (1 + passes.QUICK_MARGIN)
    quick = Link(bytes_per_s=LINK, limit_s=0.1, bound_s=bound_s)
    told = walk(curve(2.0), quick, ALL, memory_bytes=ALL)
    assert told.converges
    assert told.pass_count == passes.FINISHED_PASSES + 1
    assert told.last_bytes / LINK * (1 + passes.QUICK_MARGIN) <= bound_s


def test_the_agent_finishes_as_quickly_as_is_reckoned_with():
    assert quick_finish.FINISHED_PASSES == passes.FINISHED_PASSES
    assert quick_finish.MARGIN == passes.QUICK_MARGIN


@pytest.mark.parametrize(("ratio", "limit_s"), [(0.3, 0.3), (0.7, 0.3)])
def test_two_windows_suffice_for_a_forecast(ratio, limit_s):
    true = curve(ratio)
    told = fit(
        [
            Point(seconds=one, dirtied_bytes=true.dirtied_bytes(one), error_bytes=HOT / 50)
            for one in (1.0, 3.0)
        ],
        ALL,
    )
    found = walk(told, Link(bytes_per_s=LINK, limit_s=limit_s), ALL, memory_bytes=ALL)
    assert found.seconds == pytest.approx(really(ratio, limit_s).seconds, rel=0.2)
