"""How long a plan takes: forecasts of its moves, their places on the links, and the band."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from backend.evacuations.placing.lines import Line
from backend.evacuations.timing.ordering import Stage, rank, stage_of
from backend.evacuations.timing.pacing import filling
from backend.evacuations.timing.timeline import (
    Instant,
    Link,
    Links,
    Span,
    Transfer,
    instants,
    spans,
)
from backend.evacuations.timing.under_way import FIRST_LEAD_S
from backend.fleet.known import Fleet
from backend.forecast.forecasts import forecast_of
from backend.forecast.rates import UNSHOWN_TIMES, Rates
from backend.migrations.jobs import Jobs
from wire.evacuation import PlannedMove, Way
from wire.fleet import ServerRecord
from wire.forecast import Ease, Forecast, LinkRate
from wire.migration import MigrationKind, MigrationOptions, MigrationState

_TAKES_S = {Way.COLD: 3.0, Way.RESCUE: 10.0}
"""What a definition's move and a rescue take where none has been seen yet."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """One host's plan as it is reckoned."""

    host_id: str
    lines: tuple[Line, ...]
    moves: tuple[PlannedMove, ...]
    cap_bytes_per_s: int | None = None
    """On all that leaves the host, or comes to it in a return."""
    under_way: tuple[Transfer, ...] = ()
    """What is left of moves that have begun."""

    @property
    def records(self) -> dict[str, ServerRecord]:
        """The servers, by id."""
        return {line.record.server_id: line.record for line in self.lines}


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """When one host's moves end, in seconds from now."""

    finish_s: float
    low_s: float
    high_s: float
    sent_bytes: int
    shown: bool
    """Moves have shown how fast its links are."""


