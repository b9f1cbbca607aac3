"""Forgetting a server that no host has: its record, its definition and its policy are deleted."""

import logging

from backend.fleet.names import find_server
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites, unchanged
from backend.migrations.acting import check_acting
from backend.migrations.drive import Drive
from backend.migrations.holders import ask_all, host_name, may_hold
from backend.migrations.journal import still_away
from backend.migrations.outcome import Side
from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Write
from wire.fleet import OwnerPhase, ServerRecord
from wire.keys import DEFINITIONS, SERVER_POLICIES, SERVERS

_log = logging.getLogger(__name__)

_KEPT = (SERVERS, DEFINITIONS, SERVER_POLICIES)


class Forgetter:
    """Takes requests from the API. Only the leading backend acts."""

    def __init__(self, drive: Drive, etcd: LeaderWrites, leadership: Leadership) -> None:
        self._drive = drive
        self._etcd = etcd
        self._fleet = drive.fleet
        self._leadership = leadership

    async def forget(self, server: str, *, requested_by: str) -> ServerRecord:
        """Delete what etcd keeps of a server that no host has; disks stay where they are.

        A dead host counts as having none: once it is back, whatever it has defined is its own
        again, as a server that is found anew.

        Returns:
            The record as it was.

        Raises:
            GodwitError: NOT_FOUND; CONFLICT while it migrates, or naming the hosts that have it;
                AGENT_UNREACHABLE when a host that may have it does not answer and is not dead.
        """
        check_acting(self._fleet, self._leadership)
        server_id = find_server(self._fleet, server).server_id
        item, record = await self._drive.journal.server(server_id)
        if item is None or record is None:
            raise GodwitError(ErrorCode.NOT_FOUND, f"no server has the id {server_id!r} any more")
        if record.owner.phase is OwnerPhase.MIGRATING:
            raise conflict(
                f"{record.name} is held by {record.owner.migration_id}; let that end, or settle "
                "what it left, first"
            )
        moves = [one for one in self._fleet.migrations.values() if one.server_id == server_id]
        holders = await ask_all(self._drive, record, may_hold(self._fleet, record, moves))
        having = [one for one, side in holders.sides.items() if side is not Side.ABSENT]
        if having:
            names = " and ".join(host_name(self._fleet, one) for one in having)
            raise conflict(
                f"{record.name} is not forgotten: {names} {'has' if len(having) == 1 else 'have'} "
                "it; undefine it there, if nobody needs it"
            )
        when = [unchanged(item), *still_away(holders.dead)]
        writes = [Write(key=prefix + server_id, value=None) for prefix in _KEPT]
        if not await self._etcd.transact(when, writes):
            await self._etcd.check_leading()
            raise conflict(
                f"{record.name} has just changed in etcd, or a host is back; look again, then ask "
                "again"
            )
        self._fleet.written.pop(item.key, None)
        self._fleet.put_record(server_id, None)
        self._fleet.put_server_policy(server_id, None)
        told = ", ".join(host_name(self._fleet, one) for one in holders.sides)
        _log.warning("%s forgets %s (%s): not on %s", requested_by, record.name, server_id, told)
        return record
