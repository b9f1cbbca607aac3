"""Moments that people type: by when a host has to be empty."""

import re
from datetime import datetime, timedelta

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_RIGHT = "HH:MM, or a date and a time such as 2026-11-27T04:30"


class MomentError(ValueError):
    """A moment that cannot be meant; the message is one sentence that begins with what it is."""


def deadline_ms(text: str, what: str, now_ms: int) -> int:
    """Read a moment that is still to come, in local time unless it names its zone.

    Args:
        text: ``04:30`` is today, or tomorrow if that is over; else an ISO 8601 date and time.
        what: the option or field, for the error.
        now_ms: Unix time in ms.

    Returns:
        Unix time in ms.

    Raises:
        MomentError: it is no moment, or it is past.
    """
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    moment = _moment(text.strip(), now)
    shown = text if len(text) <= 32 else f"{text[:32]}…"
    if moment is None:
        raise MomentError(f"{what} is {shown!r}, and should be {_RIGHT}")
    if moment <= now:
        raise MomentError(
            f"{what} is {shown!r}, which is past: it is {now:%Y-%m-%d %H:%M} now, and it should be "
            "a time to come"
        )
    return int(moment.timestamp() * 1000)


def _moment(text: str, now: datetime) -> datetime | None:
    if clock := _CLOCK.fullmatch(text):
        # a naive day later is the same time by the clock, also where the clocks change
        local = now.replace(tzinfo=None, second=0, microsecond=0)
        today = local.replace(hour=int(clock[1]), minute=int(clock[2])).astimezone()
        if today > now:
            return today
        return (today.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    # fromisoformat also takes a day alone, which may mean its beginning or its end
    if not text.isascii() or ":" not in text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None
