"""One try to start a server anew, from its claim to its end, wherever the record stands at first.

The claim made the target the owner. Until ``switching_over`` is journaled the target was never told
to start the server, so that a target which does not answer is passed by; afterwards the server may
run there, and only the target's own word, or proof that it is dead, ends the try.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from backend.leader_writes import persist
from backend.migrations.advice import advice_for
from backend.migrations.drive import ASK_AGAIN_S, MAY_PASS, Drive
from backend.migrations.ending import settle_command, unlocked
from backend.migrations.guests import is_offline
from backend.moments import now_ms
from backend.rescue.claims import Claims
from backend.rescue.placing import next_target
from wire.agent import ServerCommand
from wire.candidates import Candidate
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner, OwnerPhase
from wire.migration import Migration, MigrationState
from wire.storage import DefineCommand, PrepareCommand

_log = logging.getLogger(__name__)

TRIES = 3
"""So many hosts are tried for one server; then it is given up, with the last one's text."""
_PATIENCE_S = 5.0
"""An agent that restarts, or a host that still puts itself in order, answers within that."""


_AGAIN_S = 3.0
"""A server that no host can take now is tried again so often."""
_PASSES = (MAY_PASS | {ErrorCode.ETCD_UNREACHABLE}) - {ErrorCode.LIBVIRT}
"""An agent that cannot read who owns the server has not refused to start it."""


class _Failed(Exception):
    """The target positively does not run the server, with the text that says why."""

    def __init__(self, text: str, *, passes: bool = False) -> None:
        super().__init__(text)
        self.passes = passes
        """Whether the same host may start it later."""


class _TargetDied(Exception):
    """The target is proven to be dead, and may have run the server until then."""


