"""The forecast of one move, from all that the backend knows."""

from typing import Literal

from backend.fleet.known import Fleet
from backend.forecast.rates import Rates
from backend.migrations.jobs import Jobs
from backend.scheduler.storage import carried
from wire.fleet import ServerRecord
from wire.forecast import Basis, Ease, Forecast
from wire.migration import MigrationOptions

_OVERHEAD_MS = 1_500


def forecast_of(
    fleet: Fleet,
    jobs: Jobs,
    record: ServerRecord,
    *,
    kind: Literal["live", "cold"],
    options: MigrationOptions,
    bandwidth_bytes_per_s: int | None = None,
    target_host_id: str = "",
) -> Forecast | None:
    """What one move is expected to take.

    Args:
        fleet: hosts, servers and what their agents measured.
        jobs: moves under way.
        record: whose move.
        kind: live for a server that is on, cold for a stopped one.
        options: those of the move; a cap in them holds.
        bandwidth_bytes_per_s: what it gets; None for what one move alone gets on this link.
        target_host_id: where it goes; empty if that is not known yet.

    Returns:
        None if nobody knows the link's rate, or if a stopped server moves only its definition.
    """
    rates = Rates(fleet, jobs)
    sides = [rates.out_of(record.owner.host_id), rates.into(target_host_id)]
    known = [one.stream_bytes_per_s or one.bytes_per_s for one in sides if one is not None]
    rate = bandwidth_bytes_per_s or min(known, default=0)
    if options.max_bandwidth_bytes_per_s is not None:
        rate = min(rate or options.max_bandwidth_bytes_per_s, options.max_bandwidth_bytes_per_s)
    disk_bytes = sum(disk.allocation_bytes for disk in carried(record.disks, kind))
    if not rate or (kind == "cold" and not disk_bytes):
        return None
    sent_bytes = disk_bytes + (record.memory_bytes if kind == "live" else 0)
    total_ms = _OVERHEAD_MS + sent_bytes * 1000 // rate
    return Forecast(
        ease=Ease.EASY,
        basis=Basis.GUESSED,
        total_ms=total_ms,
        low_ms=total_ms // 2,
        high_ms=total_ms * 3,
        sent_bytes=sent_bytes,
        downtime_ms=options.downtime_limit_ms if kind == "live" else 0,
        bandwidth_bytes_per_s=rate,
    )
