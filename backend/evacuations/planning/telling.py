"""What a plan says beside its lines: why nothing can be started, and what is to be known."""

from collections.abc import Iterable, Mapping, Sequence

from backend.evacuations.timing.ordering import Stage, stage_of
from backend.evacuations.timing.reckoning import Sheet, Sum
from backend.fleet.dead import is_dead
from backend.fleet.host_view import host_status, shutting_down
from backend.fleet.known import Fleet
from backend.forecast.rates import UNSHOWN_TIMES
from backend.moments import lasting
from backend.scheduler.move import Skips
from wire.evacuation import Evacuation, EvacuationKind, PlannedMove, Way
from wire.fleet import HostFacts, HostPolicy, HostStatus
from wire.forecast import Basis, Ease, LinkRate
from wire.rescue import IncidentState

_MIB = 1 << 20
_NAMED = 4
_SKIP_CPU = "skip CPU check (c in the options, --skip-cpu-check)"
_SKIP_KERNEL = "skip kernel check (n in the options, --skip-kernel-check)"
"""As the console's options and the command line name them."""


def kind_of(fleet: Fleet, host: HostFacts) -> EvacuationKind:
    """Whether a host's servers leave it or are rescued: those of one that is down cannot leave."""
    down = host_status(fleet, host)[0] is HostStatus.OFFLINE
    return EvacuationKind.RESCUE if down else EvacuationKind.EVACUATE


def refusals(
    fleet: Fleet,
    host: HostFacts,
    kind: EvacuationKind,
    moves: Sequence[PlannedMove],
    at_ms: int,
) -> list[str]:
    """Say in one sentence each why nothing can be started as it is.

    Args:
        fleet: all that is known.
        host: that is emptied, or filled by a return.
        kind: of the evacuation.
        moves: the lines of its plan.
        at_ms: now.
    """
    found = []
    known = fleet.open_evacuation(host.host_id)
    if known is not None:
        found.append(_held(known, at_ms))
    if kind is EvacuationKind.RETURN:
        return found + _of_return(fleet, host, moves)
    found += _of_state(fleet, host)
    if moves and all(one.way is Way.STAYS for one in moves):
        if all(one.chosen_way for one in moves):
            found.append(f"an operator wants every server of {host.name} to stay")
        else:
            first = next(one for one in moves if not one.chosen_way)
            count = f"all {len(moves)} servers" if moves[1:] else "the only server"
            verb = "stay" if moves[1:] else "stays"
            found.append(f"{count} of {host.name} {verb}: {first.server_name}, since {first.why}")
    return found


def warnings(
    fleet: Fleet,
    sheet: Sheet,
    kind: EvacuationKind,
    link: LinkRate | None,
    total: Sum,
    *,
    lacking: str,
    levers: Mapping[str, Skips],
) -> list[str]:
    """Say in one sentence each what blocks a part of a plan, or should be known.

    Args:
        fleet: all that is known.
        sheet: the plan.
        kind: of the evacuation.
        link: of its host, out of it or for a return into it.
        total: of its moves.
        lacking: of keep_spare: which host cannot be spared even now; empty if any can.
        levers: server_id → the checks without which it would not have to stay.
    """
    host = fleet.facts[sheet.host_id]
    moves = sheet.moves
    found = []
    if not moves and kind is not EvacuationKind.RETURN:
        found.append(f"{host.name} has no servers")
    found += _of_staying([one for one in moves if one.way is Way.STAYS and not one.chosen_way])
    found += _of_levers(moves, levers)
    found += _of_forecasts(moves)
    if lacking:
        worse = "what would make that worse stays"
        found.append(f"not every host can be spared even now, and {worse}: {lacking}")
    if any(_sends(sheet, one) for one in moves):
        found += _of_link(host, kind, link, total)
    incident = fleet.open_incident(host.host_id)
    if incident is not None and incident.state is IncidentState.RESCUING:
        found.append(
            f"servers of {host.name} are started elsewhere already without being asked: incident "
            f"{incident.incident_id}"
        )
    if kind is EvacuationKind.EVACUATE:
        found += _of_arrivals(fleet, host)
    if shutting_down(fleet, host.host_id):
        found.append(
            f"{host.name} is being shut down in order, and moves are begun for that already"
        )
    return found


def named(names: Iterable[str]) -> str:
    """List a few names, and how many more there are."""
    listed = list(names)
    if len(listed) > _NAMED:
        return f"{', '.join(listed[:_NAMED])} and {len(listed) - _NAMED} more"
    return ", ".join(listed)


def _held(known: Evacuation, at_ms: int) -> str:
    by = f" of {known.requested_by}" if known.requested_by else ""
    ago = lasting((at_ms - known.created_at_ms) / 1000)
    begun = f"evacuation {known.evacuation_id}{by}, begun {ago} ago"
    if known.kind is EvacuationKind.RETURN:
        return f"servers are returning to {known.host_name} already: {begun}"
    return f"{known.host_name} is being emptied already: {begun}"


