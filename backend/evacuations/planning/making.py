"""Plans, made of what is known at one moment. Nothing here asks anybody or changes anything."""

from collections.abc import Mapping, Sequence

import msgspec

from backend.evacuations.placing.alike import Alike
from backend.evacuations.placing.blame import unsuitable
from backend.evacuations.placing.lines import Line, line_of
from backend.evacuations.placing.rooms import emptied, promised, rooms, spare_of
from backend.evacuations.placing.targets import Placed, Placing
from backend.evacuations.placing.wishes import Wish
from backend.evacuations.planning.telling import refusals, warnings
from backend.evacuations.timing.deadline import Verdict, verdict
from backend.evacuations.timing.reckoning import Reckoner, Sheet
from backend.evacuations.timing.remarks import remark
from backend.evacuations.timing.timeline import Span, Transfer
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from backend.rescue.definition import Definition
from backend.scheduler.move import HostState, Skips
from wire.evacuation import EvacuationKind, MoveOptions, Plan, PlannedMove, Way
from wire.fleet import HostFacts, ServerRecord


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be planned of one host."""

    kind: EvacuationKind
    host: HostFacts
    """That is emptied, or that servers return to."""
    records: Mapping[str, ServerRecord]
    """server_id → the servers that are planned."""
    wishes: Mapping[str, Wish] = {}
    options: MoveOptions = MoveOptions()
    cap_bytes_per_s: int | None = None
    empty_by_ms: int = 0
    evacuation_id: str = ""
    """Of the one that is planned anew; empty for one that has not begun."""
    under_way: tuple[Transfer, ...] = ()
    """What is left of its moves."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What plans are made of, as it is at one moment."""

    fleet: Fleet
    jobs: Jobs
    lines: tuple[tuple[Line, ...], ...]
    """For each host that is planned how its servers leave."""
    states: Mapping[str, HostState]
    """Every host that may be a target, by id and in the order of names."""
    alike: Alike
    """The same hosts by kind."""
    at_ms: int


def given(
    fleet: Fleet,
    jobs: Jobs,
    wanted: Sequence[Wanted],
    definitions: Mapping[str, Definition],
    at_ms: int,
) -> Given:
    """Read what plans are made of.

    Args:
        fleet: all that is known.
        jobs: moves under way.
        wanted: what is to be planned together.
        definitions: of the servers of dead hosts, by server id.
        at_ms: now.

    Raises:
        GodwitError: BAD_REQUEST, as :func:`backend.evacuations.placing.lines.line_of`.
    """
    lines = tuple(_lines_of(fleet, one, definitions) for one in wanted)
    states = rooms(
        fleet,
        _promises(fleet, wanted),
        leaving=_left_out(fleet, wanted),
        untouched=_untouched(wanted),
    )
    return Given(
        fleet=fleet,
        jobs=jobs,
        lines=lines,
        states=states,
        alike=Alike(states.values()),
        at_ms=at_ms,
    )


def make(known: Given, wanted: Sequence[Wanted], *, keep_spare: bool) -> tuple[Plan, ...]:
    """Plan for several hosts together: one plan for each, in their order.

    Args:
        known: what :func:`given` read, with what libvirt says of CPUs.
        wanted: the same that it was read for.
        keep_spare: whether targets keep room for one more host's death.
    """
    fleet, lines, apart = known.fleet, known.lines, _left_out(known.fleet, wanted)
    spare = None
    if keep_spare:
        spare = spare_of(
            fleet, known.states, _promises(fleet, wanted), untouched=_untouched(wanted)
        )
    placing = Placing(
        known.states,
        known.alike,
        left_out=apart,
        late=fleet.late,
        spare=spare,
    )
    placed = placing.give(line for each in lines for line in each)
    reckoner = Reckoner(fleet, known.jobs)
    sheets = [
        reckoner.ordered(_sheet(fleet, reckoner, one, each, placed))
        for one, each in zip(wanted, lines, strict=True)
    ]
    whole = _Whole(
        reckoner=reckoner,
        sheets=sheets,
        times=reckoner.timed(sheets),
        lacking="" if spare is None else spare.lacking,
        levers={id_: one.lever for id_, one in placed.items() if one.lever is not None},
    )
    return tuple(_plan(known, whole, number, one) for number, one in enumerate(wanted))


