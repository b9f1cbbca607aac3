"""Moments that people type: today or tomorrow, other zones, changes of the clocks, nonsense."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.formats.moments import MomentError, deadline_ms
from tui.formats.units import moment_text, zone_text


def at(text: str) -> int:
    """Unix time in ms of an ISO moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        ("2026-11-26T02:00", "04:30", "2026-11-26T03:30"),
        ("2026-11-26T02:00", " 4:30 ", "2026-11-26T03:30"),
        ("2026-11-26T04:00", "04:30", "2026-11-27T03:30"),
        ("2026-11-26T03:30", "04:30", "2026-11-27T03:30"),
        ("2026-12-31T22:30", "00:15", "2026-12-31T23:15"),
        # the clocks go forward in that night: the day has 23 hours
        ("2026-03-28T12:00", "04:30", "2026-03-29T02:30"),
        ("2026-11-26T02:00", "2026-11-28T04:30", "2026-11-28T03:30"),
        ("2026-11-26T02:00", "2026-11-28 04:30:10", "2026-11-28T03:30:10"),
        ("2026-11-26T02:00", "2026-11-28T04:30Z", "2026-11-28T04:30"),
        ("2026-11-26T02:00", "2026-11-26T12:00+09:00", "2026-11-26T03:00"),
    ],
)
def test_moments_to_come(now, text, moment):
    assert deadline_ms(text, "--empty-by", at(now)) == at(moment)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "text", ["2026-11-26T03:00", "2026-11-26T03:00+01:00", "1970-01-01T00:00Z"]
)
def test_a_moment_that_is_past_is_refused_with_the_time_it_is(text):
    with pytest.raises(MomentError) as caught:
        deadline_ms(text, "--empty-by", at("2026-11-26T02:00"))
    assert str(caught.value) == (
        f"--empty-by is {text!r}, which is past: it is 2026-11-26 03:00 now, and it should be a "
        "time to come"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "24:00", "4:60", "04:30:00", "-1:00", "0430", "2026-11-28", "20261128T0430"),
        *("2026-13-01T00:00", "2026-11-28T04:30Zulu", "٠٤:٣٠", "99999-01-01T00:00", "9" * 99),
    ],
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(MomentError, match=r"--empty-by is '.*', and should be HH:MM, or a date"):
        deadline_ms(text, "--empty-by", at("2026-11-26T02:00"))


@given(st.text(max_size=40), st.integers(0, 4_000_000_000_000))
def test_whatever_is_typed_is_later_or_refused(text, now_ms):
    with suppress(MomentError):
        assert deadline_ms(text, "--empty-by", now_ms) > now_ms


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 4_000_000_000_000))
def test_a_time_of_day_is_within_the_next_day(hour, minute, now_ms):
    moment_ms = deadline_ms(f"{hour:02d}:{minute:02d}", "--empty-by", now_ms)
    assert 0 < moment_ms - now_ms <= 25 * 3_600_000


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("told", "shown", "zone"),
    [
        ("2026-11-26T03:30", "2026-11-26 04:30:00", "UTC+01:00"),
        ("2026-07-26T03:30", "2026-07-26 05:30:00", "UTC+02:00"),
    ],
)
def test_moments_are_drawn_in_the_local_zone_which_a_ticket_names(told, shown, zone):
    assert (moment_text(at(told)), zone_text(at(told))) == (shown, zone)
