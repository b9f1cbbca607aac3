"""The forecast itself: curve and passes put together, with a verdict and what would help."""

import math

import msgspec

from backend.forecast.curve import Curve, Point, fit
from backend.forecast.known import Known
from backend.forecast.levers import lever
from backend.forecast.passes import QUICK_MARGIN, Course, Link, floor_s, walk
from backend.forecast.past import LAST_PASS_SLOWER
from wire.forecast import Basis, Ease, Forecast
from wire.migration import MigrationOptions

STUCK_MARGIN = 1.1
"""A limit at the very floor is met by luck; one so much above it is met soon."""
_BANDS = {
    Basis.MEASURED: (0.7, 1.5),
    Basis.PAST_MOVE: (0.6, 1.8),
    Basis.GUESSED: (0.6, 4.0),
}
"""Before enough moves have shown how forecasts hold."""
_SHOWN = 0.8
_ERRORS = 2.0
"""Standard errors by which a sampled window may tell too much."""
_UNSEEN_LINK = 2.0
"""A link of which only its card has told may be so much slower."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which terms a move is made."""

    bytes_per_s: float
    """What it gets alone."""
    share_bytes_per_s: float
    """What it gets beside as many others as fill the link."""
    uncapped_bytes_per_s: float
    """What it would get alone without its own cap."""
    link_seen: bool
    """Moves have shown the link's rate."""
    options: MigrationOptions
    disk_bytes: int
    overhead_ms: int
    fixed_pause_ms: int
    band: tuple[float, float] | None = None
    """How forecasts held; None if nobody knows yet."""


def judge_live(known: Known, terms: Terms) -> Forecast:
    """The forecast of a live move."""
    rate, limit_s = terms.bytes_per_s, terms.options.downtime_limit_ms / 1000
    bound_s = terms.options.downtime_bound_ms / 1000 if terms.options.quickly_finish else 0.0
    enough_s = max(limit_s, bound_s / (1 + QUICK_MARGIN))
    curve = fit(known.points, float(known.in_use_bytes))
    calmer = _doubted(curve, known, rate, enough_s)
    doubted, curve = calmer is not None, calmer or curve
    lowest_s = floor_s(curve, rate)
    stuck = lowest_s > enough_s
    if stuck:  # as if its lever was pulled
        link = Link(bytes_per_s=rate, limit_s=lowest_s * STUCK_MARGIN)
    else:
        link = Link(bytes_per_s=rate, limit_s=limit_s, bound_s=bound_s)
    course = _course(curve, link, known)
    done = known.under_way
    pause_ms = int(1000 * course.last_bytes / rate * LAST_PASS_SLOWER) + terms.fixed_pause_ms
    before_ms = terms.overhead_ms
    spent_ms = sent_bytes = 0
    if done is not None:
        before_ms = max(before_ms, done.overhead_ms)
        spent_ms, sent_bytes = before_ms + done.elapsed_ms, done.sent_bytes
        rest_ms = int(1000 * course.seconds) + pause_ms
    else:
        disks_ms = int(1000 * terms.disk_bytes / rate)
        rest_ms = before_ms + disks_ms + int(1000 * course.seconds) + pause_ms
    low, high = _band(known.basis, terms)
    return Forecast(
        ease=_ease(curve, terms, limit_s, stuck=stuck, doubted=doubted),
        basis=known.basis,
        total_ms=spent_ms + rest_ms,
        low_ms=spent_ms + int(rest_ms * low),
        high_ms=spent_ms + int(rest_ms * high),
        sent_bytes=sent_bytes + terms.disk_bytes + int(course.sent_bytes + course.last_bytes),
        downtime_ms=pause_ms,
        floor_ms=math.ceil(1000 * lowest_s) + terms.fixed_pause_ms if lowest_s else 0,
        pass_count=course.pass_count,
        dirty_bytes_per_s=int(curve.rate_bytes_per_s),
        bandwidth_bytes_per_s=int(rate),
        lever=_lever(curve, terms, limit_s) if stuck else "",
    )


