"""What windows of few sampled pages leave open: a guest may be calmer or busier than they tell."""

from collections.abc import Sequence

import msgspec

from backend.forecast.curve import Curve, Point, fit
from backend.forecast.known import Known
from backend.forecast.passes import floor_s

_ERRORS = 2.0
"""Standard errors by which a sampled window may tell too much."""
RANGE_ERRORS = 1.6
"""Nine of ten windows are within so many."""
_SHOWN = 0.8


def shifted(points: Sequence[Point], errors: float) -> list[Point]:
    """The points as if sampling had erred by so many standard errors: what passes tell stays."""
    return [_shifted(one, errors) for one in points]


def calmer(curve: Curve, known: Known, rate: float, enough_s: float) -> Curve | None:
    """In doubt the curve with which the guest is not stuck; None where there is no doubt.

    A few pages are sampled, so that one window can tell of far more than was written: only who is
    stuck at the low end of what windows tell has to wait for a lever. Who is not after all, and
    proves to be, is given up, and that is no sampling error.

    Args:
        curve: as the points tell.
        known: the guest.
        rate: what its move gets, bytes per second.
        enough_s: the pause that it may have.
    """
    if floor_s(curve, rate) <= enough_s:
        return None
    shortest_s = min((point.seconds for point in known.points), default=0.0)
    first_s = min((one.seconds for one in known.points if one.sampled), default=0.0)
    at_first = [_shifted(one, -_ERRORS) if one.seconds == first_s else one for one in known.points]
    for points in (known.points, at_first, shifted(known.points, -_ERRORS)):
        fitted = fit(points, float(known.in_use_bytes))
        for each in (fitted, _even(fitted, shortest_s)):
            if floor_s(each, rate) <= enough_s:
                return each
    return None


def _shifted(point: Point, errors: float) -> Point:
    if not point.sampled:
        return point
    told = max(0.0, point.dirtied_bytes + errors * point.error_bytes)
    return msgspec.structs.replace(point, dirtied_bytes=told)


def _even(curve: Curve, shortest_s: float) -> Curve:
    """The same guest, if it writes its hot memory in order.

    It dirties evenly then, where one that writes at random is faster at first. As long as the
    shortest window does not show all of the hot memory, it does not tell one from the other.
    """
    hot_bytes = curve.dirtied_bytes(shortest_s) - curve.slow_bytes_per_s * shortest_s
    if not shortest_s or hot_bytes >= _SHOWN * curve.hot_bytes:
        return curve
    return msgspec.structs.replace(curve, hot_bytes_per_s=hot_bytes / shortest_s)
