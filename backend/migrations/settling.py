"""Leaving exactly one copy of a server that a failed migration left double, halted or nowhere.

Every host that may hold a copy has to say now whether it does, unless it is dead. The ownership
goes to the host that keeps it before any other copy is ended: an agent ends only what its host does
not own.
"""

import asyncio
import logging
import secrets

import msgspec

from backend.agents import AgentClient
from backend.fleet.names import find_host, find_server
from backend.leader import Leadership
from backend.migrations import ending
from backend.migrations.acting import check_acting
from backend.migrations.drive import Drive
from backend.migrations.holders import ask_all, host_name, may_hold
from backend.migrations.notes import noted
from backend.migrations.outcome import Judgement, Side, Verdict
from wire.agent import ServerCommand
from wire.errors import ErrorCode, GodwitError, conflict
from wire.fleet import HostFacts, Owner, OwnerPhase, ServerRecord
from wire.migration import Migration, PostcopyState
from wire.storage import DefineCommand, PrepareCommand

_log = logging.getLogger(__name__)

_BROKEN = {Side.POSTCOPY, Side.POSTCOPY_FAILED, Side.INCOMING}
"""Half of a post-copy, or memory that never arrived whole: no guest can be made of it."""
_JOURNAL_TIMEOUT_S = 5.0
_IN_ORDER = {Side.RUNNING, Side.SUSPENDED, Side.SHUT_OFF}


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """One server with what every host that may hold it says."""

    record: ServerRecord
    keep: HostFacts
    sides: dict[str, Side]
    """Host id to what it says."""
    last: Migration | None
    dead: dict[str, int]
    """Hosts that count as having no copy because they are dead, each with the revision of the life
    that is over."""

    @property
    def whole(self) -> set[str]:
        """Hosts with a copy that can live."""
        return {one for one, side in self.sides.items() if side not in _BROKEN | {Side.ABSENT}}

    @property
    def others(self) -> list[str]:
        """Hosts other than the one that keeps it which hold any copy."""
        return [
            one
            for one, side in self.sides.items()
            if side is not Side.ABSENT and one != self.keep.host_id
        ]