def _lines_of(
    fleet: Fleet, wanted: Wanted, definitions: Mapping[str, Definition]
) -> tuple[Line, ...]:
    """How each server leaves, in the order of names."""
    found = []
    avoid = unsuitable(fleet, wanted.evacuation_id)
    for record in sorted(wanted.records.values(), key=lambda one: (one.name, one.server_id)):
        line = line_of(
            fleet,
            record,
            kind=wanted.kind,
            wish=wanted.wishes.get(record.server_id, Wish()),
            for_all=wanted.options,
            definitions=definitions,
            avoid=avoid.get(record.server_id, ()),
        )
        if line is not None and wanted.kind is EvacuationKind.RETURN:
            line = msgspec.structs.replace(line, only_target_id=wanted.host.host_id)
        if line is not None:
            found.append(line)
    return tuple(found)


def _untouched(wanted: Sequence[Wanted]) -> bool:
    """Whether memory that guests were given and have not touched counts as taken."""
    return any(one.kind is EvacuationKind.RESCUE for one in wanted)


def _promises(fleet: Fleet, wanted: Sequence[Wanted]) -> list[PlannedMove]:
    apart_from = {one.evacuation_id for one in wanted if one.evacuation_id}
    return promised(fleet.evacuations.values(), apart_from=apart_from)


def _left_out(fleet: Fleet, wanted: Sequence[Wanted]) -> dict[str, str]:
    """Say of the hosts that are emptied why they are no targets."""
    found = {
        host_id: f"{one.host_name} is being emptied (evacuation {one.evacuation_id})"
        for host_id, one in emptied(fleet.evacuations.values()).items()
    }
    for one in wanted:
        if one.kind is not EvacuationKind.RETURN:
            found[one.host.host_id] = f"{one.host.name} is emptied too"
    return found


class _Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What plans that are made together have in common."""

    reckoner: Reckoner
    sheets: list[Sheet]
    times: list[dict[str, Span]]
    lacking: str
    levers: Mapping[str, Skips]
    """server_id → the checks without which it would not have to stay."""


def _sheet(
    fleet: Fleet,
    reckoner: Reckoner,
    wanted: Wanted,
    lines: tuple[Line, ...],
    placed: Mapping[str, Placed],
) -> Sheet:
    cap = wanted.cap_bytes_per_s
    return Sheet(
        host_id=wanted.host.host_id,
        lines=lines,
        moves=tuple(
            _planned(fleet, reckoner, line, placed.get(line.record.server_id), cap)
            for line in lines
        ),
        cap_bytes_per_s=cap,
        under_way=wanted.under_way,
    )


def _planned(
    fleet: Fleet, reckoner: Reckoner, line: Line, placed: Placed | None, cap: int | None
) -> PlannedMove:
    move = line.planned()
    if placed is None:
        return move
    if not placed.host_id:
        return msgspec.structs.replace(move, way=Way.STAYS, why=placed.why, chosen_way=False)
    forecast = reckoner.forecast(line, line.options, placed.host_id, cap)
    known = [placed.why]
    if move.way is Way.COLD and move.options.auto_start:
        known.append("it is off and wanted on: it is started there")
    known.append(remark(forecast))
    return msgspec.structs.replace(
        move,
        target_host_id=placed.host_id,
        target_host_name=fleet.facts[placed.host_id].name,
        forecast=forecast,
        why="; ".join(one for one in known if one),
    )


def _plan(known: Given, whole: _Whole, number: int, wanted: Wanted) -> Plan:
    fleet, host, reckoner = known.fleet, wanted.host, whole.reckoner
    sheet, times = whole.sheets[number], whole.times[number]
    filled = wanted.kind is EvacuationKind.RETURN
    link = reckoner.rates.into(host.host_id) if filled else reckoner.rates.out_of(host.host_id)
    total = reckoner.sum_up(sheet, times)
    judged = Verdict()
    if wanted.empty_by_ms:
        judged = verdict(
            reckoner,
            sheet,
            total,
            left_s=(wanted.empty_by_ms - known.at_ms) / 1000,
        )
    return Plan(
        kind=wanted.kind,
        host_id=host.host_id,
        host_name=host.name,
        moves=tuple(_timed(move, times.get(move.server_id)) for move in sheet.moves),
        made_at_ms=known.at_ms,
        finish_in_s=round(total.finish_s),
        finish_low_s=round(total.low_s),
        finish_high_s=round(total.high_s),
        sent_bytes=total.sent_bytes,
        link=link,
        refusals=tuple(refusals(fleet, host, wanted.kind, sheet.moves, known.at_ms)),
        warnings=tuple(
            warnings(
                fleet, sheet, wanted.kind, link, total, lacking=whole.lacking, levers=whole.levers
            )
        ),
        deadline=judged.sentence,
        meets_deadline=judged.meets,
    )


def _timed(move: PlannedMove, span: Span | None) -> PlannedMove:
    if span is None:
        return move
    return msgspec.structs.replace(
        move, starts_in_s=round(span.start_s), ends_in_s=round(span.end_s)
    )
