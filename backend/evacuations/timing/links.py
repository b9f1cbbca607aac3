"""What is known of the links that evacuations send over, as the pace looks at them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from backend.evacuations.timing.pacing import FILLED, Link, Links, Moving
from backend.fleet.known import Fleet
from backend.forecast.rates import Rates
from backend.forecast.traffic import Second
from backend.migrations.checks import LEAST_BANDWIDTH_BYTES_PER_S
from wire.evacuation import Evacuation, PlannedMove
from wire.forecast import LinkRate

_MORE = 1.5
"""A card that tells so much more than moves have shown is tried with one more."""


def links_of(
    fleet: Fleet, rates: Rates, open_ones: Sequence[Evacuation], under_way: Sequence[Moving]
) -> Links:
    """The links of all hosts that these evacuations, or any moves, take servers from and to."""
    traffic = fleet.traffic
    caps = {one.host_id: one.max_bandwidth_bytes_per_s for one in open_ones}
    moves: list[PlannedMove | Moving] = [one.plan for each in open_ones for one in each.servers]
    moves += under_way
    arriving = Counter[str]()
    for one in under_way:
        arriving[one.target_host_id] += one.sending_bytes_per_s

    def link(host_id: str, rate: LinkRate | None, seconds: Iterable[Second], sending: int) -> Link:
        return Link(
            rate=_tried(fleet, host_id, rate, seconds),
            sending_bytes_per_s=sending,
            cap_bytes_per_s=caps.get(host_id),
            least_share_bytes_per_s=LEAST_BANDWIDTH_BYTES_PER_S,
        )

    return Links(
        out={
            one: link(one, rates.out_of(one), traffic.out_of(one), rates.sending(one))
            for one in {each.source_host_id for each in moves}
        },
        into={
            one: link(one, rates.into(one), traffic.into(one), arriving[one])
            for one in {each.target_host_id for each in moves} - {""}
        },
    )


def stream_of(rates: Rates, host_id: str) -> int:
    """What moves have shown that one gets on the link out of a host; 0 if none has."""
    return _shown(rates.out_of(host_id))


def _shown(rate: LinkRate | None) -> int:
    return rate.stream_bytes_per_s if rate is not None and rate.measured_at_ms else 0


def _tried(
    fleet: Fleet, host_id: str, rate: LinkRate | None, seconds: Iterable[Second]
) -> LinkRate | None:
    """The rate to go by: streams that all get what one gets alone have not filled a faster card.

    What the card says then counts, until so many have been seen to get less.
    """
    facts = fleet.facts.get(host_id)
    card = facts.link_bytes_per_s if facts else 0
    if rate is None or not rate.measured_at_ms or card < rate.bytes_per_s * _MORE:
        return rate
    if any(_filled(one, rate) for one in seconds):
        return rate
    return msgspec.structs.replace(rate, bytes_per_s=card, measured_at_ms=0)


def _filled(one: Second, rate: LinkRate) -> bool:
    """Whether several shared a link that was full, and that carried what it does now."""
    together = one.moves * rate.stream_bytes_per_s
    return one.moves > 1 and FILLED * rate.bytes_per_s <= one.bytes_per_s < FILLED * together