class RescueRunner:
    """Drives one try. Cancelling the task stops the driving, never the rescue itself."""

    def __init__(self, drive: Drive, claims: Claims, migration_id: str) -> None:
        self._drive = drive
        self._claims = claims
        self._id = migration_id

    async def run(self) -> None:
        """Carry the try to its end.

        Raises:
            GodwitError: NOT_LEADING, another backend carries on.
        """
        migration = await self._drive.journal.read(self._id)
        if migration is None or migration.state.ended:
            return
        try:
            while True:
                if await self._try(migration):
                    return
                await asyncio.sleep(_AGAIN_S)
        finally:
            self._drive.fleet.put_waiting(self._id, "")

    async def _try(self, migration: Migration) -> bool:
        """Whether the try has come to its end; else it is to be made again."""
        try:
            if migration.state is not MigrationState.SWITCHING_OVER:
                await self._end_last_try(migration)
                await self._define(migration)
                migration = await self._drive.advance(self._id, MigrationState.SWITCHING_OVER)
            if migration.options.auto_start:
                await self._start(migration)
        except _Failed as failure:
            return await self._fail(await self._drive.reread(self._id), failure)
        except _TargetDied:
            await self._bury(migration)
        else:
            await self._succeed(migration)
        return True

    async def _end_last_try(self, migration: Migration) -> None:
        """Make sure that the host of the try before does not run the server, nor ever will."""
        host_id, name = migration.source_host_id, migration.source_host_name
        command = ServerCommand(generation=migration.generation)
        while self._is_second_try(migration) and not await self._drive.is_dead(host_id):
            try:
                await self._drive.source(migration).remove(migration.server_id, command)
                return
            except GodwitError as error:
                self._wait_for(f"{name} has to end its copy first: {error.message}")
            await asyncio.sleep(ASK_AGAIN_S)

    def _is_second_try(self, migration: Migration) -> bool:
        """Whether the source is the target of the try before, and not the host that died first."""
        incident = self._drive.fleet.incidents.get(migration.incident_id)
        return incident is None or incident.host_id != migration.source_host_id

    async def _define(self, migration: Migration) -> None:
        definition = await persist(self._drive.journal.definition, migration.server_id)
        target = self._drive.target(migration)
        prepare = PrepareCommand(
            migration_id=self._id,
            server_id=migration.server_id,
            server_name=migration.server_name,
            generation=migration.generation,
            kind="cold",
            files=(),
        )
        define = DefineCommand(
            server_id=migration.server_id, generation=migration.generation, definition=definition
        )
        await self._within_patience(migration, lambda: target.prepare(prepare))
        await self._within_patience(migration, lambda: target.define(self._id, define))

    async def _within_patience(
        self, migration: Migration, call: Callable[[], Awaitable[object]]
    ) -> None:
        """Repeat a call for a short while; whatever it may have done, the server does not run."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                await call()
                return
            except GodwitError as error:
                away = is_offline(self._drive.fleet, migration.target_host_id)
                passes = error.code in _PASSES
                if away or not passes or time.monotonic() > deadline_s:
                    raise _Failed(error.message, passes=passes) from None
            await asyncio.sleep(ASK_AGAIN_S)

    async def _start(self, migration: Migration) -> None:
        """Have the target start the server; insist until it says whether it did."""
        command = ServerCommand(generation=migration.generation)
        refused = 0
        while True:
            if await self._drive.is_dead(migration.target_host_id):
                raise _TargetDied
            try:
                await self._drive.target(migration).start(migration.server_id, command)
                return
            except GodwitError as error:
                if error.code not in _PASSES:
                    # asked once more: libvirtd may have been just restarting
                    refused += 1
                    if refused > 1 or error.code is not ErrorCode.LIBVIRT:
                        raise _Failed(error.message) from None
                self._wait_for(f"{migration.target_host_name} has not said yes: {error.message}")
            await asyncio.sleep(ASK_AGAIN_S)

    async def _succeed(self, migration: Migration) -> None:
        name, target = migration.server_name, migration.target_host_name
        runs = migration.options.auto_start
        final = _ended(migration, MigrationState.SUCCEEDED)
        final = msgspec.structs.replace(
            final, outcome=f"{name} runs on {target}" if runs else f"{name} is stopped on {target}"
        )
        await self._drive.journal.advance_with_owner(final, unlocked)
        _log.info("%s: %s", self._id, final.outcome)
        try:
            await self._drive.target(migration).complete(self._id)
        except GodwitError as error:
            # the target finds out by itself that the server is its own now
            _log.info("%s: %s not told of the end: %s", self._id, target, error.message)

    def _wait_for(self, text: str) -> None:
        _log.warning("%s: %s", self._id, text)
        self._drive.fleet.put_waiting(self._id, text)

    async def _fail(self, migration: Migration, failure: _Failed) -> bool:
        """Go on with the next host, or give up where the tries or the hosts are at their end.

        False where the same host may still take the server, which was never told to start it.
        """
        error, options = str(failure), migration.options
        tried = tries(self._drive, migration)
        hosts = {one.target_host_id for one in tried}
        waits = failure.passes and options.auto_start and not options.prefer_host
        away = is_offline(self._drive.fleet, migration.target_host_id)
        candidate = None
        if (len(tried) < TRIES or (waits and away)) and not options.prefer_host:
            candidate = await next_target(self._drive, migration, apart_from=hosts)
            if candidate is None and waits and away:
                here = {migration.target_host_id}
                candidate = await next_target(self._drive, migration, apart_from=here)
        if candidate is None and waits:
            self._wait_for(f"no other host fits, and {migration.target_host_name} says: {error}")
            return False
        if candidate is None:
            await self._give_up(migration, error)
            return True
        started = migration.state is MigrationState.SWITCHING_OVER
        name, target = migration.server_name, migration.target_host_name
        final = msgspec.structs.replace(
            _ended(migration, MigrationState.FAILED),
            error=error,
            advice=advice_for(error),
            outcome=f"{name} does not run on {target}; {candidate.host_name} is tried next",
        )
        again = next_try(migration, candidate, after_start=started)
        if await self._claims.pass_on(final, again) is not None:
            _log.warning("%s: %s; %s goes on", self._id, error, again.migration_id)
        return True

    async def _give_up(self, migration: Migration, error: str) -> None:
        name, target = migration.server_name, migration.target_host_name
        defined = migration.state is MigrationState.SWITCHING_OVER
        final = msgspec.structs.replace(
            _ended(migration, MigrationState.FAILED),
            error=error,
            outcome=f"{name} belongs to {target} and is stopped there"
            if defined
            else f"no host has {name}: its definition is kept in etcd",
            advice=advice_for(error) if defined else f"{settle_command(migration)} defines it.",
        )

        def own(owner: Owner) -> Owner:
            # an owner without the domain would forget a settled server, definition and all
            phase = OwnerPhase.SETTLED if defined else OwnerPhase.LOST
            return msgspec.structs.replace(unlocked(owner), phase=phase)

        await self._drive.journal.advance_with_owner(final, own)
        _log.warning("%s: given up: %s", self._id, error)

    async def _bury(self, migration: Migration) -> None:
        """Leave the server to the incident of its new host, which has died too."""
        name, target = migration.server_name, migration.target_host_name
        final = msgspec.structs.replace(
            _ended(migration, MigrationState.FAILED),
            error=f"{target} died before it said whether it started {name}",
            outcome=f"{name} belongs to {target}, and goes on with what becomes of that host",
        )
        await self._drive.journal.advance_with_owner(final, unlocked)
        _log.warning("%s: %s", self._id, final.error)


def tries(drive: Drive, migration: Migration) -> list[Migration]:
    """List all tries of one server in one incident since its host was lost, this one included."""
    return [
        one
        for one in drive.fleet.migrations.values()
        if one.kind == "rescue"
        and (one.incident_id, one.server_id) == (migration.incident_id, migration.server_id)
        and one.created_at_ms == migration.created_at_ms
    ]


def next_try(migration: Migration, candidate: Candidate, *, after_start: bool) -> Migration:
    """The record of the next try.

    ``created_at_ms`` stays: it ties the tries of one rescue together. ``after_start`` says that the
    host of this try was told to start the server, so that it comes first to end that.
    """
    return msgspec.structs.replace(
        migration,
        migration_id=secrets.token_hex(6),
        source_host_id=migration.target_host_id if after_start else migration.source_host_id,
        source_host_name=migration.target_host_name if after_start else migration.source_host_name,
        target_host_id=candidate.host_id,
        target_host_name=candidate.host_name,
        state=MigrationState.PREPARING,
        started_at_ms=now_ms(),
    )


def _ended(migration: Migration, state: MigrationState) -> Migration:
    return msgspec.structs.replace(migration, state=state, finished_at_ms=now_ms())
