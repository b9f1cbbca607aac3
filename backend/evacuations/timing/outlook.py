"""What moves would take as links are now: forecasts of open evacuations, kept while they hold.

A plan is made before a move has shown what a link carries. What was easy by the word of a card may
need the whole of the real link.
"""

from typing import Literal

import msgspec

from backend.evacuations.timing.ordering import rank
from backend.evacuations.timing.remarks import reforecast
from backend.fleet.known import Fleet
from backend.forecast.forecasts import forecast_of
from backend.forecast.rates import Rates
from backend.migrations.jobs import Jobs
from wire.evacuation import EvacuatedServer, Evacuation, MoveState, PlannedMove, Way
from wire.forecast import Ease, Forecast, LinkRate

_STEP = 1.15
"""A link whose rate changes by less is the same one."""


class _Known(msgspec.Struct, frozen=True):
    """A forecast, and what it was made of."""

    terms: tuple[object, ...]
    sides: tuple[LinkRate | None, LinkRate | None]
    forecast: Forecast | None


class Outlook:
    """Forecasts by server id. Made anew only when a link, a guest or its plan has changed."""

    def __init__(self, fleet: Fleet, jobs: Jobs) -> None:
        self._fleet = fleet
        self._jobs = jobs
        self._known: dict[str, _Known] = {}

    def keep(self, server_ids: set[str]) -> None:
        """Forget all others."""
        for server_id in self._known.keys() - server_ids:
            del self._known[server_id]

    def of(self, plan: PlannedMove, cap_bytes_per_s: int | None, rates: Rates) -> Forecast | None:
        """What a planned move, or one under way, is expected to take now.

        None for one that sends nothing over a link, or over one of which nobody knows anything.
        """
        record = self._fleet.records.get(plan.server_id)
        if record is None or plan.way not in {Way.LIVE, Way.COLD}:
            return None
        sides = (rates.out_of(record.owner.host_id), rates.into(plan.target_host_id))
        dirtying = self._fleet.dirtying.get(plan.server_id)
        job = self._jobs.latest(record.owner.migration_id)
        terms = (
            plan.way,
            plan.target_host_id,
            plan.options,
            cap_bytes_per_s,
            dirtying.samples if dirtying else (),
            len(job.passes) if job else 0,
        )
        known = self._known.get(plan.server_id)
        if known is not None and known.terms == terms and _same_links(known.sides, sides):
            return known.forecast
        kind: Literal["live", "cold"] = "live" if plan.way is Way.LIVE else "cold"
        options = msgspec.structs.replace(
            plan.options, prefer_host="", max_bandwidth_bytes_per_s=cap_bytes_per_s
        )
        forecast = forecast_of(
            self._fleet,
            self._jobs,
            record,
            kind=kind,
            options=options,
            target_host_id=plan.target_host_id,
        )
        self._known[plan.server_id] = _Known(terms, sides, forecast)
        return forecast

    def differs(self, evacuation: Evacuation) -> bool:
        """Whether what the plan says of a server that waits no longer holds."""
        rates = Rates(self._fleet)
        return any(
            _differ(one.plan.forecast, self._now(evacuation, one, rates))
            for one in evacuation.servers
            if one.state is MoveState.WAITING
        )

    def renewed(self, evacuation: Evacuation) -> Evacuation:
        """The same with what waits as it is forecast now, in the order that follows from that."""
        records, rates = self._fleet.records, Rates(self._fleet)
        waiting = [one for one in evacuation.servers if one.state is MoveState.WAITING]
        known = [
            msgspec.structs.replace(
                one, plan=reforecast(one.plan, self._now(evacuation, one, rates))
            )
            for one in waiting
            if one.plan.server_id in records
        ]
        known.sort(key=self._rank)
        begun = (one for one in evacuation.servers if one.state is not MoveState.WAITING)
        gone = (one for one in waiting if one.plan.server_id not in records)
        return msgspec.structs.replace(evacuation, servers=(*begun, *known, *gone))

    def _rank(self, server: EvacuatedServer) -> tuple[object, ...]:
        record = self._fleet.records[server.plan.server_id]
        return rank(server.plan, record, self._fleet.server_policies)

    def _now(
        self, evacuation: Evacuation, server: EvacuatedServer, rates: Rates
    ) -> Forecast | None:
        """The forecast of now, save for one that a move has shown to be stuck."""
        planned = server.plan.forecast
        if server.tries and planned is not None and planned.ease is Ease.STUCK:
            return planned
        return self.of(server.plan, evacuation.max_bandwidth_bytes_per_s, rates) or planned


def _same_links(
    before: tuple[LinkRate | None, LinkRate | None], now: tuple[LinkRate | None, LinkRate | None]
) -> bool:
    return all(_same_link(*each) for each in zip(before, now, strict=True))


def _same_link(before: LinkRate | None, now: LinkRate | None) -> bool:
    if before is None or now is None:
        return before is now
    return (
        bool(before.measured_at_ms) is bool(now.measured_at_ms)
        and _same_rate(before.bytes_per_s, now.bytes_per_s)
        and _same_rate(before.stream_bytes_per_s, now.stream_bytes_per_s)
    )


def _same_rate(before: int, now: int) -> bool:
    low, high = sorted((max(1, before), max(1, now)))
    return high < _STEP * low


def _differ(planned: Forecast | None, now: Forecast | None) -> bool:
    """Whether one is easier or harder than planned, gets another rate, or has another lever."""
    if planned is None or now is None:
        return planned is not now
    return (planned.ease, planned.lever) != (now.ease, now.lever) or not _same_rate(
        planned.bandwidth_bytes_per_s, now.bandwidth_bytes_per_s
    )
