"""The latest changes of each host's health, as this backend saw them."""

from collections import deque

from backend.moments import now_ms
from wire.life import Fence, HealthValue
from wire.rescue import Transition

KEPT = 20
"""Transitions of one host that are remembered."""


class Transitions:
    """A short memory for each host."""

    def __init__(self) -> None:
        self._rings: dict[str, deque[Transition]] = {}

    def of(self, host_id: str) -> tuple[Transition, ...]:
        """List a host's transitions, oldest first."""
        return tuple(self._rings.get(host_id, ()))

    def saw_health(self, host_id: str, before: HealthValue | None, now: HealthValue | None) -> None:
        """Note what a changed health key says."""
        if now is None:
            if before is not None:
                self._note(host_id, "lost")
            return
        same_life = before is not None and (before.boot_id, before.epoch) == (
            now.boot_id,
            now.epoch,
        )
        if not same_life:
            verb = "back" if host_id in self._rings else "present"
            self._note(host_id, f"{verb} with epoch {now.epoch}, {fence_text(now)}")
        elif before is not None and fence_text(before) != fence_text(now):
            self._note(host_id, fence_text(now))

    def saw_late(self, host_id: str, late: str | None) -> None:
        """Note that a host has become late, with what its lease has left, or is no longer."""
        self._note(host_id, f"late: {late}" if late else "in time again")

    def forget(self, host_id: str) -> None:
        """Drop a host that was removed."""
        self._rings.pop(host_id, None)

    def _note(self, host_id: str, text: str) -> None:
        ring = self._rings.setdefault(host_id, deque(maxlen=KEPT))
        ring.append(Transition(at_ms=now_ms(), text=text))


def fence_text(life: HealthValue) -> str:
    """Whether a life is fenced, in one clause."""
    if life.fence is Fence.NONE:
        return f"not fenced: {life.fence_detail}" if life.fence_detail else "not fenced"
    return f"fenced by its {life.fence}, armed"
