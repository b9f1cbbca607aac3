"""What a move will cost: how fast a guest dirties memory, how long it takes, how long it pauses.

The model is U(t) = W(1 - exp(-D t / W)) + s t: bytes that are dirty t seconds after all were clean.
Hot memory W is written over and over at the rate D, the rest at the slow rate s.
"""

from enum import StrEnum

import msgspec


class DirtySample(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Bytes that a guest dirtied within one window."""

    window_ms: int
    dirtied_bytes: int
    at_ms: int
    """When the window ended, Unix time in ms."""


class Dirtying(msgspec.Struct, frozen=True, kw_only=True):
    """What a host measured of one running guest (``virDomainStartDirtyRateCalc``, page sampling).

    Event ``dirtying`` of the agent's stream; never stored.
    """

    server_id: str
    samples: tuple[DirtySample, ...]
    """The latest of each window, the shortest window first."""
    resident_bytes: int = 0
    """Memory that the guest has touched (``balloon.rss``, which counts what QEMU needs for itself
    too): zero pages cost next to nothing. 0 where nobody can tell, as with huge pages."""

    @property
    def measured_at_ms(self) -> int:
        """When its last window ended, Unix time in ms; 0 without any."""
        return max((sample.at_ms for sample in self.samples), default=0)


class Basis(StrEnum):
    """What a forecast rests on."""

    MEASURED = "measured"
    """Dirty rates that its host sampled, or passes of a move under way or given up just now."""
    PAST_MOVE = "past_move"
    """The passes of its last move."""
    GUESSED = "guessed"
    """Nothing is known of its memory: taken as idle, with a wide band."""


class Ease(StrEnum):
    """How a server has to be moved."""

    EASY = "easy"
    """It converges on a share of the link."""
    HEAVY = "heavy"
    """It converges only on the whole link, or only once QEMU slows it down: it is moved alone."""
    STUCK = "stuck"
    """It does not come down to its pause even alone, or only slowed down by more than it bears: a
    lever is needed, or a longer pause."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What one move is expected to take, alone on ``bandwidth_bytes_per_s``."""

    ease: Ease
    basis: Basis
    total_ms: int
    """From its start to its end, what comes before and after the copying included."""
    low_ms: int
    high_ms: int
    """The band in which nine of ten such moves ended."""
    sent_bytes: int
    downtime_ms: int
    """The pause at the pass where it ends."""
    floor_ms: int = 0
    """The shortest pause that this link allows a guest that is not held back; 0 where any can be
    had."""
    throttle_percent: int = 0
    """How far QEMU holds the guest back until it is brought over; 0 if it does not have to."""
    pass_count: int = 0
    dirty_bytes_per_s: int = 0
    """How fast the guest writes memory that is clean, at first."""
    bandwidth_bytes_per_s: int = 0
    """What it was reckoned with."""
    link_seen: bool = True
    """Moves had shown how fast the link is; else it is no real forecast: that may be a tenth."""
    lever: str = ""
    """What would make it converge, with the numbers, in one sentence; empty where it does."""


class LinkRate(msgspec.Struct, frozen=True, kw_only=True):
    """How fast bytes leave or enter a host."""

    bytes_per_s: int
    measured_at_ms: int = 0
    """When moves over it showed so, Unix time in ms; 0: it is what the card says of itself."""
    stream_bytes_per_s: int = 0
    """What one move at a time reached; 0 if none has yet."""
