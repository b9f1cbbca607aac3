"""The forecast of one move, from all that the backend knows."""

import math
from collections.abc import Sequence
from typing import Literal

from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report
from backend.forecast.judge import Terms, judge_cold, judge_live
from backend.forecast.known import known_of
from backend.forecast.rates import Rates
from backend.migrations.jobs import Jobs
from backend.scheduler.storage import carried, pool_needs
from wire.fleet import ServerRecord
from wire.forecast import Basis, Forecast, LinkRate
from wire.migration import MigrationOptions, Pass

_CARD_SHARE = 0.93
"""What of a card's rate is left for bytes of guests."""
_STREAM_BYTES_PER_S = 1_250_000_000
"""One stream of QEMU does not fill more than 10 Gbit/s, until a move has shown what it does."""


def forecast_of(
    fleet: Fleet,
    jobs: Jobs,
    record: ServerRecord,
    *,
    kind: Literal["live", "cold"],
    options: MigrationOptions,
    bandwidth_bytes_per_s: int | None = None,
    target_host_id: str = "",
    just_made: Sequence[Pass] = (),
) -> Forecast | None:
    """What one move is expected to take. One under way is forecast from where it is.

    Args:
        fleet: hosts, servers and what their agents measured.
        jobs: moves under way.
        record: whose move.
        kind: live for a server that is on, cold for a stopped one.
        options: those of the move; a cap in them holds.
        bandwidth_bytes_per_s: what it gets; None for what one move alone gets on this link.
        target_host_id: where it goes; empty if that is not known yet.
        just_made: passes of a live move of it that was given up just now.

    Returns:
        None if nobody knows the link's rate, or if a stopped server moves only its definition.
    """
    rates = Rates(fleet)
    sides = [rates.out_of(record.owner.host_id), rates.into(target_host_id)]
    links = [one for one in sides if one is not None]
    alone = bandwidth_bytes_per_s or min((_alone(one) for one in links), default=0.0)
    report = owner_report(fleet, record)
    disks = record.disks if report is None else report.disks
    full_bytes = pool_needs(disks, kind).total()
    written_bytes = sum(disk.allocation_bytes for disk in carried(disks, kind))
    if report is None:  # records do not tell what is written
        written_bytes = full_bytes
    if not alone or (kind == "cold" and not full_bytes):
        return None
    share = bandwidth_bytes_per_s or min((_share(one) for one in links), default=0.0)
    cap = options.max_bandwidth_bytes_per_s or math.inf
    known = known_of(fleet, jobs, record, just_made) if kind == "live" else None
    terms = Terms(
        bytes_per_s=min(alone, cap),
        share_bytes_per_s=min(share, cap),
        uncapped_bytes_per_s=alone,
        link_seen=bandwidth_bytes_per_s is not None or any(one.measured_at_ms for one in links),
        options=options,
        disk_bytes=full_bytes if kind == "live" else written_bytes,
        written_bytes=written_bytes,
        overhead_ms=fleet.past.overhead_ms(kind),
        fixed_pause_ms=fleet.past.fixed_pause_ms(),
        band=fleet.past.band(kind, Basis.MEASURED if known is None else known.basis),
    )
    return judge_cold(terms) if known is None else judge_live(known, terms)


def _alone(link: LinkRate) -> float:
    """What one move alone gets."""
    if not link.measured_at_ms:
        return min(link.bytes_per_s * _CARD_SHARE, _STREAM_BYTES_PER_S)
    return link.stream_bytes_per_s or link.bytes_per_s


def _share(link: LinkRate) -> float:
    """What each gets when as many share the link as fill it."""
    return link.bytes_per_s / math.ceil(link.bytes_per_s / _alone(link))