class Reckoner:
    """What is known of links and durations, read once for all plans that are made together."""

    def __init__(self, fleet: Fleet, jobs: Jobs) -> None:
        self._fleet = fleet
        self._jobs = jobs
        self.rates = Rates(fleet)
        self._takes_s: dict[Way, float] = {}

    def forecast(
        self, line: Line, options: MigrationOptions, target_host_id: str, cap: int | None
    ) -> Forecast | None:
        """What one move takes, alone; None for a rescue and a mere definition."""
        if line.kind == "rescue":
            return None
        return forecast_of(
            self._fleet,
            self._jobs,
            line.record,
            kind=line.kind,
            options=msgspec.structs.replace(options, prefer_host="", max_bandwidth_bytes_per_s=cap),
            target_host_id=target_host_id,
        )

    def ordered(self, sheet: Sheet) -> Sheet:
        """The same with its moves in the order in which they begin."""
        records, policies = sheet.records, self._fleet.server_policies
        moves = sorted(sheet.moves, key=lambda one: rank(one, records[one.server_id], policies))
        return msgspec.structs.replace(sheet, moves=tuple(moves))

    def timed(self, sheets: Sequence[Sheet]) -> list[dict[str, Span]]:
        """When each move begins and ends that does not wait for a lever, sheet by sheet.

        Args:
            sheets: ordered; they share the links of targets.
        """
        queues = [[*sheet.under_way, *self._transfers(sheet)] for sheet in sheets]
        caps = {sheet.host_id: sheet.cap_bytes_per_s for sheet in sheets}
        all_spans = spans(queues, self._links((one for each in queues for one in each), caps))
        found = []
        for sheet, queue in zip(sheets, queues, strict=True):
            of_sheet = {one.server_id: all_spans[one.server_id] for one in queue}
            found.append(of_sheet | instants(self._instants(sheet)))
        return found

    def sum_up(self, sheet: Sheet, times: Mapping[str, Span]) -> Sum:
        """The end of all moves, with the band.

        Moves whose links were measured err each for itself, so that their errors add up like
        chance. Where the link's rate is only what a card says, all may take so many times as long,
        and longer only where more passes come on top.
        """
        finish_s = max((one.end_s for one in times.values()), default=0.0)
        forecasts = [
            (one, one.forecast)
            for one in sheet.moves
            if one.forecast is not None and one.server_id in times
        ]
        rates = {one.source_host_id: self.rates.out_of(one.source_host_id) for one, _ in forecasts}
        shown = all(rate is not None and rate.measured_at_ms for rate in rates.values())
        early, late = [], []
        for move, forecast in forecasts:
            beside = self._beside(rates[move.source_host_id], sheet.cap_bytes_per_s, forecast)
            early.append(max(0, forecast.total_ms - forecast.low_ms) / 1000 / beside)
            late.append(max(0, forecast.high_ms - forecast.total_ms) / 1000 / beside)
        if shown:
            high_s = finish_s + math.hypot(*late)
        else:
            more_ms = (each.high_ms - UNSHOWN_TIMES * each.total_ms for _, each in forecasts)
            high_s = finish_s * UNSHOWN_TIMES + math.fsum(max(0, one) for one in more_ms) / 1000
        total_ms = sum(forecast.total_ms for _, forecast in forecasts)
        low_ms = sum(min(forecast.low_ms, forecast.total_ms) for _, forecast in forecasts)
        soonest_s = finish_s * low_ms / total_ms if total_ms else finish_s
        return Sum(
            finish_s=finish_s,
            low_s=max(soonest_s, finish_s - math.hypot(*early)) if shown else soonest_s,
            high_s=high_s,
            sent_bytes=sum(forecast.sent_bytes for _, forecast in forecasts),
            shown=shown,
        )

    def _beside(self, rate: LinkRate | None, cap: int | None, forecast: Forecast) -> int:
        """How many moves run beside one another while this one does."""
        if rate is None or forecast.ease is not Ease.EASY:
            return 1
        return _link(rate, cap).streams

    def _transfers(self, sheet: Sheet) -> list[Transfer]:
        records = sheet.records
        return [
            _transfer(move, move.forecast)
            for move in sheet.moves
            if move.forecast is not None and stage_of(move, records[move.server_id]) < Stage.STUCK
        ]

    def _instants(self, sheet: Sheet) -> list[Instant]:
        records = sheet.records
        return [
            Instant(
                server_id=move.server_id,
                target_host_id=move.target_host_id,
                takes_s=self._usual_s(move.way),
            )
            for move in sheet.moves
            if move.forecast is None
            and (
                move.way is Way.RESCUE
                or stage_of(move, records[move.server_id]) is Stage.DEFINITION
            )
        ]

    def _usual_s(self, way: Way) -> float:
        """What such moves took so far, the half of them at most."""
        if way not in self._takes_s:
            kind: MigrationKind = "rescue" if way is Way.RESCUE else "cold"
            took_s = [
                (one.finished_at_ms - one.started_at_ms) / 1000
                for one in self._fleet.migrations.values()
                if one.kind == kind and one.state is MigrationState.SUCCEEDED
                if not one.statistics.disk_transferred_bytes and one.started_at_ms
            ]
            self._takes_s[way] = statistics.median(took_s) if took_s else _TAKES_S[way]
        return self._takes_s[way]

    def _links(self, transfers: Iterable[Transfer], caps: Mapping[str, int | None]) -> Links:
        listed = list(transfers)
        out = {one.source_host_id for one in listed}
        into = {one.target_host_id for one in listed}
        return Links(
            out={one: _link(self.rates.out_of(one), caps.get(one)) for one in out},
            into={one: _link(self.rates.into(one), caps.get(one)) for one in into},
        )


def _link(rate: LinkRate | None, cap: int | None) -> Link:
    """One direction of a link; one that nobody knows holds nothing up, yet one move at a time."""
    if rate is None:
        return Link(bytes_per_s=math.inf if cap is None else cap, unseen=True)
    whole = rate.bytes_per_s if cap is None else min(rate.bytes_per_s, cap)
    stream = rate.stream_bytes_per_s
    return Link(bytes_per_s=whole, streams=filling(whole, stream), unseen=not stream)


def _transfer(move: PlannedMove, forecast: Forecast) -> Transfer:
    """What a forecast says of a move, seen from the link.

    What it takes beside its bytes is taken to lie before them as far as a lead usually takes.
    """
    rate = max(1, forecast.bandwidth_bytes_per_s)
    total_s = forecast.total_ms / 1000
    sending_s = min(total_s, forecast.sent_bytes / rate)
    beside_s = total_s - sending_s
    before_s = min(FIRST_LEAD_S, beside_s)
    return Transfer(
        server_id=move.server_id,
        source_host_id=move.source_host_id,
        target_host_id=move.target_host_id,
        sent_bytes=sending_s * rate,
        bytes_per_s=rate,
        before_s=before_s,
        after_s=beside_s - before_s,
        alone=forecast.ease is Ease.HEAVY,
    )
