"""Choosing the target of a live migration, or saying in one sentence why there is none."""

import msgspec

from backend.fleet.known import Fleet
from backend.fleet.names import find_host
from backend.fleet.server_view import of_power, owner_report
from backend.fleet.targets import host_states, move_of
from backend.scheduler.candidates import candidates
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Candidate, ServerRecord
from wire.migration import Migration

_REASONS_TOLD = 4


def all_candidates(fleet: Fleet, record: ServerRecord) -> tuple[Candidate, ...]:
    """Judge every host for a live migration of this server.

    Raises:
        GodwitError: AGENT_UNREACHABLE, its host does not report it now.
    """
    move = move_of(fleet, record)
    if move is None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, unreported(fleet, record))
    return candidates(move, host_states(fleet))


def unreported(fleet: Fleet, record: ServerRecord) -> str:
    """Say that nobody knows how a server stands."""
    owner = fleet.facts.get(record.owner.host_id)
    name = owner.name if owner else record.owner.host_id
    return f"{name} does not say now how {record.name} stands, so it cannot move"


def pick(name: str, judged: tuple[Candidate, ...], prefer_host_id: str) -> Candidate:
    """Pick the best host that fits; with a preferred host only that one will do.

    Raises:
        GodwitError: NO_TARGET, with every candidate and the main reasons.
    """
    wanted = [one for one in judged if prefer_host_id in {"", one.host_id}]
    fitting = [one for one in wanted if one.fits]
    if fitting:
        return fitting[0]
    if prefer_host_id:
        reasons = "; ".join(wanted[0].reasons) if wanted else "no such host"
        sentence = f"{name} cannot go to {wanted[0].host_name if wanted else prefer_host_id}: "
        raise GodwitError(ErrorCode.NO_TARGET, sentence + reasons, candidates=judged)
    raise GodwitError(ErrorCode.NO_TARGET, _no_target(name, judged), candidates=judged)


def choose(fleet: Fleet, migration: Migration) -> Candidate:
    """Pick the target of a journaled migration, whose server counts as migrating already.

    Raises:
        GodwitError: NO_TARGET, or CONFLICT when the source does not report the server.
    """
    record = fleet.records.get(migration.server_id)
    move = move_of(fleet, record) if record else None
    report = owner_report(fleet, record) if record else None
    if record is None or move is None or report is None:
        raise GodwitError(
            ErrorCode.CONFLICT,
            f"{migration.source_host_name} does not say now how {migration.server_name} stands",
        )
    as_reported = msgspec.structs.replace(move, status=of_power(report.state), status_reason="")
    prefer = migration.options.prefer_host
    prefer_host_id = find_host(fleet, prefer).host_id if prefer else ""
    return pick(record.name, candidates(as_reported, host_states(fleet)), prefer_host_id)


def _no_target(name: str, judged: tuple[Candidate, ...]) -> str:
    """Tell each host's first reason that is not simply being the source."""
    others = [one for one in judged if one.verdicts and not _is_source(one)]
    if not others:
        return f"{name} has nowhere to go: there is no other host"
    common = [
        verdict.reason
        for verdict in others[0].verdicts
        if not verdict.passed and all(verdict.reason in one.reasons for one in others)
    ]
    if common:
        return f"{name} has nowhere to go: {common[0]}"
    told = [one.reasons[0] for one in others[:_REASONS_TOLD]]
    more = len(others) - len(told)
    rest = f"; and {more} more hosts" if more > 0 else ""
    return f"{name} has nowhere to go: {'; '.join(told)}{rest}"


def _is_source(candidate: Candidate) -> bool:
    return any(
        verdict.filter == "not_source" and not verdict.passed for verdict in candidate.verdicts
    )