def judge_cold(terms: Terms) -> Forecast:
    """The forecast of a stopped server's move: its local disks are all there is to send."""
    total_ms = terms.overhead_ms + int(1000 * terms.disk_bytes / terms.bytes_per_s)
    low, high = _band(Basis.MEASURED, terms)
    return Forecast(
        ease=Ease.EASY,
        basis=Basis.MEASURED,
        total_ms=total_ms,
        low_ms=int(total_ms * low),
        high_ms=int(total_ms * high),
        sent_bytes=terms.disk_bytes,
        downtime_ms=0,
        bandwidth_bytes_per_s=int(terms.bytes_per_s),
    )


def _doubted(curve: Curve, known: Known, rate: float, enough_s: float) -> Curve | None:
    """In doubt the curve with which the guest is not stuck; None where there is no doubt.

    A few pages are sampled, so that one window can tell of far more than was written: only who is
    stuck at the low end of what windows tell has to wait for a lever. Who is not after all, and
    proves to be, is given up, and that is no sampling error.
    """
    if floor_s(curve, rate) <= enough_s:
        return None
    shortest_s = min((point.seconds for point in known.points), default=0.0)
    first_s = min((one.seconds for one in known.points if one.sampled), default=0.0)
    at_first = [_lower(one) if one.seconds == first_s else one for one in known.points]
    for points in (known.points, at_first, [_lower(one) for one in known.points]):
        fitted = fit(points, float(known.in_use_bytes))
        for each in (fitted, _even(fitted, shortest_s)):
            if floor_s(each, rate) <= enough_s:
                return each
    return None


def _lower(point: Point) -> Point:
    if not point.sampled:
        return point
    least = max(0.0, point.dirtied_bytes - _ERRORS * point.error_bytes)
    return msgspec.structs.replace(point, dirtied_bytes=least)


def _even(curve: Curve, shortest_s: float) -> Curve:
    """The same guest, if it writes its hot memory in order.

    It dirties evenly then, where one that writes at random is faster at first. As long as the
    shortest window does not show all of the hot memory, it does not tell one from the other.
    """
    hot_bytes = curve.dirtied_bytes(shortest_s) - curve.slow_bytes_per_s * shortest_s
    if not shortest_s or hot_bytes >= _SHOWN * curve.hot_bytes:
        return curve
    return msgspec.structs.replace(curve, hot_bytes_per_s=hot_bytes / shortest_s)


def _course(curve: Curve, link: Link, known: Known) -> Course:
    done = known.under_way
    if done is None:
        return walk(curve, link, float(known.in_use_bytes), memory_bytes=known.memory_bytes)
    return walk(
        curve,
        link,
        float(done.remaining_bytes),
        memory_bytes=known.memory_bytes,
        finished=done.finished,
    )


def _ease(curve: Curve, terms: Terms, limit_s: float, *, stuck: bool, doubted: bool) -> Ease:
    """Easy is what converges on half of its share: then those that join in do it no harm.

    One more always joins in, while a move ends: even a link that one stream fills is shared by two.
    """
    if stuck:
        return Ease.STUCK
    if doubted:
        return Ease.HEAVY
    share = min(terms.share_bytes_per_s, terms.bytes_per_s / 2)
    shared_s = floor_s(curve, share / 2)
    return Ease.EASY if shared_s <= limit_s else Ease.HEAVY


def _lever(curve: Curve, terms: Terms, limit_s: float) -> str:
    return lever(
        curve,
        terms.uncapped_bytes_per_s,
        terms.bytes_per_s,
        limit_s,
        fixed_pause_ms=terms.fixed_pause_ms,
    )


def _band(basis: Basis, terms: Terms) -> tuple[float, float]:
    low, high = terms.band or _BANDS[basis]
    return low, high if terms.link_seen else high * _UNSEEN_LINK
