"""Choosing the target of a migration, or saying in one sentence why there is none."""

import msgspec

from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.fleet.names import find_host
from backend.fleet.server_view import of_power, owner_report
from backend.fleet.targets import host_states, move_of
from backend.scheduler.candidates import candidates
from backend.scheduler.move import Skips
from wire.candidates import Candidate
from wire.errors import ErrorCode, GodwitError, conflict
from wire.fleet import ServerRecord
from wire.migration import Migration, MigrationKind, MigrationOptions

_REASONS_TOLD = 4


def skips_of(options: MigrationOptions) -> Skips:
    """The checks that these options lift."""
    return Skips(cpu=options.skip_cpu_check, kernel=options.skip_kernel_check)


async def all_candidates(
    fleet: Fleet,
    comparisons: Comparisons,
    record: ServerRecord,
    kind: MigrationKind,
    options: MigrationOptions,
) -> tuple[Candidate, ...]:
    """Judge every host for a migration of this server.

    Raises:
        GodwitError: AGENT_UNREACHABLE, its host does not report it now.
    """
    move = move_of(fleet, record, kind=kind, auto_start=options.auto_start, skips=skips_of(options))
    if move is None:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, unreported(fleet, record))
    return candidates(move, await comparisons.asked_states(move, host_states(fleet)))


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
        raise GodwitError(
            ErrorCode.NO_TARGET, _not_there(name, wanted, prefer_host_id), candidates=judged
        )
    raise GodwitError(ErrorCode.NO_TARGET, _no_target(name, judged), candidates=judged)


async def choose(fleet: Fleet, comparisons: Comparisons, migration: Migration) -> Candidate:
    """Pick the target of a journaled migration, whose server counts as migrating already.

    Raises:
        GodwitError: NO_TARGET, or CONFLICT when the source does not report the server.
    """
    record = fleet.records.get(migration.server_id)
    options = migration.options
    move = (
        move_of(
            fleet,
            record,
            kind=migration.kind,
            auto_start=options.auto_start,
            skips=skips_of(options),
        )
        if record
        else None
    )
    report = owner_report(fleet, record) if record else None
    if record is None or move is None or report is None:
        raise conflict(
            f"{migration.source_host_name} does not say now how {migration.server_name} stands",
        )
    as_reported = msgspec.structs.replace(move, status=of_power(report.state), status_reason="")
    prefer_host_id = find_host(fleet, options.prefer_host).host_id if options.prefer_host else ""
    hosts = await comparisons.asked_states(as_reported, host_states(fleet, wishes=False))
    return pick(record.name, candidates(as_reported, hosts), prefer_host_id)


def _not_there(name: str, wanted: list[Candidate], prefer_host_id: str) -> str:
    if not wanted:
        return f"no host is called {prefer_host_id!r}"
    if _is_source(wanted[0]):
        return (
            f"{name} is on {wanted[0].host_name} already; name another host, or none to have one "
            "chosen"
        )
    return f"{name} cannot go to {wanted[0].host_name}: {'; '.join(wanted[0].reasons)}"


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
    rest = f"; and {more} more {'host' if more == 1 else 'hosts'}" if more > 0 else ""
    return f"{name} has nowhere to go: {'; '.join(told)}{rest}"


def _is_source(candidate: Candidate) -> bool:
    return any(
        verdict.filter == "not_source" and not verdict.passed for verdict in candidate.verdicts
    )
