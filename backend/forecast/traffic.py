"""What moves send over each host's link: now, and in the seconds that showed what it carries."""

import bisect
import math
from collections.abc import Callable

import msgspec

from backend.moments import now_ms
from wire.migration import Migration, Pass, Sample

HOURS_MS = 6 * 3_600_000
"""What was shown longer ago says nothing any more."""
NEWEST = 60
"""The newest ones count, so that a link that became slower is known for it within a minute."""
_APART = 20
"""So many seconds are kept beside them in which one move sent alone, and in which several did: a
link that is always shared shows no stream, and one that never is does not show that it was full."""
_WHOLE_MS = 800
"""A second counts in which so much of it something was sent."""
_LATE_MS = 2_000
"""A second is counted up so long after its end: hypervisors answer late at times."""
_STEADY_MS = 500
_TELLING_BYTES = 16 << 20
_TELLING_SHARE = 0.2
"""A pass that lasted so long, and sent so much and such a share of what it walked through, shows
what the link carried. Zero pages are walked through without sending anything."""
_HELD_SHARE = 0.1
"""What moves under a cap sent beside others hides nothing of the link as long as it is less."""
_DENSE = 0.5
"""So much of what is done with has to have been sent in a moment that shows the link."""


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """What a link carried in one second."""

    at_ms: int
    bytes_per_s: int
    moves: int
    """How many sent all through it, held back by nothing; 0 if that is not so of all that sent."""


class _Share:
    """What one move sent in one second."""

    def __init__(self) -> None:
        self.sent = 0.0
        self.covered_ms = 0.0
        self.limited = False
        """A cap held it back."""


class _Move:
    """A move under way, and its clock: an answer can be late, and never early."""

    def __init__(self) -> None:
        self.began_ms: int | None = None
        self.last: Sample | None = None
        self.heard_ms = 0
        self.source_host_id = ""
        self.target_host_id = ""


class _Link:
    """One direction of one host's link."""

    def __init__(self) -> None:
        self.open: dict[int, dict[str, _Share]] = {}
        self.seconds: list[Second] = []
        """Oldest first."""

    def add(self, seen: Second) -> None:
        """Keep a second, and let go of those that have become too old for it."""
        bisect.insort(self.seconds, seen, key=lambda one: one.at_ms)
        kept = {id(one) for one in self.seconds[-NEWEST:]}
        kept |= {id(one) for one in [one for one in self.seconds if one.moves == 1][-_APART:]}
        kept |= {id(one) for one in [one for one in self.seconds if one.moves > 1][-_APART:]}
        self.seconds = [one for one in self.seconds if id(one) in kept]

    def close(self, until_s: int) -> None:
        for second in sorted(self.open):
            if second >= until_s:
                break
            shares = self.open.pop(second)
            sent = sum(share.sent for share in shares.values())
            free = [share for share in shares.values() if not share.limited]
            limited = sum(share.sent for share in free) < (1 - _HELD_SHARE) * sent
            covered_ms = [share.covered_ms for share in (shares.values() if limited else free)]
            if max(covered_ms, default=0.0) < _WHOLE_MS:
                continue
            steady = not limited and min(covered_ms) >= _WHOLE_MS
            seen = Second(
                at_ms=second * 1000, bytes_per_s=int(sent), moves=len(free) if steady else 0
            )
            # held back by a cap it can only show that a link carries more than was seen without
            most = max((each.bytes_per_s for each in self.seconds), default=math.inf)
            if not limited or seen.bytes_per_s > most:
                self.add(seen)


