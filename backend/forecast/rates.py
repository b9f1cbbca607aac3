"""How fast bytes leave and enter a host: as moves have shown it, else as its card says."""

from backend.fleet.known import Fleet
from backend.forecast.traffic import NEWEST, Second
from wire.forecast import LinkRate

UNSHOWN_TIMES = 10
"""A link of which only the card has told may be so much slower: a switch, a bond or a virtual card
stands behind it. Nobody knows until a move has shown it."""
_ALIKE = 1.15
"""Seconds of one and the same stream differ by as much; a link that carries only so much more than
one move is full with one."""


class Rates:
    """What is known of links at one moment, each looked at once; the next moment needs another."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._out: dict[str, LinkRate | None] = {}
        self._into: dict[str, LinkRate | None] = {}

    def out_of(self, host_id: str) -> LinkRate | None:
        """How fast bytes leave a host; None if nobody knows."""
        if host_id not in self._out:
            seconds = self._fleet.traffic.out_of(host_id)
            self._out[host_id] = shown(seconds) or self._card(host_id)
        return self._out[host_id]

    def into(self, host_id: str) -> LinkRate | None:
        """How fast bytes enter a host; None if nobody knows."""
        if host_id not in self._into:
            seconds = self._fleet.traffic.into(host_id)
            self._into[host_id] = shown(seconds) or self._card(host_id)
        return self._into[host_id]

    def sending(self, host_id: str) -> int:
        """Bytes per second that moves send out of a host now, memory and disks together."""
        return self._fleet.traffic.sending(host_id)

    def _card(self, host_id: str) -> LinkRate | None:
        facts = self._fleet.facts.get(host_id)
        if facts is None or not facts.link_bytes_per_s:
            return None
        return LinkRate(bytes_per_s=facts.link_bytes_per_s)


def shown(seconds: tuple[Second, ...]) -> LinkRate | None:
    """The best that the newest seconds of sending have shown; None without any.

    What a stream gets is told by seconds of one move alone, however long ago: while several share a
    link that is full, each gets a part of it only. Before there was one, a stream is taken to fill
    the link.

    Args:
        seconds: oldest first.
    """
    if not seconds:
        return None
    best = max(one.bytes_per_s for one in seconds[-NEWEST:])
    stream = best
    if any(one.moves == 1 for one in seconds):
        stream = max(one.bytes_per_s // one.moves for one in seconds if one.moves)
    return LinkRate(
        bytes_per_s=best,
        measured_at_ms=seconds[-1].at_ms,
        stream_bytes_per_s=best if best <= stream * _ALIKE else stream,
    )
