"""When something will be done, as an operator reads it: a time of day, and how long until then."""

from tui.formats.units import duration_text, moment_text


def time_of_day(unix_ms: int, now_ms: int) -> str:
    """``04:30``, with the date if that is not today: ``2026-11-27 04:30``."""
    date, _, clock = moment_text(unix_ms).partition(" ")
    today = moment_text(now_ms).partition(" ")[0]
    return clock[:5] if date == today else f"{date} {clock[:5]}"


def until_text(unix_ms: int, now_ms: int) -> str:
    """``in 6 min 20 s``, by whole seconds; ``any moment`` once it has come."""
    left_s = (unix_ms - now_ms) // 1000
    return f"in {seconds_text(left_s)}" if left_s > 0 else "any moment"


def seconds_text(seconds: int) -> str:
    """``9 s``, ``2 min 05 s``, ``1 h 02 min``: as exact as a forecast may be."""
    return f"{seconds} s" if seconds < 60 else duration_text(seconds * 1000)


def band_text(at_ms: int, low_ms: int, high_ms: int, now_ms: int) -> str:
    """``04:12 (04:11 to 04:16)``; without the band where a clock's minutes do not show it."""
    at, low, high = (time_of_day(each, now_ms) for each in (at_ms, low_ms, high_ms))
    return at if low == high else f"{at} ({low} to {high})"
