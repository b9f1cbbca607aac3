"""A guest page by page, moved as QEMU moves it: what forecasts are held against."""

import random

STEP_S = 0.002
CHUNK_S = 0.02
"""QEMU looks so often whether what remains is little enough."""


class Moved:
    """How such a move went."""

    def __init__(
        self,
        *,
        converged: bool,
        seconds: float,
        pause_s: float,
        least_s: float,
        throttle_percent: int = 0,
    ) -> None:
        self.converged = converged
        self.seconds = seconds
        self.pause_s = pause_s
        self.least_s = least_s
        """The shortest pause that there would have been at any pass."""
        self.throttle_percent = throttle_percent


class AutoConverge:
    """Holds a guest back as QEMU's ``migration_trigger_throttle`` does, at each sync."""

    def __init__(self) -> None:
        self.percent = self.high = 0
        self.since_s = self.sent = self.dirtied = 0.0

    def synced(self, seconds: float, sent: int, newly: int) -> None:
        self.dirtied += newly
        if seconds <= self.since_s + 1:
            return
        if self.dirtied > (sent - self.sent) / 2:
            self.high += 1
            if self.high >= 2:
                self.high = 0
                self.percent = min(99, self.percent + 10) if self.percent else 20
        self.since_s, self.sent, self.dirtied = seconds, sent, 0


def move(
    *,
    hot_pages: int,
    all_pages: int,
    dirty_pages_per_s: float,
    link_pages_per_s: float,
    limit_s: float,
    in_order: bool = False,
    auto_converge: bool = False,
    give_up_s: float = 60.0,
    seed: int = 7,
) -> Moved:
    """Move a guest of which all pages are in use, and ``hot_pages`` are written over and over.

    At random and anywhere, or one after another, as a program that walks through its memory.
    """
    chosen = random.Random(seed)  # noqa: S311 - a guest, no secret
    hot = list(range(hot_pages)) if in_order else chosen.sample(range(all_pages), hot_pages)
    to_send, dirtied = set(range(all_pages)), set()
    scanned = written = sent = 0
    throttle = AutoConverge()
    write_credit = send_credit = seconds = 0.0
    chunk_s, least_s = CHUNK_S, float("inf")
    while seconds < give_up_s:
        write_credit += dirty_pages_per_s * STEP_S * (1 - throttle.percent / 100)
        while write_credit >= 1:
            write_credit -= 1
            dirtied.add(hot[written if in_order else chosen.randrange(hot_pages)])
            written = (written + 1) % hot_pages
        send_credit += link_pages_per_s * STEP_S
        while send_credit >= 1:
            send_credit -= 1
            if not to_send:
                continue
            while scanned not in to_send:
                scanned = (scanned + 1) % all_pages
            to_send.discard(scanned)
            sent += 1
        seconds += STEP_S
        chunk_s -= STEP_S
        if chunk_s > 0 and to_send:
            continue
        chunk_s = CHUNK_S
        if len(to_send) < link_pages_per_s * limit_s:
            if auto_converge:
                throttle.synced(seconds, sent, len(dirtied - to_send))
            to_send |= dirtied
            dirtied.clear()
            pause_s = len(to_send) / link_pages_per_s
            least_s = min(least_s, pause_s)
            if len(to_send) < link_pages_per_s * limit_s:
                return Moved(
                    converged=True,
                    seconds=seconds,
                    pause_s=pause_s,
                    least_s=least_s,
                    throttle_percent=throttle.percent,
                )
    return Moved(converged=False, seconds=seconds, pause_s=0.0, least_s=least_s)
