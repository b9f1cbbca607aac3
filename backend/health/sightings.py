"""What reading the leases of health keys shows: who is late, and until when a lease may live.

Times are seconds of CLOCK_BOOTTIME on this machine. Knows nothing of etcd or of threads.
"""

from collections.abc import Mapping

import msgspec

UNKNOWN_TTL_S = 60
"""Of a lease whose TTL nobody knows any more: longer than any that agents ask for."""
GAP_S = 2.5
"""Two looks at a lease further apart than this may have a refresh between them unseen."""
_LOOK_S = 1.0
"""A lease is looked at no more often than this."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the lease of one host's health key."""

    lease_id: int
    left_s: int
    """Whole seconds, rounded down; -1 when it is gone."""
    granted_s: int
    asked_s: float
    """Before it was asked for."""
    answered_s: float
    """After etcd answered."""

    @property
    def gone(self) -> bool:
        """Whether the lease has ended."""
        return self.left_s < 0

    @property
    def late(self) -> bool:
        """Whether at least two refreshes have not come."""
        return not self.gone and self.left_s + 1 <= late_from_s(self.granted_s)


def late_from_s(granted_s: int) -> float:
    """What a lease has left when its second refresh in a row fails to come.

    Agents refresh each ``max(0.5, TTL / 6)`` seconds.
    """
    return granted_s - 2 * max(0.5, granted_s / 6)


class Sightings:
    """The latest look at each host's lease, and what follows from all of them."""

    def __init__(self) -> None:
        self._latest: dict[str, Sighting] = {}
        self._bounds_s: dict[str, float] = {}

    def due(self, leases: Mapping[str, int], now_s: float) -> dict[str, int]:
        """Choose the leases that have to be looked at now.

        One with much left is left alone for as long as it cannot become late; one whose key is
        gone is looked at until it is gone too.

        Args:
            leases: host_id → id of the lease that its health key is under now.
            now_s: the time.

        Returns:
            host_id → lease id.
        """
        left_behind = {
            host_id: one.lease_id
            for host_id, one in self._latest.items()
            if host_id not in leases and not one.gone
        }
        return {
            host_id: lease_id
            for host_id, lease_id in {**left_behind, **leases}.items()
            if self._is_due(host_id, lease_id, now_s, hurry=host_id in left_behind)
        }

    def _is_due(self, host_id: str, lease_id: int, now_s: float, *, hurry: bool) -> bool:
        last = self._latest.get(host_id)
        if last is None or last.lease_id != lease_id or last.gone or hurry:
            return True
        ahead_s = last.left_s - late_from_s(last.granted_s)
        # half a look early: rounds do not begin to the tick
        return now_s >= last.asked_s + max(_LOOK_S, ahead_s) - _LOOK_S / 2

    def take(self, host_id: str, seen: Sighting) -> None:
        """Note a look at a host's lease."""
        last = self._latest.get(host_id)
        self._latest[host_id] = seen
        if not seen.gone:
            # etcd rounds down, and counted at some moment before its answer was here
            self._not_before(host_id, seen.answered_s + seen.left_s + 1)
        elif last is None or last.lease_id != seen.lease_id:
            self.take_absent(host_id, seen.granted_s, seen.answered_s)
        elif not last.gone and not _ran_out(last, seen):
            self._not_before(host_id, seen.answered_s + last.granted_s)

    def take_absent(self, host_id: str, granted_s: int, now_s: float) -> None:
        """Note that a lease is gone which was never seen alive.

        Args:
            host_id: whose.
            granted_s: its TTL.
            now_s: the time at which that was known.
        """
        self._not_before(host_id, now_s + granted_s)

    def left_s(self, host_id: str) -> int | None:
        """What the latest look showed, in whole seconds; None if there is no lease."""
        last = self._latest.get(host_id)
        return None if last is None or last.gone else last.left_s

    def bound_s(self, host_id: str) -> float | None:
        """When no lease that this host ever had can live any more.

        None if nobody can say: the latest one has not been seen to be gone, and could be refreshed.
        """
        last = self._latest.get(host_id)
        return None if last is not None and not last.gone else self._bounds_s.get(host_id)

    def forget(self, known: Mapping[str, object]) -> None:
        """Drop hosts that are not known any more."""
        for host_id in [*self._bounds_s.keys() - known.keys()]:
            del self._bounds_s[host_id]
            self._latest.pop(host_id, None)

    def _not_before(self, host_id: str, bound_s: float) -> None:
        """Only ever later: a member of etcd that is behind may tell too little."""
        self._bounds_s[host_id] = max(bound_s, self._bounds_s.get(host_id, bound_s))


def _ran_out(last: Sighting, gone: Sighting) -> bool:
    """Whether a lease that was seen late ended as its time ended, with no refresh unseen.

    Any other end is somebody's: the lease was revoked, maybe right after a refresh.
    """
    unbroken = gone.answered_s - last.asked_s <= GAP_S
    return last.late and unbroken and gone.answered_s >= last.asked_s + last.left_s
