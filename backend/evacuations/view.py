"""An evacuation as the API shows it: with its band of finishing, its link, and what waits."""

import statistics

import msgspec

from backend.evacuations.placing.lines import Line
from backend.evacuations.planning.anew import under_way
from backend.evacuations.timing.deadline import Verdicts, verdict
from backend.evacuations.timing.ordering import Stage, stage_of
from backend.evacuations.timing.reckoning import Reckoner, Sheet, Sum
from backend.evacuations.timing.timeline import Transfer
from backend.evacuations.timing.under_way import left_bytes, sent_bytes
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
    Way,
)


def evacuation_view(
    fleet: Fleet, jobs: Jobs, record: Evacuation, at_ms: int, verdicts: Verdicts
) -> Evacuation:
    """A record with what is known beside it now; an ended one needs nothing.

    Args:
        fleet: all that is known.
        jobs: moves under way.
        record: the evacuation as etcd keeps it.
        at_ms: now.
        verdicts: those on deadlines, for some seconds each.
    """
    if not record.open:
        verdicts.forget(record.evacuation_id)
        return record
    reckoner = Reckoner(fleet, jobs)
    fills = record.kind is EvacuationKind.RETURN
    view = msgspec.structs.replace(
        record,
        servers=tuple(_with_reason(fleet, record, one) for one in record.servers),
        link=(reckoner.rates.into if fills else reckoner.rates.out_of)(record.host_id),
        sending_bytes_per_s=_sending(fleet, jobs, record),
    )
    view, sheet, total = _with_finish(reckoner, view, _sheet(fleet, jobs, record, at_ms), at_ms)
    return _judged(reckoner, view, sheet, total, at_ms=at_ms, verdicts=verdicts)


def _with_finish(
    reckoner: Reckoner, view: Evacuation, sheet: Sheet, at_ms: int
) -> tuple[Evacuation, Sheet, Sum]:
    """Reckon when it ends: nobody can say while it is paused, or waits for a person or for room."""
    records = sheet.records
    stages = {one.server_id: stage_of(one, records[one.server_id]) for one in sheet.moves}
    waits = Stage.STUCK in stages.values()
    paused = view.state is EvacuationState.PAUSED
    unplaced = any(
        not one.target_host_id for one in sheet.moves if stages[one.server_id] is not Stage.STAYS
    )
    sheet = reckoner.ordered(sheet)
    total = reckoner.sum_up(sheet, reckoner.timed([sheet])[0])
    if not total.shown:
        finish_s = total.finish_s * _times_longer(view, at_ms)
        high_s = max(total.high_s, finish_s)
        total = msgspec.structs.replace(total, finish_s=finish_s, high_s=high_s)
    if not (waits or paused or unplaced):
        view = msgspec.structs.replace(
            view,
            finish_at_ms=at_ms + round(total.finish_s * 1000),
            finish_low_ms=at_ms + round(total.low_s * 1000),
            finish_high_ms=at_ms + round(total.high_s * 1000),
        )
    return view, sheet, total


def _times_longer(record: Evacuation, at_ms: int) -> float:
    """How many times as long as expected its moves took so far, the half of them at most.

    Small ones end before they have shown what their link carries: that they take long shows it too.
    """
    longer = []
    for one in record.servers:
        if one.forecast is None or not one.forecast.total_ms:
            continue
        if one.state is MoveState.LEFT and one.started_at_ms:
            took_ms = one.ended_at_ms - one.started_at_ms
        elif one.state is MoveState.MOVING:
            took_ms = max(at_ms - one.started_at_ms, one.forecast.total_ms)
        else:
            continue
        longer.append(took_ms / one.forecast.total_ms)
    return max(1.0, statistics.median(longer)) if longer else 1.0


def _judged(
    reckoner: Reckoner,
    view: Evacuation,
    sheet: Sheet,
    total: Sum,
    *,
    at_ms: int,
    verdicts: Verdicts,
) -> Evacuation:
    if not view.empty_by_ms:
        return view
    if view.state is EvacuationState.PAUSED:
        sentence = "whether it is empty in time cannot be said: it is paused"
        return msgspec.structs.replace(view, deadline=sentence, meets_deadline=False)
    left_s = (view.empty_by_ms - at_ms) / 1000
    judged = verdicts.of(view, at_ms, lambda: verdict(reckoner, sheet, total, left_s=left_s))
    return msgspec.structs.replace(view, deadline=judged.sentence, meets_deadline=judged.meets)


def _sheet(fleet: Fleet, jobs: Jobs, record: Evacuation, at_ms: int) -> Sheet:
    """What is still to come, as plans are reckoned.

    What failed or was cancelled stays, and not since somebody chose that.
    """
    lines, moves = [], []
    for one in record.servers:
        server = fleet.records.get(one.plan.server_id)
        source = fleet.facts.get(one.plan.source_host_id)
        if server is None or source is None or one.state in {MoveState.MOVING, MoveState.LEFT}:
            continue
        plan = one.plan
        if one.state is not MoveState.WAITING:
            chosen = plan.chosen_way and one.state is MoveState.STAYED
            plan = msgspec.structs.replace(plan, way=Way.STAYS, chosen_way=chosen)
        lines.append(Line(record=server, source=source, way=plan.way, options=plan.options))
        moves.append(plan)
    return Sheet(
        host_id=record.host_id,
        lines=tuple(lines),
        moves=tuple(moves),
        cap_bytes_per_s=record.max_bandwidth_bytes_per_s,
        under_way=tuple(_as_sampled(jobs, record, one) for one in under_way(record, at_ms)),
    )


def _as_sampled(jobs: Jobs, record: Evacuation, transfer: Transfer) -> Transfer:
    """What is left of a move by its latest sample, once there is one."""
    server = next(one for one in record.servers if one.plan.server_id == transfer.server_id)
    samples = jobs.samples(server.migration_id)
    if not samples or not sent_bytes(samples[-1]):
        return transfer
    expected = server.forecast.sent_bytes if server.forecast else 0
    return msgspec.structs.replace(transfer, sent_bytes=left_bytes(samples[-1], expected))


def _with_reason(fleet: Fleet, record: Evacuation, server: EvacuatedServer) -> EvacuatedServer:
    if server.state is not MoveState.WAITING:
        return server
    if record.state is EvacuationState.PAUSED:
        return msgspec.structs.replace(server, reason="the evacuation is paused")
    waits = fleet.evacuation_waits.get(record.evacuation_id, {})
    reason = waits.get(server.plan.server_id, "")
    return msgspec.structs.replace(server, reason=reason) if reason else server


def _sending(fleet: Fleet, jobs: Jobs, record: Evacuation) -> int:
    """What its moves send together, by their latest samples."""
    total = 0
    for one in record.servers:
        migration = fleet.migrations.get(one.migration_id)
        if one.state is not MoveState.MOVING or migration is None or migration.state.ended:
            continue
        for sample in jobs.samples(one.migration_id)[-1:]:
            total += sample.bandwidth_bytes_per_s + sample.disk_bandwidth_bytes_per_s
    return total
