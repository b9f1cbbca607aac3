"""The passes of a live migration, walked through before they happen.

As QEMU does it: a pass ends when what remains takes less than the pause at the measured bandwidth.
The dirty bitmap is read then, and if what remains now still does, the guest stops for it. So a pass
leaves pages behind, of which the guest dirties some anew. A guest that dirties too much meanwhile
is held back (:mod:`backend.forecast.throttling`).
"""

import math

import msgspec

from backend.forecast.curve import Curve
from backend.forecast.throttling import MOST_PERCENT, Throttle

FINISHED_PASSES = 3
QUICK_MARGIN = 0.25
"""As the host agent finishes quickly: after so many passes it raises the limit to what remains, and
a quarter more."""
_NEAR = 1.05
"""So near to the limit chunks and the jitter of the bandwidth let it finish."""
_MOST_PASSES = 250
"""Passes that take less than a second: it needs many of them to hold a guest back by all it can."""
_SHRINKS = 0.995
_FULL = 0.8
"""From this share of its memory on, a guest leaves pages behind in its first pass too. Where less
is in use, zero pages come last, and they cost nothing."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a move has at its disposal."""

    bytes_per_s: float
    limit_s: float
    """The pause that QEMU may plan."""
    bound_s: float = 0.0
    """What ``quickly_finish`` may raise it to; 0 without it."""
    auto_converge: bool = True
    """A guest that dirties too much is held back."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How the memory of a guest is brought over."""

    pass_count: int
    """The stop-and-copy included."""
    seconds: float
    """Until the guest stops."""
    sent_bytes: float
    """Until then."""
    last_bytes: float
    """What is sent while it stands still."""
    converges: bool
    throttle_percent: int = 0
    """How far it is held back at the end."""


def walk(
    curve: Curve,
    link: Link,
    start_bytes: float,
    *,
    memory_bytes: float,
    finished: int = 0,
    throttle_percent: int = 0,
) -> Course:
    """Walk the passes until the guest can stop, or nothing gets less any more.

    Args:
        curve: how the guest dirties its memory.
        link: what the move has.
        start_bytes: what remains at the beginning of the next pass.
        memory_bytes: all memory of the guest.
        finished: passes that are over already.
        throttle_percent: how far it is held back already.
    """
    throttle = Throttle(throttle_percent)
    allowed_bytes = link.bytes_per_s * link.limit_s
    remaining, seconds, sent = start_bytes, 0.0, 0.0
    number = finished + 1
    while True:
        first = number == 1
        if not first and (remaining <= allowed_bytes * _NEAR or _quick(link, remaining, number)):
            break
        leaves = min(remaining, allowed_bytes)
        if first and remaining < _FULL * memory_bytes:
            leaves = 0.0
        took = (remaining - leaves) / link.bytes_per_s
        fresh = curve.dirtied_bytes(took * throttle.runs)
        fresh *= 1 - _again(curve, leaves, fresh, memory_bytes, first=first)
        following = min(leaves + fresh, max(curve.most_bytes, leaves))
        seconds, sent = seconds + took, sent + remaining - leaves
        may_help = link.auto_converge and throttle.percent < MOST_PERCENT
        if link.auto_converge:
            throttle.passed(took, sent_bytes=remaining - leaves, dirtied_bytes=fresh)
        before, remaining = remaining, following
        number += 1
        settled = not first and following > before * _SHRINKS and number > FINISHED_PASSES + 1
        if (settled and not may_help) or number - finished > _MOST_PASSES:
            break
    return Course(
        pass_count=number,
        seconds=seconds,
        sent_bytes=sent,
        last_bytes=remaining,
        converges=remaining <= allowed_bytes * _NEAR or _quick(link, remaining, number),
        throttle_percent=throttle.percent,
    )


def _quick(link: Link, remaining: float, number: int) -> bool:
    needed_s = remaining / link.bytes_per_s * (1 + QUICK_MARGIN)
    return number > FINISHED_PASSES and needed_s <= link.bound_s


def _again(
    curve: Curve, leaves: float, dirtied: float, memory_bytes: float, *, first: bool
) -> float:
    """Which part of what the guest dirties was left behind dirty anyway."""
    among = memory_bytes if first or not curve.hot_bytes else max(curve.hot_bytes, dirtied)
    return min(1.0, leaves / among) if among else 0.0


def floor_s(curve: Curve, bytes_per_s: float) -> float:
    """The shortest pause that a link lets a guest come down to; 0 where any can be had.

    With r = D/B the dirty set settles at W x, where x = 1 - exp(-r x); below r = 1 at nothing. A
    guest that is written at random comes down to W(1 - 1/r), which is less; one that walks through
    its memory, as databases and garbage collectors do, does not.
    """
    room = bytes_per_s - curve.slow_bytes_per_s
    if room <= 0:
        return curve.most_bytes / bytes_per_s
    ratio = curve.hot_bytes_per_s / room
    if ratio <= 1 or not curve.hot_bytes:
        return 0.0
    share = 1.0
    for _ in range(200):
        share = -math.expm1(-ratio * share)
    return curve.hot_bytes * share / room
