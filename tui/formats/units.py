"""Bytes, rates, durations and moments as short texts with their unit."""

from datetime import datetime

_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MEBIBYTE = 1024 * 1024


def bytes_text(size_bytes: int) -> str:
    """``512 B``, ``1.5 GiB``, ``226 MiB``: three digits or so, binary units."""
    value = float(size_bytes)
    step = 0
    while abs(value) >= 1023.95 and step < len(_BINARY_UNITS) - 1:
        value /= 1024
        step += 1
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}".removesuffix(".0")
    return f"{text} {_BINARY_UNITS[step]}"


def rate_text(bytes_per_s: int) -> str:
    """``47.7 MiB/s``."""
    return f"{bytes_text(bytes_per_s)}/s"


def duration_text(duration_ms: int) -> str:
    """``43 ms``, ``9.8 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if duration_ms < 1000:
        return f"{duration_ms} ms"
    if duration_ms < 59_950:
        return f"{duration_ms / 1000:.1f} s"
    seconds = round(duration_ms / 1000)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def duration_within(duration_ms: int, width: int) -> str:
    """``2 min 16 s``, ``2:16`` or ``27 h``: as much of a duration as that many cells hold."""
    texts = (duration_text(duration_ms), clock_text(round(duration_ms / 1000)))
    fitting = [text for text in texts if len(text) <= width]
    return fitting[0] if fitting else f"{round(duration_ms / 3_600_000)} h"


def after_within(since_ms: int, at_ms: int, width: int) -> str:
    """How long after one moment another one was, in so many cells; ``-`` if it has not come."""
    return duration_within(max(0, at_ms - since_ms), width) if at_ms else "-"


def clock_text(duration_s: int) -> str:
    """``0:09``, ``12:05``, ``1:02:05``: a place on a time line, in minutes or hours and seconds."""
    minutes, seconds = divmod(max(0, duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def moment_text(unix_ms: int, *, brief: bool = False) -> str:
    """``2026-11-23 05:17:02`` in local time, or ``11-23 05:17``; ``-`` for 0, which is not yet."""
    if not unix_ms:
        return "-"
    moment = datetime.fromtimestamp(unix_ms / 1000).astimezone()
    return moment.strftime("%m-%d %H:%M" if brief else "%Y-%m-%d %H:%M:%S")


def zone_text(unix_ms: int) -> str:
    """``UTC+01:00``: the local zone at a moment, for who reads elsewhere what was written here."""
    offset = datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:]}"


def mebibytes(size_bytes: int) -> str:
    """A bare number of MiB, as climc writes memory and disk sizes."""
    return str(round(size_bytes / MEBIBYTE))
