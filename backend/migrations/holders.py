"""Which hosts may hold a copy of a server, and what each says of it now."""

import asyncio
from collections.abc import Iterable

import msgspec

from backend.fleet.known import Fleet
from backend.migrations.drive import Drive
from backend.migrations.outcome import Side, side_of
from wire.agent import GuestTruth
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState, ServerRecord
from wire.migration import Migration


class Holders(msgspec.Struct, frozen=True, kw_only=True):
    """The answers."""

    sides: dict[str, Side]
    """Host id to what it says."""
    dead: dict[str, int]
    """Hosts that count as having no copy because they are dead, each with the revision of the life
    that is over."""


def may_hold(fleet: Fleet, record: ServerRecord, migrations: Iterable[Migration]) -> set[str]:
    """Ids of the owner, of the hosts of these migrations, and of those that report the server."""
    hosts = {record.owner.host_id}
    for one in migrations:
        hosts |= {one.source_host_id, one.target_host_id} - {""}
    return hosts | {one for one, has in fleet.reports.items() if record.server_id in has}


async def ask_all(drive: Drive, record: ServerRecord, host_ids: Iterable[str]) -> Holders:
    """Ask these hosts what they know of a server.

    Raises:
        GodwitError: AGENT_UNREACHABLE, one does not answer and is not dead.
    """
    ordered = sorted(host_ids, key=lambda one: host_name(drive.fleet, one))
    dead: dict[str, int] = {}
    truths = await asyncio.gather(*(_truth(drive, one, record, dead) for one in ordered))
    sides = {one: side_of(truth) for one, truth in zip(ordered, truths, strict=True)}
    return Holders(sides=sides, dead=dead)


def host_name(fleet: Fleet, host_id: str) -> str:
    """A host's name; its id if etcd keeps no facts of it."""
    facts = fleet.facts.get(host_id)
    return facts.name if facts else host_id


async def _truth(
    drive: Drive, host_id: str, record: ServerRecord, dead: dict[str, int]
) -> GuestTruth:
    """Ask a host; one that is counted as dead instead is put into ``dead``."""
    name = host_name(drive.fleet, host_id)
    try:
        return await drive.agents.of(host_id, name).truth(record.server_id)
    except GodwitError as error:
        revision = await drive.dead_life(host_id)
        spared = _spared(drive.fleet, host_id, record) if revision is not None else ""
        if revision is not None and not spared:
            dead[host_id] = revision
            return GuestTruth(server_id=record.server_id, state=PowerState.ABSENT)
        raise GodwitError(
            ErrorCode.AGENT_UNREACHABLE,
            f"{name} may hold a copy of {record.name} and does not answer, so nothing was "
            f"changed: {spared or error.message}",
        ) from None


def _spared(fleet: Fleet, host_id: str, record: ServerRecord) -> str:
    """Why a dead host may run a server all the same; empty if it does not.

    A fence leaves a guest alive that no other host could start.
    """
    incident = fleet.open_incident(host_id)
    if not record.bound_by or record.owner.host_id != host_id:
        return ""
    if incident is not None and incident.declared_off_by:
        return ""
    name = host_name(fleet, host_id)
    return (
        f"{record.bound_by}, so that the fence of {name} leaves {record.name} alive; switch "
        f"{name} off, and say so with godwit host-declare-off {name}"
    )
