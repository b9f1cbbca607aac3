"""When a host's guests must be dead: arithmetic on CLOCK_BOOTTIME, in seconds.

The rule and its proof are in docs/decisions/0018.
"""

import time
from typing import NamedTuple

_CLOCK_RATE_ERROR = 0.001
"""A clock may run so much faster or slower than that of etcd's leader."""


class FenceTimes(NamedTuple):
    """What a host does how long before its lease can run out."""

    ttl_s: float
    """As etcd granted it."""
    watchdog_timeout_s: int
    """The card resets the host so long after it was last petted."""
    margin_s: float
    """The longest pause of the fence between its look at the clock and its pet, and the card's own
    latency: that they are no longer is assumed."""
    kill_s: float
    """So long may it take at most until killed guests are gone."""

    def dead_by(self, t_ok_s: float) -> float:
        """No guest that may be started elsewhere lives here any more.

        Args:
            t_ok_s: read before the last keepalive that succeeded was sent.
        """
        return t_ok_s + self.ttl_s * (1 - _CLOCK_RATE_ERROR) - self.margin_s

    def pet_until(self, t_ok_s: float) -> float:
        """Last moment to pet the card while such a guest lives."""
        return self.dead_by(t_ok_s) - self.watchdog_timeout_s

    def kill_from(self, t_ok_s: float) -> float:
        """From now on guests are killed."""
        return self.pet_until(t_ok_s) - self.kill_s


def boot_clock_s() -> float:
    """CLOCK_BOOTTIME: runs through suspend and is deaf to clock steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def refresh_every_s(ttl_s: float) -> float:
    """How often a lease is refreshed whose loss kills guests."""
    return max(0.5, ttl_s / 6)


def refresh_timeout_s(ttl_s: float, etcd_timeout_s: float) -> float:
    """How long one refresh may take: an etcd that hangs must leave time for two more."""
    return min(etcd_timeout_s, max(0.5, ttl_s / 10))


def wished_timeout_s(ttl_s: float) -> int:
    """The card's time-out where the configuration gives none."""
    return max(1, int(ttl_s) // 4)


def fence_times(ttl_s: float, *, watchdog_timeout_s: int) -> FenceTimes:
    """The moments for a TTL and a card's time-out."""
    return FenceTimes(
        ttl_s=ttl_s,
        watchdog_timeout_s=watchdog_timeout_s,
        margin_s=max(0.5, ttl_s / 30),
        kill_s=max(1.0, 0.15 * ttl_s),
    )


def refusal(times: FenceTimes, *, etcd_timeout_s: float) -> str:
    """Why these times cannot be: an etcd that stumbles once would kill guests. Empty if they can.

    Killing begins no sooner than after two refreshes that failed and one call that timed out.
    """
    ttl_s = times.ttl_s
    needed_s = 2 * refresh_every_s(ttl_s) + refresh_timeout_s(ttl_s, etcd_timeout_s)
    if times.kill_from(0.0) >= needed_s:
        return ""
    return (
        f"lease_ttl_s = {ttl_s:g} with a watchdog time-out of {times.watchdog_timeout_s} s would "
        f"kill guests {max(0.0, times.kill_from(0.0)):.1f} s after etcd was last heard, and two "
        f"missed refreshes take {needed_s:.1f} s: give a longer lease or a shorter time-out"
    )
