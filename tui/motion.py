"""The moves that every table and page understands."""

from typing import Literal

Motion = Literal["up", "down", "first", "last", "page_up", "page_down", "half_up", "half_down"]


def moved(motion: Motion, here: int, *, last: int, page: int) -> int:
    """Give the place that a move leads to, within 0 and ``last``."""
    places: dict[Motion, int] = {
        "up": here - 1,
        "down": here + 1,
        "first": 0,
        "last": last,
        "page_up": here - page,
        "page_down": here + page,
        "half_up": here - page // 2,
        "half_down": here + page // 2,
    }
    return max(0, min(places[motion], last))
