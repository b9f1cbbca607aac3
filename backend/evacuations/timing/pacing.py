"""Which waiting servers may begin to move now: a pure function of what moves and what links carry.

No number of parallel moves is fixed: as many streams share a link as fill it. More would only make
each of them longer, and those that dirty memory fast would never end.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from wire.forecast import Ease, LinkRate

AT_ONCE_IN_THE_FLEET = 32
"""Moves of evacuations under way at one moment, whatever their hosts."""
PREPARED_AT_ONCE = 2
"""Servers that one target prepares at one moment: QEMUs that start compete with its guests."""
_WORTHWHILE = 0.1
"""Another stream has to add so much of one: rates are measured, and vary."""
_SOON_S = 1e-6
FILLED = 0.85
"""With less than this share of their full rate, streams have filled their link."""


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """A move under way."""

    migration_id: str = ""
    server_name: str
    source_host_id: str
    target_host_id: str
    heavy: bool = False
    """It converges only on the whole link."""
    sends: bool = True
    """Memory or disks cross the link: not so for a mere definition, or for a rescue."""
    preparing: bool = False
    """Nothing of it has been sent yet."""
    prepares_s: float = 0.0
    """Until its first byte is sent."""
    left_s: float | None = None
    """Until it has sent everything, if nothing shares its link; None if nobody can say."""
    sending_bytes_per_s: int = 0
    shows_link: bool = True
    """What it sends shows what its link carries: no cap holds it back, and its memory is sent."""
    stalled: bool = False
    """A host of it does not answer: it takes nothing from anybody meanwhile."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A server that has not begun."""

    server_id: str
    server_name: str
    source_host_id: str
    target_host_id: str
    ease: Ease = Ease.EASY
    sends: bool = True
    lever: str = ""
    """What would make a stuck one converge."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one host's link."""

    rate: LinkRate | None = None
    """None if nobody knows."""
    sending_bytes_per_s: int = 0
    """What moves send over it now."""
    cap_bytes_per_s: int | None = None
    """What an operator allows at most."""
    least_share_bytes_per_s: int = 1
    """A stream cannot be capped below this."""

    @property
    def unseen(self) -> bool:
        """Whether no move has shown yet what one stream gets on it."""
        return self.rate is None or not self.rate.stream_bytes_per_s


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The links of all hosts, by host id; a host that is left out has one of unknown rate."""

    out: Mapping[str, Link] = {}
    into: Mapping[str, Link] = {}


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What follows."""

    begin: tuple[str, ...]
    """Ids of the servers that may begin now, in their order."""
    waits: dict[str, str]
    """server_id → what it waits for, in one clause."""


def pace(
    waiting: Iterable[Waiting], moving: Sequence[Moving], links: Links, *, lead_s: float
) -> Pace:
    """Decide who begins.

    Args:
        waiting: in the order in which they should begin.
        moving: all that is under way, of these hosts and of others.
        links: what is known of the hosts' links.
        lead_s: from the begin of a move until its first byte is sent.
    """
    course = _Course(moving, links, lead_s)
    begin, waits = [], {}
    for one in waiting:
        reason = course.obstacle(one)
        if reason:
            waits[one.server_id] = reason
        else:
            begin.append(one.server_id)
            course.add(one)
    return Pace(begin=tuple(begin), waits=waits)


def filling(bytes_per_s: float, stream_bytes_per_s: float) -> int:
    """How many streams it takes to fill a link: K = ceil(link / stream), at least one."""
    if not stream_bytes_per_s or math.isinf(bytes_per_s):
        return 1
    return max(1, math.ceil(bytes_per_s / stream_bytes_per_s - _WORTHWHILE))


