"""Where migrations are asked for."""

import asyncio
import logging
import secrets
from typing import Literal

from backend.fleet.names import find_host, find_server
from backend.leader import Leadership
from backend.migrations.acting import check_acting
from backend.migrations.checks import check_movable, check_options
from backend.migrations.choice import all_candidates, pick
from backend.migrations.drive import Drive
from backend.moments import now_ms
from wire.migration import Migration, MigrationOptions

_log = logging.getLogger(__name__)


class Desk:
    """Takes requests from the API. Only the leading backend acts."""

    def __init__(self, drive: Drive, leadership: Leadership, wake: asyncio.Event) -> None:
        """Prepare.

        Args:
            drive: what every step works with.
            leadership: whether this backend may act.
            wake: set when there is something for the leader to run.
        """
        self._drive = drive
        self._fleet = drive.fleet
        self._leadership = leadership
        self._wake = wake

    async def migrate(
        self,
        kind: Literal["live", "cold"],
        server: str,
        options: MigrationOptions,
        *,
        requested_by: str,
        evacuation_id: str = "",
    ) -> Migration:
        """Check everything, then begin a migration.

        Args:
            kind: live for a server that is on, cold for a stopped one.
            server: the server's name or id.
            options: what the operator asked for.
            requested_by: name of the operator's token.
            evacuation_id: the evacuation that it belongs to; empty for none.

        Raises:
            GodwitError: one sentence why not; nothing was changed.
        """
        check_acting(self._fleet, self._leadership)
        record = find_server(self._fleet, server)
        check_options(kind, options)
        prefer = find_host(self._fleet, options.prefer_host) if options.prefer_host else None
        check_movable(self._fleet, record, kind)
        judged = await all_candidates(self._fleet, self._drive.comparisons, record, kind, options)
        pick(record.name, judged, prefer.host_id if prefer else "")
        migration = Migration(
            migration_id=secrets.token_hex(6),
            kind=kind,
            server_id=record.server_id,
            server_name=record.name,
            source_host_id=record.owner.host_id,
            source_host_name=self._fleet.facts[record.owner.host_id].name,
            options=options,
            requested_by=requested_by,
            created_at_ms=now_ms(),
            evacuation_id=evacuation_id,
        )
        migration = await self._drive.journal.begin(migration)
        _log.info(
            "%s asks to move %s %s from %s: migration %s",
            requested_by,
            record.name,
            kind,
            migration.source_host_name,
            migration.migration_id,
        )
        self._wake.set()
        return migration
