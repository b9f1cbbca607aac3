"""Times of the backend: now, and in sentences. Nobody knows in which time zone they are read.

A moment is told in UTC, and says so; how long something takes, or how long ago it was, needs no
zone. Consoles and the command line draw moments that come as numbers in the zone of who looks.
"""

import math
import time
from datetime import UTC, datetime

_LONG_S = 120
_HOUR_S = 3600


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


def moment(at_ms: int) -> str:
    """A time of day for a sentence: ``2026-11-26 04:30 UTC``."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasting(seconds: float) -> str:
    """A duration for a sentence: ``95 s``, ``12 min``, ``2 h 5 min``."""
    whole = math.ceil(max(0.0, seconds))
    if whole < _LONG_S:
        return f"{whole} s"
    minutes = math.ceil(whole / 60)
    if whole < _HOUR_S:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