class Settler:
    """Takes requests from the API. Only the leading backend acts."""

    def __init__(self, drive: Drive, leadership: Leadership) -> None:
        self._drive = drive
        self._fleet = drive.fleet
        self._leadership = leadership

    async def settle(self, server: str, keep_host: str, *, requested_by: str) -> ServerRecord:
        """Leave the copy on one host, or define the server there if no host has it.

        A post-copy that broke off is given up with that, if no host has the guest whole.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT when there is nothing to settle, or this host has no
                copy while others do; AGENT_UNREACHABLE when a host that may hold one does not
                answer.
        """
        check_acting(self._fleet, self._leadership)
        record = find_server(self._fleet, server)
        keep = find_host(self._fleet, keep_host)
        moving = self._moving(record)
        if moving is not None and moving.postcopy is not PostcopyState.PAUSED:
            raise _moves(record)
        case = await self._looked_at(record, keep)
        if moving is not None:
            await self._end_broken(case, moving, requested_by)
            case = await self._looked_at(self._fleet.records[record.server_id], keep)
        self._check(case)
        _log.warning(
            "%s settles %s on %s; hosts say: %s",
            requested_by,
            record.name,
            keep.name,
            ", ".join(f"{self._name(one)} {side}" for one, side in case.sides.items()),
        )
        if case.whole:
            await self._keep_one(case, requested_by)
        else:
            await self._define_again(case, requested_by)
        return self._fleet.records[record.server_id]

    def _moving(self, record: ServerRecord) -> Migration | None:
        """The migration that holds the server; what is left of a settling is none."""
        moving = self._fleet.move_under_way(record)
        return None if moving is None or moving.state.ended else moving

    async def _end_broken(self, case: _Case, moving: Migration, by: str) -> None:
        """End the record of a post-copy that broke off: what it left is lost from here on."""
        sides = set(case.sides.values())
        if not sides & _BROKEN or sides - _BROKEN - {Side.ABSENT, Side.SHUT_OFF}:
            raise _moves(case.record)
        source = case.sides[moving.source_host_id]
        target = case.sides[moving.target_host_id]
        lost = Judgement(verdict=Verdict.LOST, leftover=True)
        jobs = self._drive.jobs
        final = ending.ended(
            moving,
            ending.Finding(source=source, target=target, judgement=lost),
            jobs.latest(moving.migration_id),
            jobs.samples(moving.migration_id),
        )

        def own(owner: Owner) -> Owner:
            return ending.owner_after(owner, moving, lost, 0)

        final = noted(final, "post-copy given up by settling", by=by)
        try:
            async with asyncio.timeout(_JOURNAL_TIMEOUT_S):
                await self._drive.journal.advance_with_owner(final, own)
        except TimeoutError:
            raise GodwitError(
                ErrorCode.ETCD_UNREACHABLE,
                f"etcd did not take the settling within {_JOURNAL_TIMEOUT_S:g} s; ask again",
            ) from None
        jobs.wake(moving.migration_id)

    async def _looked_at(self, record: ServerRecord, keep: HostFacts) -> _Case:
        mine = [one for one in self._fleet.migrations.values() if _of(one, record)]
        mine += [one for one in (self._moving(record),) if one is not None]
        last = max(mine, key=lambda one: one.created_at_ms, default=None)
        hosts = may_hold(self._fleet, record, [last] if last is not None else [])
        holders = await ask_all(self._drive, record, hosts | {keep.host_id})
        return _Case(record=record, keep=keep, sides=holders.sides, last=last, dead=holders.dead)

    def _check(self, case: _Case) -> None:
        record, keep = case.record, case.keep
        owner_id = record.owner.host_id
        if (
            record.owner.phase is OwnerPhase.SETTLED
            and case.sides[owner_id] in _IN_ORDER
            and not [one for one, side in case.sides.items() if side is not Side.ABSENT][1:]
        ):
            raise conflict(
                f"there is nothing to settle: {record.name} is on {self._name(owner_id)} alone and "
                f"{case.sides[owner_id].replace('_', ' ')}"
            )
        if case.whole and keep.host_id not in case.whole:
            holders = " and ".join(self._name(one) for one in sorted(case.whole, key=self._name))
            raise conflict(
                f"{keep.name} has no whole copy of {record.name} to keep; {holders} "
                f"{'have' if case.whole - {min(case.whole)} else 'has'} one"
            )

    async def _keep_one(self, case: _Case, by: str) -> None:
        server_id, keep_id = case.record.server_id, case.keep.host_id
        ended = [self._name(one) for one in case.others]
        rest = f", ended on {' and '.join(ended)}" if ended else ""
        owner = self._next(case.record.owner, keep_id)
        last = self._noted(case, f"settled: kept on {case.keep.name}{rest}", by)
        # nobody but a person starts what is left of a guest that died in a migration
        stopped = case.sides[keep_id] is Side.SHUT_OFF
        await self._drive.journal.settle(
            server_id, case.record.owner, owner, last, away=case.dead, stopped=stopped
        )
        await self._remove(case.others, server_id, owner)
        if case.sides[keep_id] is Side.HALTED:
            command = ServerCommand(generation=owner.generation)
            await self._agent(keep_id).resume(server_id, command)

    async def _define_again(self, case: _Case, by: str) -> None:
        """Define a server that no host has whole, under a lock like a migration's.

        If that breaks off, it is asked for again: the lock is nobody's then.
        """
        record, keep_id = case.record, case.keep.host_id
        definition = await self._drive.journal.definition(record.server_id)
        if not definition:
            raise conflict(
                f"no host has {record.name}, and etcd keeps no definition of it; define it by hand "
                f"on {case.keep.name}"
            )
        lock_id = secrets.token_hex(6)
        owner = record.owner
        if case.sides[keep_id] is not Side.ABSENT:
            # an agent ends only what its host does not own
            elsewhere = next(one for one in case.sides if one != keep_id)
            owner = await self._lock(case, owner, elsewhere, lock_id)
            await self._remove([keep_id], record.server_id, owner)
        owner = await self._lock(case, owner, keep_id, lock_id)
        await self._remove(case.others, record.server_id, owner)
        await self._define(case, owner, definition)
        last = self._noted(case, f"settled: defined again on {case.keep.name}, stopped", by)
        settled = self._next(owner, keep_id)
        await self._drive.journal.settle(
            record.server_id, owner, settled, last, away=case.dead, stopped=True
        )

    async def _define(self, case: _Case, owner: Owner, definition: str) -> None:
        agent, server_id = self._agent(case.keep.host_id), case.record.server_id
        prepare = PrepareCommand(
            migration_id=owner.migration_id,
            server_id=server_id,
            server_name=case.record.name,
            generation=owner.generation,
            kind="cold",
            files=(),
        )
        await agent.prepare(prepare)
        define = DefineCommand(
            server_id=server_id, generation=owner.generation, definition=definition
        )
        await agent.define(owner.migration_id, define)
        await agent.complete(owner.migration_id)

    async def _remove(self, host_ids: list[str], server_id: str, owner: Owner) -> None:
        for host_id in host_ids:
            command = ServerCommand(generation=owner.generation)
            await self._agent(host_id).remove(server_id, command)

    async def _lock(self, case: _Case, seen: Owner, host_id: str, lock_id: str) -> Owner:
        owner = msgspec.structs.replace(
            self._next(seen, host_id), phase=OwnerPhase.MIGRATING, migration_id=lock_id
        )
        await self._drive.journal.settle(case.record.server_id, seen, owner, None, away=case.dead)
        return owner

    def _noted(self, case: _Case, text: str, by: str) -> Migration | None:
        return noted(case.last, text, by=by) if case.last else None

    def _next(self, owner: Owner, host_id: str) -> Owner:
        health = self._fleet.health.get(host_id)
        return Owner(
            host_id=host_id,
            epoch=health.epoch if health else 0,
            generation=owner.generation + 1,
        )

    def _agent(self, host_id: str) -> AgentClient:
        return self._drive.agents.of(host_id, self._name(host_id))

    def _name(self, host_id: str) -> str:
        return host_name(self._fleet, host_id)


def _of(migration: Migration, record: ServerRecord) -> bool:
    return migration.server_id == record.server_id and migration.state.ended


def _moves(record: ServerRecord) -> GodwitError:
    return conflict(
        f"{record.name} migrates now (migration {record.owner.migration_id}); its end will say "
        "whether there is anything to settle"
    )