def _of_state(fleet: Fleet, host: HostFacts) -> list[str]:
    status, reason = host_status(fleet, host)
    if status is HostStatus.ONLINE or is_dead(fleet, host.host_id):
        return []
    if status is not HostStatus.OFFLINE:
        return [f"{host.name} is {status}, and nothing can leave it then: {reason}"]
    incident = fleet.open_incident(host.host_id)
    missing = incident.held_reason if incident is not None else ""
    because = missing or f"{reason}, and no proof is there yet"
    declare = f"godwit host-declare-off {host.name}"
    advice = f"; if it is switched off, say so with {declare}"
    if incident is not None and incident.declared_off_by:
        advice = f"; {incident.declared_off_by} has declared that it is off: ask again in a moment"
    elif declare in because:
        advice = ""
    told = f"{host.name} is down and not proven to be dead"
    if "may still run" not in because:
        told += ", so that its guests may still run"
    return [f"{told}: {because}{advice}"]


def _of_return(fleet: Fleet, host: HostFacts, moves: Sequence[PlannedMove]) -> list[str]:
    found = []
    status, reason = host_status(fleet, host)
    if status is not HostStatus.ONLINE:
        found.append(f"{host.name} is {status}, not online: {reason}")
    if fleet.policies.get(host.host_id, HostPolicy()).maintenance:
        found.append(
            f"{host.name} is in maintenance and takes no servers: end that with "
            f"godwit host-exit-maintenance {host.name}"
        )
    if not moves:
        found.append(
            f"nothing is left to return to {host.name}: of all that left it in an evacuation, "
            "nothing is elsewhere now"
        )
    elif not found and all(one.way is Way.STAYS for one in moves):
        why = moves[0].why
        found.append(f"nothing can return to {host.name}: {moves[0].server_name}, since {why}")
    return found


def _of_staying(moves: Sequence[PlannedMove]) -> list[str]:
    """What keeps servers, once for all that the same thing keeps."""
    kept: dict[str, list[str]] = {}
    for one in moves:
        kept.setdefault(one.why, []).append(one.server_name)
    reasons = list(kept.items())
    found = [
        f"{named(names)} {'stay' if names[1:] else 'stays'}: {why}"
        for why, names in reasons[:_NAMED]
    ]
    more = sum(len(names) for _, names in reasons[_NAMED:])
    if more:
        found.append(
            f"{more} more {'servers stay' if more > 1 else 'server stays'}, each with its reason"
        )
    return found


def _of_levers(moves: Sequence[PlannedMove], levers: Mapping[str, Skips]) -> list[str]:
    """Which checks would have to be skipped, once for all whom that helps."""
    found = []
    for words, skips in (
        (_SKIP_CPU, Skips(cpu=True)),
        (_SKIP_KERNEL, Skips(kernel=True)),
        (f"{_SKIP_CPU} with {_SKIP_KERNEL}", Skips(cpu=True, kernel=True)),
    ):
        helped = [
            one.server_name
            for one in moves
            if one.way is Way.STAYS and levers.get(one.server_id) == skips
        ]
        if helped:
            found.append(f"{words} would let {named(helped)} leave")
    return found


def _sends(sheet: Sheet, move: PlannedMove) -> bool:
    """Whether memory or disks of a server cross the link by this plan."""
    stage = stage_of(move, sheet.records[move.server_id])
    return move.way is not Way.RESCUE and stage in {Stage.EASY, Stage.HEAVY, Stage.DISKS}


def _of_forecasts(moves: Sequence[PlannedMove]) -> list[str]:
    live = [(one, one.forecast) for one in moves if one.way is Way.LIVE and one.forecast]
    waits: dict[str, list[str]] = {}
    for move, forecast in live:
        if forecast.ease is Ease.STUCK:
            lever = forecast.lever or "it does not converge within its pause"
            waits.setdefault(lever, []).append(move.server_name)
    found = [
        f"{named(names)} {'wait' if names[1:] else 'waits'}: {lever}"
        for lever, names in waits.items()
    ]
    slowed = [
        f"{move.server_name} (by {each.throttle_percent} %)"
        for move, each in live
        if each.throttle_percent and each.ease is not Ease.STUCK
    ]
    if slowed:
        found.append(f"QEMU slows down until they converge: {named(slowed)}")
    guessed = [move.server_name for move, each in live if each.basis is Basis.GUESSED]
    if guessed:
        found.append(
            f"nothing was measured yet of how fast {named(guessed)} "
            f"{'write' if guessed[1:] else 'writes'} memory: taken as idle"
        )
    return found


def _of_link(host: HostFacts, kind: EvacuationKind, link: LinkRate | None, total: Sum) -> list[str]:
    way = "into" if kind is EvacuationKind.RETURN else "out of"
    if link is None:
        unknown = f"nobody knows how fast the link {way} {host.name} is"
        return [f"{unknown}, so that no times are reckoned: the first move will show it"]
    if not link.measured_at_ms:
        taken = f"the link {way} {host.name} is taken at {link.bytes_per_s / _MIB:.0f} MiB/s"
        unknown = "nobody knows how fast it is until a move has shown it"
        slower = f"if it is {UNSHOWN_TIMES} times slower, all may take {_precise(total.high_s)}"
        return [f"{taken}, as its card says: {unknown}, and {slower}"]
    return []


def _precise(duration_s: float) -> str:
    """As exact as the band of the plan, which tells the same."""
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _of_arrivals(fleet: Fleet, host: HostFacts) -> list[str]:
    arriving = sorted(
        one.server_name
        for one in fleet.migrations.values()
        if one.target_host_id == host.host_id and not one.state.ended
    )
    if not arriving:
        return []
    verb = "are" if arriving[1:] else "is"
    return [f"{named(arriving)} {verb} on the way to {host.name} now, and would have to leave too"]
