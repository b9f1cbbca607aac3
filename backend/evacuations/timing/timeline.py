"""When each move of a plan begins and ends, by the rules by which an evacuation runs.

Moves are taken as fluids: each brings its bytes over the link of its source and of its target,
which all that use it share alike.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from backend.evacuations.timing.pacing import AT_ONCE_IN_THE_FLEET, PREPARED_AT_ONCE

_SOON_S = 1e-6


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One move as the link sees it."""

    server_id: str
    source_host_id: str
    target_host_id: str
    sent_bytes: float
    """What it brings over the link; of one under way what is left of it."""
    bytes_per_s: float
    """What it gets at most, alone on the link."""
    before_s: float = 0.0
    """From its beginning until it sends: the target is prepared while another one sends."""
    after_s: float = 0.0
    """From its last byte to its end."""
    alone: bool = False
    """It converges only if nothing else uses its link."""


class Instant(msgspec.Struct, frozen=True, kw_only=True):
    """One move that takes nothing of the link."""

    server_id: str
    target_host_id: str
    takes_s: float


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a host's link."""

    bytes_per_s: float = math.inf
    streams: int = 1
    """So many moves fill it."""
    unseen: bool = False
    """No move has shown it: one sends, one more is prepared behind it, and no third one."""


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The links of all hosts; one that is not listed holds nothing up."""

    out: Mapping[str, Link]
    into: Mapping[str, Link]


class Span(msgspec.Struct, frozen=True):
    """From when to when, in seconds from now."""

    start_s: float
    end_s: float


def spans(queues: Sequence[Sequence[Transfer]], links: Links) -> dict[str, Span]:
    """Say when each transfer runs.

    Args:
        queues: of each evacuation what it sends, in its order.
        links: rates of hosts.

    Returns:
        By server id. A transfer's preparation lies before its turn on the link where there is time
        for that, its target has prepared those before it, and the link has been seen.
    """
    run = _Run(queues, links)
    while run.goes_on():
        pass
    return run.spans


def instants(moves: Sequence[Instant]) -> dict[str, Span]:
    """Say when each of one evacuation's moves runs that take nothing of the link."""
    slots = [0.0] * AT_ONCE_IN_THE_FLEET
    on_target: dict[str, list[float]] = {}
    found: dict[str, Span] = {}
    for move in moves:
        there = on_target.setdefault(move.target_host_id, [0.0] * PREPARED_AT_ONCE)
        start_s = max(heapq.heappop(slots), heapq.heappop(there))
        found[move.server_id] = Span(start_s, start_s + move.takes_s)
        heapq.heappush(slots, start_s + move.takes_s)
        heapq.heappush(there, start_s + move.takes_s)
    return found


class _Active:
    def __init__(self, transfer: Transfer, began_s: float, now_s: float) -> None:
        self.transfer = transfer
        self.began_s = began_s
        self.preparing_s = max(0.0, began_s + transfer.before_s - now_s)
        self.left_bytes = transfer.sent_bytes

    @property
    def sends(self) -> bool:
        """Whether it takes a share of its links."""
        return self.preparing_s <= _SOON_S


class _Run:
    """The state of the links as time goes on."""

    def __init__(self, queues: Sequence[Sequence[Transfer]], links: Links) -> None:
        self.spans: dict[str, Span] = {}
        self._waiting = [list(queue) for queue in queues]
        self._links = links
        self._active: list[_Active] = []
        self._out: Counter[str] = Counter()
        self._into: Counter[str] = Counter()
        self._alone: Counter[tuple[str, str]] = Counter()
        self._free_s: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * PREPARED_AT_ONCE)
        """target → from when on it may prepare so many more, as a heap."""
        self._sent_s: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        """By direction and host: when each so far had sent everything, in this order."""
        self._now_s = 0.0

    def goes_on(self) -> bool:
        """Begin what may begin, go to the next end; say whether anything was left."""
        self._begin()
        if not self._active:
            return False
        rates = self._rates()
        step_s = min(
            one.left_bytes / rate if one.sends else one.preparing_s
            for one, rate in zip(self._active, rates, strict=True)
        )
        self._now_s += step_s
        going = []
        for one, rate in zip(self._active, rates, strict=True):
            if one.sends:
                one.left_bytes -= step_s * rate
            else:
                one.preparing_s -= step_s
            if one.sends and one.left_bytes / rate <= _SOON_S:
                self._end(one)
            else:
                going.append(one)
        self._active = going
        return True

    def _begin(self) -> None:
        for queue in self._waiting:
            begun: list[int] = []
            one_source = len({one.source_host_id for one in queue}) == 1
            for number, transfer in enumerate(queue):
                if self._may_begin(transfer):
                    begun.append(number)
                    self._start(transfer)
                elif transfer.alone or (one_source and self._out_is_full(transfer)):
                    break
            for number in reversed(begun):
                del queue[number]

    def _may_begin(self, transfer: Transfer) -> bool:
        source, target = transfer.source_host_id, transfer.target_host_id
        if self._alone["out", source] or self._alone["into", target]:
            return False
        if transfer.alone:
            return not self._out[source] and not self._into[target]
        into = self._links.into.get(target, Link())
        return not self._out_is_full(transfer) and self._into[target] < into.streams

    def _out_is_full(self, transfer: Transfer) -> bool:
        source = transfer.source_host_id
        return self._out[source] >= self._links.out.get(source, Link()).streams

    def _start(self, transfer: Transfer) -> None:
        self._active.append(_Active(transfer, self._began_s(transfer), self._now_s))
        self._count(transfer, 1)

    def _began_s(self, transfer: Transfer) -> float:
        """When one was begun whose turn on the link it is now, as early as there was a reason."""
        source, target = transfer.source_host_id, transfer.target_host_id
        if not transfer.before_s:
            return self._now_s
        earliest_s = max(0.0, self._now_s - transfer.before_s)
        for way, host_id, links in (
            ("out", source, self._links.out),
            ("into", target, self._links.into),
        ):
            sent_s = self._sent_s[way, host_id]
            if links.get(host_id, Link()).unseen and sent_s[1:]:
                earliest_s = max(earliest_s, sent_s[-2])
        began_s = max(earliest_s, self._free_s[target][0])
        heapq.heapreplace(self._free_s[target], began_s + transfer.before_s)
        return began_s

    def _end(self, one: _Active) -> None:
        transfer = one.transfer
        self._count(transfer, -1)
        self._sent_s["out", transfer.source_host_id].append(self._now_s)
        self._sent_s["into", transfer.target_host_id].append(self._now_s)
        self.spans[transfer.server_id] = Span(one.began_s, self._now_s + transfer.after_s)

    def _count(self, transfer: Transfer, by: int) -> None:
        source, target = transfer.source_host_id, transfer.target_host_id
        self._out[source] += by
        self._into[target] += by
        if transfer.alone:
            self._alone["out", source] += by
            self._alone["into", target] += by

    def _rates(self) -> list[float]:
        """What each gets of its links, shared by those that send."""
        sending = [one.transfer for one in self._active if one.sends]
        out = Counter(one.source_host_id for one in sending)
        into = Counter(one.target_host_id for one in sending)
        rates = []
        for one in self._active:
            source, target = one.transfer.source_host_id, one.transfer.target_host_id
            out_rate = self._links.out.get(source, Link()).bytes_per_s / max(1, out[source])
            into_rate = self._links.into.get(target, Link()).bytes_per_s / max(1, into[target])
            rates.append(max(1.0, min(one.transfer.bytes_per_s, out_rate, into_rate)))
        return rates
