"""What moves that ended have shown: all beside the copying, and how forecasts held."""

import statistics
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from wire.forecast import Basis, Forecast
from wire.migration import Migration, MigrationKind, MigrationParameters, MigrationState

_KEPT = 200
LIVE_OVERHEAD_MS = 1_500
COLD_OVERHEAD_MS = 1_000
"""Before any move has shown it; measured on hosts under software emulation."""
FIXED_PAUSE_MS = 70
"""Device state and the start on the other side, measured likewise."""
LAST_PASS_SLOWER = 1.15
"""The last pass carries less than those before: 36 to 42 MiB/s after 44 to 46."""
_ENOUGH = 10
_ALONE = 0.7
"""A move that never got so much of its bandwidth shared it with others."""
_LONGEST_FIXED_PAUSE_MS = 2_000


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What one move has shown."""

    kind: MigrationKind
    overhead_ms: int | None = None
    fixed_pause_ms: int | None = None
    basis: Basis | None = None
    ratio: float | None = None
    """Its real time by its forecast."""


class Past:
    """Told each ended move; kept in memory, and filled from the journal when a backend begins."""

    def __init__(self) -> None:
        self._learned: OrderedDict[str, Learned] = OrderedDict()
        self._last: dict[str, Migration] = {}

    def ended(self, migration: Migration) -> None:
        """Learn from a move that ended; telling of it again changes nothing."""
        if migration.state is not MigrationState.SUCCEEDED or migration.kind == "rescue":
            return
        self._learned[migration.migration_id] = learned_from(migration)
        while len(self._learned) > _KEPT:
            self._learned.popitem(last=False)
        known = self._last.get(migration.server_id)
        newer = known is None or known.finished_at_ms <= migration.finished_at_ms
        if newer and migration.kind == "live" and len(migration.passes) > 1:
            self._last[migration.server_id] = migration

    def forget(self, server_id: str) -> None:
        """Let go of a server that is no more."""
        self._last.pop(server_id, None)

    def last_move(self, server_id: str) -> Migration | None:
        """A server's last live move whose passes are known."""
        return self._last.get(server_id)

    def overhead_ms(self, kind: MigrationKind) -> int:
        """What comes before and after the copying, together."""
        told = [
            one.overhead_ms
            for one in self._learned.values()
            if one.kind == kind and one.overhead_ms is not None
        ]
        unknown = LIVE_OVERHEAD_MS if kind == "live" else COLD_OVERHEAD_MS
        return _median(told, unknown)

    def fixed_pause_ms(self) -> int:
        """What a pause takes beyond sending what remains."""
        told = [one.fixed_pause_ms for one in self._learned.values()]
        return _median([one for one in told if one is not None], FIXED_PAUSE_MS)

    def band(self, kind: MigrationKind, basis: Basis) -> tuple[float, float] | None:
        """Between which parts of their forecasts nine of ten moves ended; None before ten did."""
        told = sorted(
            one.ratio
            for one in self._learned.values()
            if one.kind == kind and one.basis is basis and one.ratio is not None
        )
        if len(told) < _ENOUGH:
            return None
        edge = len(told) // 20
        return told[edge], told[-1 - edge]


def learned_from(migration: Migration) -> Learned:
    """What a move that succeeded has shown."""
    real_ms = migration.finished_at_ms - migration.created_at_ms
    forecast = migration.forecast
    return Learned(
        kind=migration.kind,
        overhead_ms=_overhead_ms(migration, real_ms),
        fixed_pause_ms=_fixed_pause_ms(migration),
        basis=None if forecast is None else forecast.basis,
        ratio=real_ms / forecast.total_ms
        if forecast is not None and _as_forecast(migration, forecast)
        else None,
    )


def _as_forecast(migration: Migration, forecast: Forecast) -> bool:
    """Whether it was made under the terms of its forecast: alone, and steered by nobody."""
    rates = [each.bandwidth_bytes_per_s for each in migration.passes]
    alone = max(rates, default=0) >= _ALONE * forecast.bandwidth_bytes_per_s
    unsteered = migration.parameters == MigrationParameters()
    return forecast.total_ms > 0 and unsteered and (migration.kind == "cold" or alone)


def _overhead_ms(migration: Migration, real_ms: int) -> int | None:
    figures = migration.statistics
    if migration.kind == "live" and not figures.disk_transferred_bytes and migration.passes:
        return max(0, real_ms - sum(each.duration_ms for each in migration.passes))
    if migration.kind == "cold" and not figures.disk_transferred_bytes:
        return real_ms
    return None


def _fixed_pause_ms(migration: Migration) -> int | None:
    """The pause less the time for what remained when it began."""
    downtime_ms, passes = migration.statistics.downtime_ms, migration.passes
    rates = [each.bandwidth_bytes_per_s for each in passes[:-1] if each.bandwidth_bytes_per_s]
    if migration.kind != "live" or downtime_ms is None or not rates:
        return None
    sending_ms = 1000 * passes[-1].remaining_at_start_bytes / max(rates) * LAST_PASS_SLOWER
    return min(_LONGEST_FIXED_PAUSE_MS, max(0, int(downtime_ms - sending_ms)))


def _median(told: Iterable[int], unknown: int) -> int:
    values = list(told)
    return int(statistics.median(values)) if values else unknown
