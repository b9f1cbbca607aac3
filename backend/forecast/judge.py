"""The forecast itself: curve and passes put together, with a verdict and what would help."""

import math

import msgspec

from backend.forecast.curve import Curve, fit
from backend.forecast.doubt import RANGE_ERRORS, calmer, shifted
from backend.forecast.known import Known
from backend.forecast.levers import lever
from backend.forecast.passes import QUICK_MARGIN, Course, Link, floor_s, walk
from backend.forecast.past import LAST_PASS_SLOWER
from backend.forecast.rates import UNSHOWN_TIMES
from backend.forecast.throttling import MOST_PERCENT
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
BEARABLE_PERCENT = 60
"""Who has to be held back by more is asked about before: two parts of three of its time are gone
then, for minutes, and post-copy or a longer pause is less of an outage."""


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
    """As they are counted: of a live move at their full sizes, whatever is written in them."""
    written_bytes: int
    """What of them takes time: holes cost next to nothing on the wire."""
    overhead_ms: int
    fixed_pause_ms: int
    band: tuple[float, float] | None = None
    """How forecasts held; None if nobody knows yet."""


def judge_live(known: Known, terms: Terms) -> Forecast:
    """The forecast of a live move."""
    rate, limit_s = terms.bytes_per_s, terms.options.downtime_limit_ms / 1000
    bound_s = terms.options.downtime_bound_ms / 1000 if terms.options.quickly_finish else 0.0
    enough_s = max(limit_s, bound_s / (1 + QUICK_MARGIN))
    curve = _fitted(known, 0)
    link = Link(bytes_per_s=rate, limit_s=limit_s, bound_s=bound_s)
    course = _course(curve, link, known)
    slowed = floor_s(curve, rate) > enough_s and _bearable(course, known)
    calm = None if slowed else calmer(curve, known, rate, enough_s)
    if calm is not None:
        curve, course = calm, _course(calm, link, known)
    lowest_s = floor_s(curve, rate)
    stuck = lowest_s > enough_s and not slowed
    told = lever(
        curve,
        terms.uncapped_bytes_per_s,
        rate,
        limit_s,
        link_seen=terms.link_seen,
        fixed_pause_ms=terms.fixed_pause_ms,
        held_back_percent=course.throttle_percent if course.converges else None,
    )
    if stuck:  # as if its lever was pulled
        link = Link(bytes_per_s=rate, limit_s=lowest_s * STUCK_MARGIN)
        course = _course(curve, link, known)
    done = known.under_way
    times = _Times(known, terms, curve, link)
    rest_ms = times.rest_ms(course, rate)
    low_ms, high_ms = times.band(rest_ms)
    spent_ms = times.before_ms + done.elapsed_ms if done is not None else 0
    sent_bytes = done.sent_bytes if done is not None else 0
    return Forecast(
        ease=_ease(curve, terms, limit_s, stuck=stuck, alone=slowed or calm is not None),
        basis=known.basis,
        total_ms=spent_ms + rest_ms,
        low_ms=spent_ms + low_ms,
        high_ms=spent_ms + high_ms,
        sent_bytes=sent_bytes + terms.disk_bytes + int(course.sent_bytes + course.last_bytes),
        downtime_ms=times.pause_ms(course, rate),
        floor_ms=math.ceil(1000 * lowest_s) + terms.fixed_pause_ms if lowest_s else 0,
        throttle_percent=course.throttle_percent,
        pass_count=course.pass_count,
        dirty_bytes_per_s=int(curve.rate_bytes_per_s),
        bandwidth_bytes_per_s=int(rate),
        link_seen=terms.link_seen,
        lever=told if stuck else "",
    )


