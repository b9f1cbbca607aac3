"""The storm guard: many hosts that vanish together are rather a fault of the network."""

from collections.abc import Collection

TOGETHER_S = 60.0
"""Hosts that were lost within this time count as lost together."""
CUT_OFF_S = 10.0
"""A backend that is cut off for so long disarms: streams break for a moment, and begin broken."""
FEWEST = 2
"""One lost host is no storm, however small the fleet is."""


def storm(*, lost: Collection[str], late: Collection[str], present: Collection[str]) -> str:
    """Say why rescues have to be disarmed; empty if they need not.

    Lateness alone disarms nothing: with no host lost there is nothing to rescue.

    Args:
        lost: names of hosts whose health keys vanished within :data:`TOGETHER_S`.
        late: names of hosts whose keys are there although refreshes were missed.
        present: names of all hosts whose keys are there, the late ones included.
    """
    up, hit = len(present) + len(lost), len(lost) + len(late)
    if not lost or hit < FEWEST or 2 * hit < up:
        return ""
    if not late:
        return f"{len(lost)} of {up} hosts were lost together: {_listed(lost)}"
    return (
        f"{hit} of {up} hosts were lost or late together: {_listed(lost)} lost, "
        f"{_listed(late)} late"
    )


def cut_off(*, reached: int, present: int) -> str:
    """Say why this backend had better not trust what it sees; empty if it may.

    Args:
        reached: how many of the hosts whose health keys are there it has a stream from.
        present: how many there are.
    """
    if 2 * reached >= present:
        return ""
    return (
        f"this backend reaches the agents of only {reached} of {present} hosts whose health keys "
        "are there, so that it may be cut off itself"
    )


class CutOff:
    """What :func:`cut_off` says, and for how long; moments are seconds of any one clock."""

    def __init__(self) -> None:
        self.reason = ""
        self._since_s = 0.0

    def look(self, *, reached: int, present: int, now_s: float) -> None:
        """Look again."""
        before, self.reason = self.reason, cut_off(reached=reached, present=present)
        if not before:
            self._since_s = now_s

    def for_long(self, now_s: float) -> bool:
        """Whether that is no moment's matter any more."""
        return bool(self.reason) and now_s - self._since_s >= CUT_OFF_S


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
