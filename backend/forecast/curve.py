"""The dirty curve of a guest: U(t) = W(1 - exp(-D t / W)) + s t, fitted from what was measured.

W is the hot memory, written over and over at the rate D; s is the slow rate of the rest. A guest
never dirties more than the memory that it has in use. A constant rate does not describe a guest:
what is written twice within a pass has to be sent only once.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec

_FIRST, _LAST, _STEPS = 0.2, 12.0, 28
"""Rates D/W that are tried, as parts of what the longest and the shortest window can tell."""
_KEPT = 1 << 14
_SLOW_COST = 0.2
"""Where windows leave it open, memory that is hot explains more than memory that is never hot."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that were dirty so long after all were clean, with one standard error."""

    seconds: float
    dirtied_bytes: float
    error_bytes: float
    sampled: bool = False
    """Told by a few pages, and not by what a pass left to send."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """U(t) of one guest; see the module's docstring."""

    hot_bytes: float = 0.0
    """W."""
    hot_bytes_per_s: float = 0.0
    """D."""
    slow_bytes_per_s: float = 0.0
    """s."""
    most_bytes: float
    """All that it can dirty."""

    @property
    def rate_bytes_per_s(self) -> float:
        """How fast it dirties memory that is all clean."""
        return self.hot_bytes_per_s + self.slow_bytes_per_s

    def dirtied_bytes(self, seconds: float) -> float:
        """U(t)."""
        hot = 0.0
        if self.hot_bytes > 0:
            hot = -self.hot_bytes * math.expm1(-self.hot_bytes_per_s * seconds / self.hot_bytes)
        return min(self.most_bytes, hot + self.slow_bytes_per_s * seconds)


def fit(points: Sequence[Point], most_bytes: float) -> Curve:
    """The curve that explains the points best; a constant rate where all have the same window.

    Args:
        points: in any order; none for a guest of which nothing is known, which is taken as idle.
        most_bytes: all that the guest can dirty.
    """
    return _best(tuple(points), most_bytes)


@lru_cache(maxsize=_KEPT)
def _best(points: tuple[Point, ...], most_bytes: float) -> Curve:
    """The same; a guest's points are asked about again with each plan, link and lever."""
    told = [point for point in points if point.seconds > 0]
    shortest = min((point.seconds for point in told), default=0.0)
    longest = max((point.seconds for point in told), default=0.0)
    if longest <= shortest * 1.05:
        return _constant(told, most_bytes)
    candidates = [(_misses(told, each, most_bytes), each) for each in _tried(told, most_bytes)]
    return min(candidates, key=lambda scored: scored[0])[1]


def _constant(points: Sequence[Point], most_bytes: float) -> Curve:
    seconds = sum(point.seconds for point in points)
    dirtied = sum(max(0.0, point.dirtied_bytes) for point in points)
    rate = dirtied / seconds if seconds else 0.0
    return Curve(slow_bytes_per_s=rate, most_bytes=most_bytes)


def _tried(points: Sequence[Point], most_bytes: float) -> list[Curve]:
    """For each rate D/W the best W and s, which is a linear question."""
    first = _FIRST / max(point.seconds for point in points)
    last = _LAST / min(point.seconds for point in points)
    step = (last / first) ** (1 / (_STEPS - 1))
    curves = [_constant(points, most_bytes)]
    for number in range(_STEPS):
        per_s = first * step**number
        hot, slow = _least_squares(points, per_s)
        curves.append(
            Curve(
                hot_bytes=min(hot, most_bytes),
                hot_bytes_per_s=hot * per_s,
                slow_bytes_per_s=slow,
                most_bytes=most_bytes,
            )
        )
    return curves


def _least_squares(points: Sequence[Point], per_s: float) -> tuple[float, float]:
    """W and s, neither below 0, for a given rate D/W."""
    hh = hs = ss = hy = sy = 0.0
    for point in points:
        weight = 1 / point.error_bytes**2
        hot, slow = -math.expm1(-per_s * point.seconds), point.seconds
        hh += weight * hot * hot
        hs += weight * hot * slow
        ss += weight * slow * slow
        hy += weight * hot * point.dirtied_bytes
        sy += weight * slow * point.dirtied_bytes
    determinant = hh * ss - hs * hs
    if determinant > 1e-9 * hh * ss:
        hot, slow = (hy * ss - sy * hs) / determinant, (sy * hh - hy * hs) / determinant
        if hot >= 0 and slow >= 0:
            return hot, slow
    alone_hot, alone_slow = max(0.0, hy / hh), max(0.0, sy / ss)
    explained_hot, explained_slow = alone_hot * hy, alone_slow * sy
    return (alone_hot, 0.0) if explained_hot >= explained_slow else (0.0, alone_slow)


def _misses(points: Sequence[Point], curve: Curve, most_bytes: float) -> float:
    """How badly a curve explains the points, in squared standard errors."""
    longest = max(point.seconds for point in points)
    slow_share = min(1.0, curve.slow_bytes_per_s * longest / most_bytes) if most_bytes else 0.0
    return _SLOW_COST * slow_share + sum(
        ((curve.dirtied_bytes(point.seconds) - point.dirtied_bytes) / point.error_bytes) ** 2
        for point in points
    )