def streams(link: Link, now: int) -> int:
    """How many streams may share a link now: as many as fill it.

    A rate that only the card tells is believed step by step: one more stream than there are now, as
    long as those reach their full rate together.

    Args:
        link: its rates.
        now: how many send over it at this moment.
    """
    rate = link.rate
    if rate is None or link.unseen:
        return 1
    stream = rate.stream_bytes_per_s
    whole = rate.bytes_per_s
    if link.cap_bytes_per_s is not None:
        whole = min(whole, link.cap_bytes_per_s)
    fitting = filling(whole, stream)
    if not rate.measured_at_ms:
        filled = link.sending_bytes_per_s < FILLED * now * stream
        fitting = min(fitting, filling(link.sending_bytes_per_s, stream) if filled else now + 1)
    if link.cap_bytes_per_s is not None:
        fitting = min(fitting, link.cap_bytes_per_s // link.least_share_bytes_per_s)
    return max(1, fitting)


def still_sending(there: Sequence[Moving], fill: int, after_s: float) -> list[Moving]:
    """Those of a link's moves that have not sent everything after a time.

    More than fill a link share it alike, and each is so much slower.

    Args:
        there: all that use the link.
        fill: so many fill it.
        after_s: the time.
    """
    lengths = [math.inf if one.left_s is None else one.left_s - one.prepares_s for one in there]
    now_s = 0.0
    while now_s < after_s:
        active = [
            number
            for number, one in enumerate(there)
            if one.prepares_s <= now_s and lengths[number] > _SOON_S
        ]
        each = min(1.0, fill / len(active)) if active else 0.0
        ends = [now_s + lengths[number] / each for number in active]
        begins = [one.prepares_s for one in there if one.prepares_s > now_s]
        step_s = max(_SOON_S, min((after_s, *ends, *begins)) - now_s)
        for number in active:
            lengths[number] -= step_s * each
        now_s += step_s
    return [one for one, left_s in zip(there, lengths, strict=True) if left_s > _SOON_S]


def held_back(
    moving: Iterable[Moving], source_host_id: str, target_host_id: str, links: Links
) -> bool:
    """Whether a move that begins now has to leave its links to another one.

    To a heavy one, or to the first on a link of which nobody knows what it carries. It is prepared
    meanwhile: its own turn comes once that one switches over, or has shown what the link carries.
    """
    out = links.out.get(source_host_id, Link())
    into = links.into.get(target_host_id, Link())
    for one in moving:
        from_there = one.source_host_id == source_host_id
        # none has a target before it was chosen
        to_there = one.target_host_id == target_host_id != ""
        needs = (
            (one.heavy and (from_there or to_there))
            or (from_there and out.unseen and one.shows_link)
            or (to_there and into.unseen and one.shows_link)
        )
        if needs and one.sends and one.left_s != 0 and not one.stalled:
            return True
    return False


class _Course:
    """What is under way, with what this look has added."""

    def __init__(self, moving: Sequence[Moving], links: Links, lead_s: float) -> None:
        self._links = links
        active = [one for one in moving if not one.stalled]
        self._total = len(active)
        self._prepared = Counter(one.target_host_id for one in active if one.preparing)
        self._out: dict[str, list[Moving]] = defaultdict(list)
        """By source: what still sends by the time that a move which begins now does."""
        self._into: dict[str, list[Moving]] = defaultdict(list)
        sending = [one for one in active if one.sends and one.left_s != 0]
        self._sending_out = Counter(one.source_host_id for one in sending)
        """What uses a link at this moment, those that are nearly through among it."""
        self._sending_into = Counter(one.target_host_id for one in sending)
        for host_id, count in self._sending_out.items():
            fill = streams(links.out.get(host_id, Link()), count)
            there = [one for one in sending if one.source_host_id == host_id]
            self._out[host_id] = still_sending(there, fill, lead_s)
        for host_id, count in self._sending_into.items():
            fill = streams(links.into.get(host_id, Link()), count)
            there = [one for one in sending if one.target_host_id == host_id]
            self._into[host_id] = still_sending(there, fill, lead_s)
        self._kept_out: set[str] = set()
        """Sources whose links drain for a heavy one that comes first."""
        self._kept_in: set[str] = set()
        """The same of targets."""

    def add(self, one: Waiting) -> None:
        """Count a server that begins."""
        self._total += 1
        self._prepared[one.target_host_id] += 1
        if one.sends:
            self._count(
                Moving(
                    server_name=one.server_name,
                    source_host_id=one.source_host_id,
                    target_host_id=one.target_host_id,
                    heavy=one.ease is Ease.HEAVY,
                    preparing=True,
                )
            )

    def obstacle(self, one: Waiting) -> str:
        """What a server waits for; empty if it may begin."""
        if one.ease is Ease.STUCK:
            return one.lever or "it would not converge: it waits for a lever"
        reason = self._limit(one) or (self._on_links(one) if one.sends else "")
        if reason and one.sends and one.ease is Ease.HEAVY:
            # both: else its source is busy again by the time that its target is free
            self._kept_out.add(one.source_host_id)
            self._kept_in.add(one.target_host_id)
        return reason

    def _limit(self, one: Waiting) -> str:
        if self._total >= AT_ONCE_IN_THE_FLEET:
            return f"{self._total} servers of the fleet are on their way, which is the limit"
        busy = self._prepared[one.target_host_id]
        if busy >= PREPARED_AT_ONCE:
            return f"its target prepares {busy} servers, which is the limit"
        return ""

    def _on_links(self, one: Waiting) -> str:
        out, into = self._out[one.source_host_id], self._into[one.target_host_id]
        if one.ease is Ease.HEAVY and (out or into):
            return f"it needs the whole link, and {_named(out or into)}"
        heavy = [moving for moving in (*out, *into) if moving.heavy]
        if heavy:
            return f"{heavy[0].server_name} needs the whole link, and is not through yet"
        if one.source_host_id in self._kept_out or one.target_host_id in self._kept_in:
            return "one that needs the whole link comes first"
        for link, there, sending in (
            (
                self._links.out.get(one.source_host_id, Link()),
                out,
                self._sending_out[one.source_host_id],
            ),
            (
                self._links.into.get(one.target_host_id, Link()),
                into,
                self._sending_into[one.target_host_id],
            ),
        ):
            if len(there) >= _most(link, sending):
                if link.unseen:
                    first = there[0].server_name
                    return f"{first} is being sent first: it shows what the link carries"
                return f"the link is full: {_named(there)}"
        return ""

    def _count(self, one: Moving) -> None:
        self._out[one.source_host_id].append(one)
        self._into[one.target_host_id].append(one)


def _most(link: Link, now: int) -> int:
    """How many moves may be on a link now.

    Behind the first one on a link that nobody knows another is prepared and held back, unless a cap
    hides what the link carries.
    """
    return streams(link, now) + (link.unseen and link.cap_bytes_per_s is None)


def _named(moving: Sequence[Moving]) -> str:
    """Say who is on a link."""
    first, more = moving[0].server_name, len(moving) - 1
    return f"{first} and {more} more are being sent" if more else f"{first} is being sent"