def judge_cold(terms: Terms) -> Forecast:
    """The forecast of a stopped server's move: its local disks are all there is to send."""
    disks_ms = int(1000 * terms.written_bytes / terms.bytes_per_s)
    total_ms = terms.overhead_ms + disks_ms
    low, high = terms.band or _BANDS[Basis.MEASURED]
    slowest_ms = total_ms if terms.link_seen else terms.overhead_ms + UNSHOWN_TIMES * disks_ms
    return Forecast(
        ease=Ease.EASY,
        basis=Basis.MEASURED,
        total_ms=total_ms,
        low_ms=int(total_ms * low),
        high_ms=int(max(total_ms * high, slowest_ms)),
        sent_bytes=terms.disk_bytes,
        downtime_ms=0,
        bandwidth_bytes_per_s=int(terms.bytes_per_s),
        link_seen=terms.link_seen,
    )


class _Times:
    """How long the rest of a move takes, and between what."""

    def __init__(self, known: Known, terms: Terms, curve: Curve, link: Link) -> None:
        self._known, self._terms, self._curve, self._link = known, terms, curve, link
        done = known.under_way
        overhead_ms = terms.overhead_ms
        self.before_ms = overhead_ms if done is None else max(overhead_ms, done.overhead_ms)

    def pause_ms(self, course: Course, rate: float) -> int:
        """How long the guest stands still."""
        sending_ms = int(1000 * course.last_bytes / rate * LAST_PASS_SLOWER)
        return sending_ms + self._terms.fixed_pause_ms

    def rest_ms(self, course: Course, rate: float) -> int:
        """What is still to come of a move, by its passes."""
        copying_ms = int(1000 * course.seconds) + self.pause_ms(course, rate)
        if self._known.under_way is not None:
            return copying_ms
        return self.before_ms + int(1000 * self._terms.written_bytes / rate) + copying_ms

    def band(self, rest_ms: int) -> tuple[int, int]:
        """Between which times nine of ten such moves end.

        Wide enough for how forecasts held, for what sampling leaves open, and for a link that no
        move has shown: that may carry a tenth of what its card says.
        """
        known, terms, link = self._known, self._terms, self._link
        low, high = terms.band or _BANDS[known.basis]
        low_ms, high_ms = rest_ms * low, rest_ms * high
        busy = self._curve
        if any(one.sampled for one in known.points):
            calm, busy = (_fitted(known, errors) for errors in (-RANGE_ERRORS, RANGE_ERRORS))
            low_ms = min(low_ms, self.rest_ms(_course(calm, link, known), link.bytes_per_s))
            high_ms = max(high_ms, self.rest_ms(_course(busy, link, known), link.bytes_per_s))
        if not terms.link_seen:
            slow = msgspec.structs.replace(link, bytes_per_s=link.bytes_per_s / UNSHOWN_TIMES)
            course = _course(busy, slow, known)
            high_ms = max(high_ms, UNSHOWN_TIMES * rest_ms)
            if course.converges:  # else nobody can say, and it is given up
                high_ms = max(high_ms, self.rest_ms(course, slow.bytes_per_s))
        return int(low_ms), int(high_ms)


def _fitted(known: Known, errors: float) -> Curve:
    points = shifted(known.points, errors) if errors else known.points
    return fit(points, float(known.in_use_bytes))


def _bearable(course: Course, known: Known) -> bool:
    """Whether a guest is brought over without being held back for more than it bears.

    One that is on its way is held back as far as it takes.
    """
    most_percent = MOST_PERCENT if known.under_way is not None else BEARABLE_PERCENT
    return course.converges and course.throttle_percent <= most_percent


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
        throttle_percent=done.throttle_percent,
    )


def _ease(curve: Curve, terms: Terms, limit_s: float, *, stuck: bool, alone: bool) -> Ease:
    """Easy is what converges on half of its share: then those that join in do it no harm.

    One more always joins in, while a move ends: even a link that one stream fills is shared by two.
    """
    if stuck:
        return Ease.STUCK
    if alone:
        return Ease.HEAVY
    share = min(terms.share_bytes_per_s, terms.bytes_per_s / 2)
    shared_s = floor_s(curve, share / 2)
    return Ease.EASY if shared_s <= limit_s else Ease.HEAVY