class Traffic:
    """Told each sample of each move, by whatever backend; kept in memory only."""

    def __init__(self, now_ms: Callable[[], int] = now_ms) -> None:
        self._now_ms = now_ms
        self._moves: dict[str, _Move] = {}
        self._out: dict[str, _Link] = {}
        self._in: dict[str, _Link] = {}

    def saw(self, migration: Migration, sample: Sample) -> None:
        """Take a sample of a move under way."""
        if migration.state.ended:
            return
        now_ms = self._now_ms()
        move = self._moves.setdefault(migration.migration_id, _Move())
        began_ms = now_ms - sample.elapsed_ms
        before = move.last
        if before is None or sample.elapsed_ms < before.elapsed_ms or move.began_ms is None:
            before, move.began_ms = None, began_ms
        move.began_ms = min(move.began_ms, began_ms)
        move.last, move.heard_ms = sample, now_ms
        move.source_host_id = migration.source_host_id
        move.target_host_id = migration.target_host_id
        if before is not None and (sent := _sent(migration, before, sample)) > 0:
            span = (move.began_ms + before.elapsed_ms, move.began_ms + sample.elapsed_ms)
            for links, host_id in (
                (self._out, migration.source_host_id),
                (self._in, migration.target_host_id),
            ):
                link = links.setdefault(host_id, _Link())
                _spread(link, migration, span, sent, busy=_is_dense(before, sample, sent))
                link.close((now_ms - _LATE_MS) // 1000)

    def ended(self, migration: Migration) -> None:
        """Take the passes of a move that ended: they are dated more exactly than any sample.

        After a restart they are all that there is.
        """
        self._moves.pop(migration.migration_id, None)
        if migration.finished_at_ms < self._now_ms() - HOURS_MS:
            return
        rates = [each.bandwidth_bytes_per_s for each in migration.passes if _shows_the_link(each)]
        if rates and migration.max_bandwidth_bytes_per_s is None:
            # whether others sent, too, its passes do not tell
            seen = Second(at_ms=migration.finished_at_ms, bytes_per_s=max(rates), moves=0)
            self._out.setdefault(migration.source_host_id, _Link()).add(seen)
            self._in.setdefault(migration.target_host_id, _Link()).add(seen)

    def out_of(self, host_id: str) -> tuple[Second, ...]:
        """The seconds that show what leaves a host."""
        return self._shown(self._out, host_id)

    def into(self, host_id: str) -> tuple[Second, ...]:
        """The seconds that show what enters a host."""
        return self._shown(self._in, host_id)

    def sending(self, host_id: str) -> int:
        """Bytes per second that moves send out of a host now, memory and disks together."""
        since_ms = self._now_ms() - _LATE_MS
        return sum(
            move.last.bandwidth_bytes_per_s + move.last.disk_bandwidth_bytes_per_s
            for move in self._moves.values()
            if move.last is not None
            and move.source_host_id == host_id
            and move.heard_ms >= since_ms
        )

    def _shown(self, links: dict[str, _Link], host_id: str) -> tuple[Second, ...]:
        link = links.get(host_id)
        if link is None:
            return ()
        now_ms = self._now_ms()
        link.close((now_ms - _LATE_MS) // 1000)
        return tuple(each for each in link.seconds if each.at_ms >= now_ms - HOURS_MS)


def _sent(migration: Migration, before: Sample, now: Sample) -> int:
    """Bytes on the wire between two samples.

    Of the disks of a live move holes count as if they were sent, so those are left out.
    """
    if migration.kind == "cold":
        sent = before.disk_remaining_bytes - now.disk_remaining_bytes
    else:
        sent = now.memory_processed_bytes - before.memory_processed_bytes
    return max(0, sent)


def _is_dense(before: Sample, now: Sample, sent: int) -> bool:
    """Whether there was something to send all the time, and not zero pages to be passed over."""
    done = before.memory_remaining_bytes - now.memory_remaining_bytes
    return sent >= _DENSE * done


def _shows_the_link(one: Pass) -> bool:
    needed = max(_TELLING_BYTES, int(_TELLING_SHARE * one.remaining_at_start_bytes))
    return one.duration_ms >= _STEADY_MS and one.transferred_bytes >= needed


def _spread(
    link: _Link, migration: Migration, span_ms: tuple[int, int], sent: int, *, busy: bool
) -> None:
    """Spread what was sent evenly over the seconds in which it was."""
    begin, end = span_ms
    limited = migration.max_bandwidth_bytes_per_s is not None
    at = begin
    while at < end:
        second = at // 1000
        until = min(end, (second + 1) * 1000)
        share = link.open.setdefault(second, {}).setdefault(migration.migration_id, _Share())
        share.sent += sent * (until - at) / (end - begin)
        share.covered_ms += until - at if busy else 0
        share.limited |= limited
        at = until
