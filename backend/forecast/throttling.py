"""How far QEMU holds a guest back that dirties memory too fast: auto-converge, step by step.

As QEMU 7.2 does it with the values that libvirt leaves alone: the dirty bitmap is read at the end
of each pass. If that is more than a second after it was last counted, and more was dirtied since
than half of what was sent, it counts against the guest; at every second count its virtual CPUs get
less.
"""

FIRST_PERCENT, STEP_PERCENT, MOST_PERCENT = 20, 10, 99
"""``cpu-throttle-initial``, ``cpu-throttle-increment``, ``max-cpu-throttle``."""
_TRIGGER = 0.5
"""``throttle-trigger-threshold``."""
_COUNTED_S = 1.0
_COUNTS = 2


class Throttle:
    """Told each pass; how far the guest is held back in the next one."""

    def __init__(self, percent: int = 0) -> None:
        """Begin with how far it is held back already."""
        self.percent = percent
        self._counts = 0
        self._seconds = self._sent = self._dirtied = 0.0

    @property
    def runs(self) -> float:
        """The share of the time that the guest's CPUs still get."""
        return 1 - self.percent / 100

    def passed(self, seconds: float, *, sent_bytes: float, dirtied_bytes: float) -> None:
        """Count a pass that is over."""
        self._seconds += seconds
        self._sent += sent_bytes
        self._dirtied += dirtied_bytes
        if self._seconds <= _COUNTED_S:
            return
        if self._dirtied > _TRIGGER * self._sent:
            self._counts += 1
        if self._counts >= _COUNTS:
            self._counts = 0
            tighter = self.percent + STEP_PERCENT if self.percent else FIRST_PERCENT
            self.percent = min(MOST_PERCENT, tighter)
        self._seconds = self._sent = self._dirtied = 0.0
